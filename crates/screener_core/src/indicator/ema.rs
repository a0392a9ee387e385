//! One step of an exponential moving average.

/// `average` moved towards `value` by `2 / (period + 1)` of the way.
#[inline]
pub(super) fn step(average: f64, value: f64, period: u32) -> f64 {
    (value - average) * (2.0 / (f64::from(period) + 1.0)) + average
}
