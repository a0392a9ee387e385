//! Relative strength index: Wilder, 14 (J. W. Wilder, New Concepts in Technical Trading Systems).

use fearless_simd::{Simd, f64x4, prelude::*};
use serde::{Deserialize, Serialize};

use super::Indicator;
use super::average::{Average, AverageLanes, Smoothing};
use crate::lanes::{LANES, Lanes};

const CHANGES: Smoothing = Smoothing::wilder(14);

/// `100 * gain / (gain + loss)` of Wilder's averages of 14 changes; 50 when there was no change.
///
/// Ready after 15 closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rsi {
    /// 0 before the first close.
    last: f64,
    gain: Average,
    loss: Average,
}

impl Indicator for Rsi {
    fn push(&mut self, close: f64) {
        if self.last > 0.0 {
            let change = close - self.last;
            self.gain.push(change.max(0.0), CHANGES);
            self.loss.push((-change).max(0.0), CHANGES);
        }
        self.last = close;
    }
}

/// Four of them, to look at with a running close each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RsiLanes {
    last: Lanes,
    gain: AverageLanes,
    loss: AverageLanes,
}

impl RsiLanes {
    /// None of them is ready.
    pub const UNKNOWN: Self =
        Self { last: [0.0; LANES], gain: AverageLanes::UNKNOWN, loss: AverageLanes::UNKNOWN };

    /// Puts one into a lane.
    pub fn set(&mut self, lane: usize, rsi: &Rsi) {
        self.last[lane] = rsi.last;
        self.gain.set(lane, &rsi.gain, CHANGES);
        self.loss.set(lane, &rsi.loss, CHANGES);
    }

    /// The index, 0 to 100, if the running bar closed here; `NaN` while it is not ready.
    #[inline(always)]
    pub fn peek<S: Simd>(&self, simd: S, close: f64x4<S>) -> f64x4<S> {
        let last: f64x4<S> = self.last.simd_into(simd);
        let change = close - last;
        let zero = f64x4::splat(simd, 0.0);
        let gain = self.gain.with(simd, change.max(zero));
        let loss = self.loss.with(simd, (-change).max(zero));
        let total = gain + loss;
        let still = total.simd_eq(zero);
        still.select(f64x4::splat(simd, 50.0), gain / total * 100.0)
    }
}
