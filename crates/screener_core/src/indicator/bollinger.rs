//! Bollinger bands: 20 closes, two population standard deviations.

use fearless_simd::{Simd, f64x4, prelude::*};
use serde::{Deserialize, Serialize};

use super::Indicator;
use crate::lanes::{LANES, Lanes};

const PERIOD: usize = 20;

/// Closes before the newest one.
const EARLIER: usize = PERIOD - 1;

/// Mean of 20 closes, and two standard deviations to either side. Ready after 20 closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bollinger {
    /// The newest 19 closes, in a ring.
    closes: [f64; EARLIER],
    /// Where the next one goes.
    next: usize,
    /// Closes taken, at most 19.
    count: usize,
}

impl Indicator for Bollinger {
    fn push(&mut self, close: f64) {
        // Wrapped before it is used, so that an index out of a damaged state cannot panic.
        let slot = self.next % EARLIER;
        self.closes[slot] = close;
        self.next = (slot + 1) % EARLIER;
        self.count = self.count.saturating_add(1).min(EARLIER);
    }
}

impl Bollinger {
    /// Mean and sum of squared deviations of the 19 closes, once they are there.
    ///
    /// In two passes, and about one of the closes, so that flat prices deviate by nothing.
    fn moments(&self) -> Option<(f64, f64)> {
        if self.count < EARLIER {
            return None;
        }
        let about = self.closes[0];
        let mut deviations = [0.0; PERIOD];
        for (deviation, close) in deviations.iter_mut().zip(self.closes) {
            *deviation = close - about;
        }
        let shift = sum(&deviations) / EARLIER as f64;
        // The place that holds no close must not deviate.
        deviations[EARLIER] = shift;
        let squares = deviations.map(|deviation| (deviation - shift) * (deviation - shift));
        Some((about + shift, sum(&squares)))
    }
}

/// A sum in four lanes.
fn sum(values: &[f64; PERIOD]) -> f64 {
    let (chunks, _) = values.as_chunks::<LANES>();
    let add = |sums: Lanes, chunk: &Lanes| std::array::from_fn(|lane| sums[lane] + chunk[lane]);
    let [a, b, c, d] = chunks.iter().fold([0.0; LANES], add);
    (a + b) + (c + d)
}

/// What [`BollingerLanes`] tell, prices.
#[derive(Clone, Copy, Debug)]
pub struct Bands<V> {
    /// Two standard deviations above the mean.
    pub upper: V,
    /// The mean.
    pub middle: V,
    /// Two standard deviations below the mean.
    pub lower: V,
}

/// Four of them, to look at with a running close each: it joins the 19 before it by Chan's update,
/// which never subtracts squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BollingerLanes {
    /// `NaN` where there are too few closes.
    means: Lanes,
    squares: Lanes,
}

impl BollingerLanes {
    /// None of them is ready.
    pub const UNKNOWN: Self = Self { means: [f64::NAN; LANES], squares: [0.0; LANES] };

    /// Puts one into a lane.
    pub fn set(&mut self, lane: usize, bollinger: &Bollinger) {
        (self.means[lane], self.squares[lane]) = bollinger.moments().unwrap_or((f64::NAN, 0.0));
    }

    /// The bands if the running bar closed here; `NaN` while they are not ready.
    #[inline(always)]
    pub fn peek<S: Simd>(&self, simd: S, close: f64x4<S>) -> Bands<f64x4<S>> {
        let (earlier, all) = (EARLIER as f64, PERIOD as f64);
        let mean: f64x4<S> = self.means.simd_into(simd);
        let squares: f64x4<S> = self.squares.simd_into(simd);
        let away = close - mean;
        let middle = mean + away * (1.0 / all);
        let squares = squares + away * away * (earlier / all);
        let reach = (squares * (1.0 / all)).sqrt() * 2.0;
        Bands { upper: middle + reach, middle, lower: middle - reach }
    }
}
