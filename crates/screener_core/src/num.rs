//! What numbers a candle may carry, and how a float is taken apart into bits.

/// Smallest magnitude a number other than 0 may have.
pub const SMALLEST: f64 = 1e-30;

/// Largest magnitude a number may have.
pub const LARGEST: f64 = 1e30;

/// Whether `value` is 0 or between 1e-30 and 1e30 (so neither negative, infinite nor NaN).
#[inline]
#[must_use]
pub fn is_amount(value: f64) -> bool {
    (value == 0.0) | (SMALLEST..=LARGEST).contains(&value)
}

/// A positive normal float as `mantissa * 2^exponent`, the mantissa a whole number of 53 bits.
#[inline]
#[must_use]
pub(crate) fn decompose(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1075;
    (mantissa, exponent)
}

/// `2^exponent` for exponents of normal floats (-1022 to 1023).
#[inline]
#[must_use]
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for good in [0.0, -0.0, 1e-30, 1.0, 1e30] {
            assert!(is_amount(good), "{good}");
        }
        for bad in [-1.0, -1e-300, 9.9e-31, 1.1e30, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            assert!(!is_amount(bad), "{bad}");
        }
    }

    #[test]
    fn parts_multiply_back() {
        for value in [1e-30, 0.1, 1.0, 123_456.789, 1e30] {
            let (mantissa, exponent) = decompose(value);
            assert_eq!(mantissa as f64 * power_of_two(exponent), value);
        }
    }
}
