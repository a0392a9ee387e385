//! Bollinger bands: 20 closes, two population standard deviations.

use serde::{Deserialize, Serialize};

use super::Indicator;

const PERIOD: usize = 20;

/// Closes before the newest one.
const EARLIER: usize = PERIOD - 1;

/// Mean of 20 closes, and two standard deviations to either side. Ready after 20 closes.
///
/// When a bar closes, mean and squared deviations of the newest 19 closes are computed anew (two
/// passes, about a close, so flat prices have none); a running close joins them by Chan's update,
/// which never subtracts squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bollinger {
    /// The newest 19 closes, in a ring.
    closes: [f64; EARLIER],
    /// Where the next one goes.
    next: usize,
    /// Closes taken, at most 19.
    count: usize,
    mean: f64,
    squares: f64,
}

/// What [`Bollinger`] tells, prices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bands {
    /// Two standard deviations above the mean.
    pub upper: f64,
    /// The mean.
    pub middle: f64,
    /// Two standard deviations below the mean.
    pub lower: f64,
}

impl Indicator for Bollinger {
    type Value = Bands;

    fn push(&mut self, close: f64) {
        // Wrapped before it is used, so that an index out of a damaged state cannot panic.
        let slot = self.next % EARLIER;
        self.closes[slot] = close;
        self.next = (slot + 1) % EARLIER;
        self.count = (self.count + 1).min(EARLIER);
        if self.count == EARLIER {
            let deviations = self.closes.map(|earlier| earlier - close);
            let shift = deviations.iter().sum::<f64>() / EARLIER as f64;
            self.mean = close + shift;
            self.squares = deviations.iter().map(|d| (d - shift) * (d - shift)).sum();
        }
    }

    #[inline]
    fn peek(&self, close: f64) -> Bands {
        if self.count < EARLIER {
            return Bands { upper: f64::NAN, middle: f64::NAN, lower: f64::NAN };
        }
        let (earlier, all) = (EARLIER as f64, PERIOD as f64);
        let away = close - self.mean;
        let middle = self.mean + away * (1.0 / all);
        let squares = self.squares + away * away * (earlier / all);
        let reach = 2.0 * (squares * (1.0 / all)).sqrt();
        Bands { upper: middle + reach, middle, lower: middle - reach }
    }
}
