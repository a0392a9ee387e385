//! Relative strength index: Wilder, 14 (J. W. Wilder, New Concepts in Technical Trading Systems).

use serde::{Deserialize, Serialize};

use super::Indicator;

const PERIOD: u32 = 14;

/// `100 * gain / (gain + loss)` of Wilder's averages of 14 changes; 50 when there was no change.
///
/// Ready after 15 closes. The first averages are plain means, then `(13 * average + x) / 14`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rsi {
    /// Closes taken, at most 15.
    closes: u32,
    last: f64,
    /// Average gain and loss; their sums until there are 14 changes.
    gain: f64,
    loss: f64,
}

impl Indicator for Rsi {
    type Value = f64;

    #[inline]
    fn push(&mut self, close: f64) {
        *self = self.next(close);
    }

    #[inline]
    fn peek(&self, close: f64) -> f64 {
        self.next(close).value()
    }
}

impl Rsi {
    #[inline]
    fn next(&self, close: f64) -> Self {
        let period = f64::from(PERIOD);
        let change = if self.closes == 0 { 0.0 } else { close - self.last };
        let (gain, loss) = (change.max(0.0), (-change).max(0.0));
        let (gain, loss) = if self.closes > PERIOD {
            let smooth = |average: f64, x: f64| ((period - 1.0) * average + x) * (1.0 / period);
            (smooth(self.gain, gain), smooth(self.loss, loss))
        } else if self.closes == PERIOD {
            ((self.gain + gain) / period, (self.loss + loss) / period)
        } else {
            (self.gain + gain, self.loss + loss)
        };
        Self { closes: (self.closes + 1).min(PERIOD + 1), last: close, gain, loss }
    }

    #[inline]
    fn value(&self) -> f64 {
        let total = self.gain + self.loss;
        if self.closes <= PERIOD {
            f64::NAN
        } else if total == 0.0 {
            50.0
        } else {
            100.0 * (self.gain / total)
        }
    }
}
