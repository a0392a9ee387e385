//! Indicators over the closes of bars, one file each.
//!
//! An indicator is a small state of all closed bars: [`Indicator::push`] closes one. Its value is
//! looked at with the running bar at its current close, four states at once: `set` puts a state
//! into a lane, `peek` tells all four values and changes nothing.
//! Reference: TA-Lib on the same closes (SPEC 4).

mod average;
mod bollinger;
mod macd;
mod rsi;

pub use bollinger::{Bands, Bollinger, BollingerLanes};
pub use macd::{Macd, MacdLanes, MacdValue};
pub use rsi::{Rsi, RsiLanes};

/// What is kept of closes to tell a value in O(1) for each.
pub trait Indicator: Default {
    /// Takes the close of a bar that is over.
    fn push(&mut self, close: f64);
}

#[cfg(test)]
mod laws {
    use super::*;
    use crate::lanes::{LANES, level};
    use fearless_simd::{dispatch, f64x4, prelude::*};
    use proptest::prelude::*;

    /// What an indicator tells at each close, `peek` looking at its state in the last lane.
    fn values<I: Indicator, V>(closes: &[f64], peek: impl Fn(&I, f64) -> V) -> Vec<V> {
        let mut indicator = I::default();
        let mut step = |close: &f64| {
            let value = peek(&indicator, *close);
            indicator.push(*close);
            value
        };
        closes.iter().map(&mut step).collect()
    }

    const LANE: usize = LANES - 1;

    fn rsi(closes: &[f64]) -> Vec<f64> {
        values(closes, |state: &Rsi, close| {
            let mut lanes = RsiLanes::UNKNOWN;
            lanes.set(LANE, state);
            dispatch!(level(), simd => lanes.peek(simd, f64x4::splat(simd, close))[LANE])
        })
    }

    fn macd(closes: &[f64]) -> Vec<MacdValue<f64>> {
        values(closes, |state: &Macd, close| {
            let mut lanes = MacdLanes::UNKNOWN;
            lanes.set(LANE, state);
            dispatch!(level(), simd => {
                let value = lanes.peek(simd, f64x4::splat(simd, close));
                let MacdValue { macd, signal, histogram } = value;
                MacdValue { macd: macd[LANE], signal: signal[LANE], histogram: histogram[LANE] }
            })
        })
    }

    fn bollinger(closes: &[f64]) -> Vec<Bands<f64>> {
        values(closes, |state: &Bollinger, close| {
            let mut lanes = BollingerLanes::UNKNOWN;
            lanes.set(LANE, state);
            dispatch!(level(), simd => {
                let Bands { upper, middle, lower } = lanes.peek(simd, f64x4::splat(simd, close));
                Bands { upper: upper[LANE], middle: middle[LANE], lower: lower[LANE] }
            })
        })
    }

    fn closes() -> impl Strategy<Value = Vec<f64>> {
        prop_oneof![
            prop::collection::vec(0.001..1000.0_f64, 1..120),
            prop::collection::vec((1_u32..4).prop_map(f64::from), 1..120),
            (0.001..1000.0_f64, 1_usize..80).prop_map(|(price, count)| vec![price; count]),
        ]
    }

    proptest! {
        #[test]
        fn they_scale_with_the_price(closes in closes()) {
            let double: Vec<f64> = closes.iter().map(|c| c * 2.0).collect();
            for (one, two) in rsi(&closes).into_iter().zip(rsi(&double)) {
                prop_assert!(one == two || one.is_nan() && two.is_nan());
                prop_assert!(one.is_nan() || (0.0..=100.0).contains(&one));
            }
            for (one, two) in bollinger(&closes).into_iter().zip(bollinger(&double)) {
                prop_assert!(one.upper * 2.0 == two.upper || one.upper.is_nan() && two.upper.is_nan());
                prop_assert!(!(one.upper < one.middle || one.middle < one.lower));
            }
            for (one, two) in macd(&closes).into_iter().zip(macd(&double)) {
                prop_assert!(one.signal * 2.0 == two.signal || one.signal.is_nan() && two.signal.is_nan());
            }
        }

        #[test]
        fn they_are_ready_when_the_spec_says(closes in closes()) {
            let ready = |index: usize, needed: usize| index + 1 >= needed;
            for (index, value) in rsi(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.is_nan(), ready(index, 15));
            }
            for (index, value) in macd(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.macd.is_nan(), ready(index, 26));
                prop_assert_eq!(!value.signal.is_nan(), ready(index, 34));
                prop_assert_eq!(!value.histogram.is_nan(), ready(index, 34));
            }
            for (index, value) in bollinger(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.middle.is_nan(), ready(index, 20));
            }
        }

        #[test]
        fn bollinger_is_the_last_twenty_closes(closes in closes()) {
            for (index, value) in bollinger(&closes).into_iter().enumerate().skip(19) {
                let last = &closes[index - 19..=index];
                let mean = last.iter().sum::<f64>() / 20.0;
                let variance = last.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 20.0;
                let close = 1e-12 * closes[index].max(mean);
                prop_assert!((value.middle - mean).abs() <= close);
                prop_assert!((value.upper - mean - 2.0 * variance.sqrt()).abs() <= close * 10.0);
                prop_assert!((mean - value.lower - 2.0 * variance.sqrt()).abs() <= close * 10.0);
            }
        }
    }

    #[test]
    fn rsi_at_its_ends() {
        let last = |closes: &[f64]| rsi(closes).pop().unwrap();
        assert_eq!(last(&[5.0; 40]), 50.0);
        let rising: Vec<f64> = (1..40).map(f64::from).collect();
        assert_eq!(last(&rising), 100.0);
        let falling: Vec<f64> = (1..40).rev().map(f64::from).collect();
        assert_eq!(last(&falling), 0.0);
        // After a rise a fall must show (an RSI that keeps its first verdict is a known bug).
        let turned: Vec<f64> = (1..40).chain((1..39).rev()).map(f64::from).collect();
        assert!(last(&turned) < 10.0);
    }
}
