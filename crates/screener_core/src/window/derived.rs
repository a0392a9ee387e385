//! What follows from a window's cover, by the formulas of SPEC 3 in their order of operations.
//!
//! Two windows are worked on at once, as the lanes of one vector; each lane is computed as it would
//! be alone.

use wide::f64x2;

use super::Cover;

/// The derived metrics of two windows. `NaN` where a divisor is 0 and SPEC names no other value.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    /// `(close / open - 1) * 100`, in %.
    pub change: f64x2,
    /// `(high - low) / open * 100`, in %.
    pub range: f64x2,
    /// `quote_volume / volume`; the close when either is 0. A price.
    pub vwap: f64x2,
    /// `(close / vwap) * ((close - low) - (high - close)) / (high - low)`; 0 when flat.
    pub vcp: f64x2,
    /// `(high + low + close) / 3`, a price.
    pub fib_pivot: f64x2,
    /// Pivot plus 0.382, 0.618 and 1.0 of the range, prices.
    pub fib_r: [f64x2; 3],
    /// Pivot minus 0.382, 0.618 and 1.0 of the range, prices.
    pub fib_s: [f64x2; 3],
    /// Quote volume relative to that of as many minutes before; `NaN` when that is 0.
    pub volume_ratio: f64x2,
    /// Part of the quote volume bought by takers; `NaN` when there is none.
    pub taker_ratio: f64x2,
}

/// The parts of the range the Fibonacci levels lie from the pivot.
const LEVELS: [f64; 3] = [0.382, 0.618, 1.0];

impl Derived {
    /// The derived metrics of two windows.
    #[inline]
    #[must_use]
    pub fn of(covers: &[Cover; 2]) -> Self {
        let lanes = |part: fn(&Cover) -> f64| f64x2::new([part(&covers[0]), part(&covers[1])]);
        let (open, close) = (lanes(|c| c.open), lanes(|c| c.close));
        let (high, low) = (lanes(|c| c.high), lanes(|c| c.low));
        let volume = lanes(|c| c.amounts[0]);
        let quote_volume = lanes(|c| c.amounts[1]);
        let taker_buy_quote = lanes(|c| c.amounts[3]);
        let earlier = lanes(|c| c.earlier_quote_volume);

        let zero = f64x2::ZERO;
        let unknown = f64x2::splat(f64::NAN);
        let height = high - low;
        let untraded = volume.simd_eq(zero) | quote_volume.simd_eq(zero);
        let vwap = untraded.select(close, quote_volume / volume);
        let vcp = (close / vwap) * ((close - low) - (high - close)) / height;
        let pivot = (high + low + close) / 3.0;
        Self {
            change: (close / open - 1.0) * 100.0,
            range: height / open * 100.0,
            vwap,
            vcp: high.simd_eq(low).select(zero, vcp),
            fib_pivot: pivot,
            fib_r: LEVELS.map(|level| pivot + level * height),
            fib_s: LEVELS.map(|level| pivot - level * height),
            volume_ratio: earlier.simd_eq(zero).select(unknown, quote_volume / earlier),
            taker_ratio: quote_volume.simd_eq(zero).select(unknown, taker_buy_quote / quote_volume),
        }
    }
}
