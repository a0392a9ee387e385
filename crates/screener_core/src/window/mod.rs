//! Sliding windows over a ring: exact sums, extremes, and what follows from them.

pub mod derived;
pub mod extrema;
pub mod sum;

use crate::ring::Ring;
use crate::time::Window;

use extrema::{Extrema, High, Low};
use sum::{Amounts, Sums};

/// All sliding windows of one symbol, kept in step with its ring.
///
/// An appended minute costs O(1) per window, amortised for the extremes.
#[derive(Clone, Debug)]
pub struct Windows {
    lengths: Box<[Window]>,
    sums: Sums,
    highs: Extrema<High>,
    lows: Extrema<Low>,
    synthetic: Box<[u16]>,
}

impl Windows {
    /// The windows of `lengths` over what `ring` holds.
    #[must_use]
    pub fn new(lengths: &[Window], ring: &Ring) -> Self {
        Self {
            lengths: lengths.into(),
            sums: Sums::new(lengths, ring),
            highs: Extrema::new(lengths, ring),
            lows: Extrema::new(lengths, ring),
            synthetic: lengths.iter().map(|length| count_synthetic(*length, ring)).collect(),
        }
    }

    /// The windows' lengths.
    #[must_use]
    pub fn lengths(&self) -> &[Window] {
        &self.lengths
    }

    /// Slides every window on by the minute `ring` has just appended.
    #[inline]
    pub fn advance(&mut self, ring: &Ring) {
        self.sums.advance(ring);
        self.highs.advance(&self.lengths, ring);
        self.lows.advance(&self.lengths, ring);
        self.advance_synthetic(ring);
    }

    /// Takes the newest minute's new version, `before` being the amounts of the old one.
    pub fn replace_newest(&mut self, before: &Amounts, was_synthetic: bool, ring: &Ring) {
        self.sums.replace_newest(before, ring);
        let is_synthetic = ring.newest_flags().is_synthetic();
        for count in &mut self.synthetic {
            *count = *count + u16::from(is_synthetic) - u16::from(was_synthetic);
        }
    }

    /// What window number `index` covers now.
    #[inline(always)]
    #[must_use]
    pub fn cover(&self, index: usize, ring: &Ring) -> Cover {
        let length = self.lengths[index];
        let newest = ring.newest_row();
        Cover {
            open: ring.row(ring.slot_back(length.minutes() - 1)).open,
            high: self.highs.with_newest(index, newest),
            low: self.lows.with_newest(index, newest),
            close: newest.close,
            amounts: self.sums.window(index),
            earlier_quote_volume: self.sums.before(index),
            synthetic: self.synthetic[index],
        }
    }

    #[inline]
    fn advance_synthetic(&mut self, ring: &Ring) {
        let entered = u16::from(ring.newest_flags().is_synthetic());
        for (length, count) in self.lengths.iter().zip(&mut self.synthetic) {
            if *count + entered > 0 {
                let left = left_flag(*length, ring);
                *count = *count + entered - left;
            }
        }
    }
}

/// 1 when the minute that has just left a window was synthetic.
fn left_flag(length: Window, ring: &Ring) -> u16 {
    let was_followed = ring.followed() > length.span();
    u16::from(was_followed && ring.flags(ring.slot_back(length.minutes())).is_synthetic())
}

fn count_synthetic(length: Window, ring: &Ring) -> u16 {
    let covered = length.minutes().min(ring.len());
    (0..covered).map(|age| u16::from(ring.flags(ring.slot_back(age)).is_synthetic())).sum()
}

/// What a window covers: the numbers every windowed metric is derived from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cover {
    /// Open of the window's first minute.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Close of the newest minute.
    pub close: f64,
    /// Sums of volume, quote volume, trades and taker buy quote volume.
    pub amounts: Amounts,
    /// Quote volume of as many minutes before the window; 0 where the ring does not reach.
    pub earlier_quote_volume: f64,
    /// Minutes that were filled or absent at their source.
    pub synthetic: u16,
}
