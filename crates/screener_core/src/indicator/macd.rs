//! Moving average convergence/divergence, 12/26/9, seeded as TA-Lib seeds it.

use fearless_simd::{Simd, f64x4};
use serde::{Deserialize, Serialize};

use super::Indicator;
use super::average::{Average, AverageLanes, Smoothing};

const FAST_PERIOD: u32 = 12;
const SLOW_PERIOD: u32 = 26;

const FAST: Smoothing = Smoothing::exponential(FAST_PERIOD);
const SLOW: Smoothing = Smoothing::exponential(SLOW_PERIOD);
const SIGNAL: Smoothing = Smoothing::exponential(9);

/// The difference of two exponential averages, and its own average.
///
/// Slow average: seeded with the mean of closes 1 to 26. Fast: with the mean of closes 15 to 26.
/// Signal: with the mean of the first 9 differences. Ready after 26 closes, the signal after 34.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Macd {
    fast: Average,
    slow: Average,
    signal: Average,
}

impl Indicator for Macd {
    fn push(&mut self, close: f64) {
        // Both averages are seeded with closes that end with the same one.
        if self.slow.count() >= SLOW_PERIOD - FAST_PERIOD {
            self.fast.push(close, FAST);
        }
        self.slow.push(close, SLOW);
        if let (Some(fast), Some(slow)) = (self.fast.ready(FAST), self.slow.ready(SLOW)) {
            self.signal.push(fast - slow, SIGNAL);
        }
    }
}

/// What [`MacdLanes`] tell, each in units of the price.
#[derive(Clone, Copy, Debug)]
pub struct MacdValue<V> {
    /// Fast minus slow average.
    pub macd: V,
    /// Average of that over 9.
    pub signal: V,
    /// Their difference.
    pub histogram: V,
}

/// Four of them, to look at with a running close each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdLanes {
    fast: AverageLanes,
    slow: AverageLanes,
    signal: AverageLanes,
}

impl MacdLanes {
    /// None of them is ready.
    pub const UNKNOWN: Self = Self {
        fast: AverageLanes::UNKNOWN,
        slow: AverageLanes::UNKNOWN,
        signal: AverageLanes::UNKNOWN,
    };

    /// Puts one into a lane.
    pub fn set(&mut self, lane: usize, macd: &Macd) {
        self.fast.set(lane, &macd.fast, FAST);
        self.slow.set(lane, &macd.slow, SLOW);
        self.signal.set(lane, &macd.signal, SIGNAL);
    }

    /// The values if the running bar closed here; `NaN` in each part that is not ready.
    #[inline(always)]
    pub fn peek<S: Simd>(&self, simd: S, close: f64x4<S>) -> MacdValue<f64x4<S>> {
        let macd = self.fast.with(simd, close) - self.slow.with(simd, close);
        let signal = self.signal.with(simd, macd);
        MacdValue { macd, signal, histogram: macd - signal }
    }
}
