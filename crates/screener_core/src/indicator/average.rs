//! Averages that move a part of the way to each new value, seeded with a plain mean.

use fearless_simd::{Simd, f64x4, prelude::*};
use serde::{Deserialize, Serialize};

use crate::lanes::{LANES, Lanes};

/// How far an average moves: to the plain mean of its first `period` values, then `weight` of the
/// way to each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smoothing {
    period: u32,
    weight: f64,
}

impl Smoothing {
    /// Exponential: `2 / (period + 1)` of the way.
    pub(super) const fn exponential(period: u32) -> Self {
        Self { period, weight: 2.0 / (period as f64 + 1.0) }
    }

    /// Wilder's: `1 / period` of the way.
    pub(super) const fn wilder(period: u32) -> Self {
        Self { period, weight: 1.0 / period as f64 }
    }
}

/// An average and how many values it has taken, at most its period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Average {
    value: f64,
    count: u32,
}

impl Average {
    /// Takes a value.
    pub(super) fn push(&mut self, value: f64, smoothing: Smoothing) {
        self.value += (value - self.value) * self.weight(smoothing);
        self.count = self.count.saturating_add(1).min(smoothing.period);
    }

    /// The average, once it has taken its period's values.
    pub(super) fn ready(&self, smoothing: Smoothing) -> Option<f64> {
        (self.count >= smoothing.period).then_some(self.value)
    }

    /// How many values it has taken, at most its period.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// How far it will move to the next value.
    fn weight(&self, smoothing: Smoothing) -> f64 {
        if self.count < smoothing.period {
            1.0 / (f64::from(self.count) + 1.0)
        } else {
            smoothing.weight
        }
    }
}

/// Four averages about to take one more value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AverageLanes {
    /// `NaN` where one more value is not enough.
    values: Lanes,
    weights: Lanes,
}

impl AverageLanes {
    /// None of them is ready.
    pub(super) const UNKNOWN: Self = Self { values: [f64::NAN; LANES], weights: [0.0; LANES] };

    /// Puts an average into a lane.
    pub(super) fn set(&mut self, lane: usize, average: &Average, smoothing: Smoothing) {
        let ready = average.count + 1 >= smoothing.period;
        self.values[lane] = if ready { average.value } else { f64::NAN };
        self.weights[lane] = average.weight(smoothing);
    }

    /// The averages with one more value; nothing changes.
    #[inline(always)]
    pub(super) fn with<S: Simd>(&self, simd: S, values: f64x4<S>) -> f64x4<S> {
        let held: f64x4<S> = self.values.simd_into(simd);
        let weights: f64x4<S> = self.weights.simd_into(simd);
        held + (values - held) * weights
    }
}
