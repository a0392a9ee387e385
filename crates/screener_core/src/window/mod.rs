//! Sliding windows over a ring: exact sums, extremes, and what follows from them.

pub mod derived;
pub mod extrema;
pub mod sum;

use fearless_simd::{Simd, f64x4, prelude::*};

use crate::lanes::{LANES, Lanes};
use crate::ring::{Ring, SUMMED};
use crate::time::Window;

use extrema::{Extrema, High, Low};
use sum::{Amounts, Sums};

/// All sliding windows of one symbol, kept in step with its ring.
///
/// An appended minute costs O(1) per window, amortised for the extremes. What is read at every
/// minute is kept in lanes, four windows in a group; the lanes that are left over mean nothing.
#[derive(Clone, Debug)]
pub struct Windows {
    lengths: Box<[Window]>,
    sums: Sums,
    highs: Extrema<High>,
    lows: Extrema<Low>,
    /// Open of each window's first minute.
    opens: Box<[Lanes]>,
    /// Minutes of each window that were filled or absent at their source.
    synthetic: Box<[Lanes]>,
}

/// What four windows cover: the numbers every windowed metric is derived from.
#[derive(Clone, Copy, Debug)]
pub struct Cover<V> {
    /// Opens of the windows' first minutes.
    pub open: V,
    /// Highest prices.
    pub high: V,
    /// Lowest prices.
    pub low: V,
    /// Close of the newest minute.
    pub close: V,
    /// Sums of volume, quote volume, trades and taker buy quote volume.
    pub amounts: [V; SUMMED],
    /// Quote volume of as many minutes before each window; 0 where the ring does not reach.
    pub earlier_quote_volume: V,
    /// Minutes that were filled or absent at their source.
    pub synthetic: V,
}

impl Windows {
    /// The windows of `lengths`, sorted, over what `ring` holds.
    #[must_use]
    pub fn new(lengths: &[Window], ring: &Ring) -> Self {
        let nothing = vec![[0.0; LANES]; lengths.len().div_ceil(LANES)].into_boxed_slice();
        let mut windows = Self {
            lengths: lengths.into(),
            sums: Sums::new(lengths, ring),
            highs: Extrema::new(lengths, ring),
            lows: Extrema::new(lengths, ring),
            opens: nothing.clone(),
            synthetic: nothing,
        };
        windows.look_up_opens(ring);
        for (length, count) in lengths.iter().zip(windows.synthetic.as_flattened_mut()) {
            *count = count_synthetic(*length, ring);
        }
        windows
    }

    /// The windows' lengths.
    #[must_use]
    pub fn lengths(&self) -> &[Window] {
        &self.lengths
    }

    /// Slides every window on by the minute `ring` has just appended.
    #[inline(always)]
    pub fn advance<S: Simd>(&mut self, simd: S, ring: &Ring) {
        self.sums.advance(ring);
        self.highs.advance(simd, ring);
        self.lows.advance(simd, ring);
        self.look_up_opens(ring);
        self.advance_synthetic(ring);
    }

    /// Takes the newest minute's new version, `before` being the amounts of the old one.
    pub fn replace_newest(&mut self, before: &Amounts, was_synthetic: bool, ring: &Ring) {
        self.sums.replace_newest(before, ring);
        self.look_up_opens(ring);
        let change = one_if(ring.newest_flags().is_synthetic()) - one_if(was_synthetic);
        self.synthetic.as_flattened_mut().iter_mut().for_each(|count| *count += change);
    }

    /// What a group of four windows covers now.
    #[inline(always)]
    #[must_use]
    pub fn cover<S: Simd>(&self, simd: S, group: usize, ring: &Ring) -> Cover<f64x4<S>> {
        let newest = ring.newest_row();
        let highest: f64x4<S> = self.highs.earlier(group, ring).simd_into(simd);
        let lowest: f64x4<S> = self.lows.earlier(group, ring).simd_into(simd);
        let [a, b, c, d] = self.sums.windows(group);
        let column = |column: usize| [a[column], b[column], c[column], d[column]].simd_into(simd);
        Cover {
            open: self.opens[group].simd_into(simd),
            high: highest.max(newest.high),
            low: lowest.min(newest.low),
            close: f64x4::splat(simd, newest.close),
            amounts: [column(0), column(1), column(2), column(3)],
            earlier_quote_volume: (*self.sums.before(group)).simd_into(simd),
            synthetic: self.synthetic[group].simd_into(simd),
        }
    }

    #[inline(always)]
    fn look_up_opens(&mut self, ring: &Ring) {
        for (length, open) in self.lengths.iter().zip(self.opens.as_flattened_mut()) {
            *open = ring.row(ring.slot_back(length.minutes() - 1)).open;
        }
    }

    #[inline(always)]
    fn advance_synthetic(&mut self, ring: &Ring) {
        let entered = one_if(ring.newest_flags().is_synthetic());
        let counts = self.synthetic.as_flattened_mut();
        // The longest window counts what any of them does.
        if entered + counts[self.lengths.len() - 1] > 0.0 {
            for (length, count) in self.lengths.iter().zip(counts) {
                *count += entered - one_if(has_lost_synthetic(*length, ring));
            }
        }
    }
}

#[inline]
fn one_if(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// Whether the minute that has just left a window was synthetic.
fn has_lost_synthetic(length: Window, ring: &Ring) -> bool {
    let was_followed = ring.followed() > length.span();
    was_followed && ring.flags(ring.slot_back(length.minutes())).is_synthetic()
}

fn count_synthetic(length: Window, ring: &Ring) -> f64 {
    let covered = length.minutes().min(ring.len());
    (0..covered).map(|age| one_if(ring.flags(ring.slot_back(age)).is_synthetic())).sum()
}
