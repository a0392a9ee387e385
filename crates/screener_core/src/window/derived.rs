//! What follows from what windows cover, by the formulas of SPEC 3 in their order of operations.
//!
//! Four windows are worked on at once; each lane is computed as it would be alone.

use fearless_simd::{Simd, f64x4, prelude::*};

use super::Cover;

/// The derived metrics of four windows. `NaN` where a divisor is 0 and SPEC names no other value.
#[derive(Clone, Copy, Debug)]
pub struct Derived<V> {
    /// `(close / open - 1) * 100`, in %.
    pub change: V,
    /// `(high - low) / open * 100`, in %.
    pub range: V,
    /// `quote_volume / volume`; the close when either is 0. A price.
    pub vwap: V,
    /// `(close / vwap) * ((close - low) - (high - close)) / (high - low)`; 0 when flat.
    pub vcp: V,
    /// `(high + low + close) / 3`, a price.
    pub fib_pivot: V,
    /// Pivot plus 0.382, 0.618 and 1.0 of the range, prices.
    pub fib_r: [V; 3],
    /// Pivot minus 0.382, 0.618 and 1.0 of the range, prices.
    pub fib_s: [V; 3],
    /// Quote volume relative to that of as many minutes before; `NaN` when that is 0.
    pub volume_ratio: V,
    /// Part of the quote volume bought by takers; `NaN` when there is none.
    pub taker_ratio: V,
}

/// The parts of the range the Fibonacci levels lie from the pivot.
const LEVELS: [f64; 3] = [0.382, 0.618, 1.0];

impl<S: Simd> Derived<f64x4<S>> {
    /// The derived metrics of four windows.
    #[inline(always)]
    #[must_use]
    pub fn of(simd: S, cover: &Cover<f64x4<S>>) -> Self {
        let Cover { open, high, low, close, .. } = *cover;
        let [volume, quote_volume, _, taker_buy_quote] = cover.amounts;
        let earlier = cover.earlier_quote_volume;

        let zero = f64x4::splat(simd, 0.0);
        let unknown = f64x4::splat(simd, f64::NAN);
        let height = high - low;
        let unspent = quote_volume.simd_eq(zero);
        let vwap = (volume.simd_eq(zero) | unspent).select(close, quote_volume / volume);
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
            taker_ratio: unspent.select(unknown, taker_buy_quote / quote_volume),
        }
    }
}
