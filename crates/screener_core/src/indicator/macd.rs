//! Moving average convergence/divergence, 12/26/9, seeded as TA-Lib seeds it.

use serde::{Deserialize, Serialize};

use super::{Indicator, ema};

const FAST: u32 = 12;
const SLOW: u32 = 26;
const SIGNAL: u32 = 9;

/// The number of closes at which the signal is there.
const READY: u32 = SLOW + SIGNAL - 1;

/// The difference of two exponential averages, and its own average.
///
/// Slow average: seeded with the mean of closes 1 to 26. Fast: with the mean of closes 15 to 26.
/// Signal: with the mean of the first 9 differences. Ready after 26 closes, the signal after 34.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Macd {
    /// Closes taken, at most 34.
    closes: u32,
    /// Averages; sums until they are seeded.
    fast: f64,
    slow: f64,
    signal: f64,
}

/// What [`Macd`] tells, each in units of the price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdValue {
    /// Fast minus slow average.
    pub macd: f64,
    /// Average of that over 9.
    pub signal: f64,
    /// Their difference.
    pub histogram: f64,
}

impl Indicator for Macd {
    type Value = MacdValue;

    #[inline]
    fn push(&mut self, close: f64) {
        *self = self.next(close);
    }

    #[inline]
    fn peek(&self, close: f64) -> MacdValue {
        self.next(close).value()
    }
}

impl Macd {
    #[inline]
    fn next(&self, close: f64) -> Self {
        if self.closes < SLOW {
            return self.seeded(close);
        }
        let mut next = *self;
        next.fast = ema::step(self.fast, close, FAST);
        next.slow = ema::step(self.slow, close, SLOW);
        let macd = next.fast - next.slow;
        if self.closes < READY {
            next.closes += 1;
            next.signal += macd;
            if next.closes == READY {
                next.signal /= f64::from(SIGNAL);
            }
        } else {
            next.signal = ema::step(self.signal, macd, SIGNAL);
        }
        next
    }

    fn seeded(mut self, close: f64) -> Self {
        self.closes += 1;
        self.slow += close;
        if self.closes > SLOW - FAST {
            self.fast += close;
        }
        if self.closes == SLOW {
            self.slow /= f64::from(SLOW);
            self.fast /= f64::from(FAST);
            self.signal = self.fast - self.slow;
        }
        self
    }

    #[inline]
    fn value(&self) -> MacdValue {
        let macd = if self.closes < SLOW { f64::NAN } else { self.fast - self.slow };
        let signal = if self.closes < READY { f64::NAN } else { self.signal };
        MacdValue { macd, signal, histogram: macd - signal }
    }
}
