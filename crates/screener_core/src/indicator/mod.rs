//! Indicators over the closes of bars, one file each.
//!
//! An indicator is a small state of all closed bars. [`Indicator::peek`] tells its value with the
//! running bar at its current close, without changing it; [`Indicator::push`] closes the bar.
//! Reference: TA-Lib on the same closes (SPEC 4).

mod bollinger;
mod ema;
mod macd;
mod rsi;

pub use bollinger::{Bands, Bollinger};
pub use macd::{Macd, MacdValue};
pub use rsi::Rsi;

/// A value over closes that is kept up to date in O(1) for each.
pub trait Indicator: Default {
    /// What it tells.
    type Value;

    /// Takes the close of a bar that is over.
    fn push(&mut self, close: f64);

    /// The value if the next bar's close were `close`; `NaN` in each part that is not ready.
    fn peek(&self, close: f64) -> Self::Value;
}

#[cfg(test)]
mod laws {
    use super::*;
    use proptest::prelude::*;

    fn values<I: Indicator>(closes: &[f64]) -> Vec<I::Value> {
        let mut indicator = I::default();
        closes
            .iter()
            .map(|close| {
                let value = indicator.peek(*close);
                indicator.push(*close);
                value
            })
            .collect()
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
            for (one, two) in values::<Rsi>(&closes).into_iter().zip(values::<Rsi>(&double)) {
                prop_assert!(one == two || one.is_nan() && two.is_nan());
                prop_assert!(one.is_nan() || (0.0..=100.0).contains(&one));
            }
            for (one, two) in values::<Bollinger>(&closes).into_iter().zip(values::<Bollinger>(&double)) {
                prop_assert!(one.upper * 2.0 == two.upper || one.upper.is_nan() && two.upper.is_nan());
                prop_assert!(!(one.upper < one.middle || one.middle < one.lower));
            }
            for (one, two) in values::<Macd>(&closes).into_iter().zip(values::<Macd>(&double)) {
                prop_assert!(one.signal * 2.0 == two.signal || one.signal.is_nan() && two.signal.is_nan());
            }
        }

        #[test]
        fn they_are_ready_when_the_spec_says(closes in closes()) {
            let ready = |index: usize, needed: usize| index + 1 >= needed;
            for (index, value) in values::<Rsi>(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.is_nan(), ready(index, 15));
            }
            for (index, value) in values::<Macd>(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.macd.is_nan(), ready(index, 26));
                prop_assert_eq!(!value.signal.is_nan(), ready(index, 34));
                prop_assert_eq!(!value.histogram.is_nan(), ready(index, 34));
            }
            for (index, value) in values::<Bollinger>(&closes).into_iter().enumerate() {
                prop_assert_eq!(!value.middle.is_nan(), ready(index, 20));
            }
        }

        #[test]
        fn bollinger_is_the_last_twenty_closes(closes in closes()) {
            for (index, value) in values::<Bollinger>(&closes).into_iter().enumerate().skip(19) {
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
        let last = |closes: &[f64]| values::<Rsi>(closes).pop().unwrap();
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
