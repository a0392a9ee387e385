//! Exact sums of every window: bit for bit what `math.fsum` gives for its minutes.
//!
//! A float is a whole number of some power of two, so a sum of floats is exact in fixed point if
//! that is wide enough, and what has left a window leaves no trace in it. Two widths serve:
//!
//! - `Narrow`: 84 bits in two limbs of 42, kept in floats so that four amounts are summed by
//!   vector instructions. 1441 limbs stay below 2^53, so nothing is ever rounded, and the total
//!   `high + low` is one rounding of the exact sum, which is what `fsum` gives. A `Grid` says
//!   where the 84 bits lie; real amounts of one symbol fit.
//! - `Wide`: 320 bits in integers, room for anything from 1e-30 to 1e30 at once. Used while
//!   minutes in the ring do not fit any grid.
//!
//! The choice never shows: both are exact.

use crate::lanes::{LANES, Lanes};
use crate::num::{decompose, power_of_two};
use crate::ring::{Ring, Row, SUMMED};
use crate::time::{RING_MINUTES, Window};

/// Volume, quote volume, trades and taker buy quote volume.
pub type Amounts = [f64; SUMMED];

const NOTHING: Amounts = [0.0; SUMMED];

/// Position of quote volume in [`Amounts`].
const QUOTE: usize = 1;

/// Sums of all windows, and the quote volume of as many minutes before each of them.
#[derive(Clone, Debug)]
pub struct Sums {
    spans: Box<[Span]>,
    width: Width,
    /// The sums of each window, rounded once.
    windows: Box<[[Amounts; LANES]]>,
    /// The quote volume of as many minutes before it, rounded once.
    before: Box<[Lanes]>,
}

/// How far a window reaches back, and the minutes before it.
#[derive(Clone, Copy, Debug)]
struct Span {
    minutes: usize,
    /// Where the minutes before it end; `None` when the ring does not reach so far.
    before: Option<usize>,
}

/// The sums of one window, and the quote volume of as many minutes before it.
#[derive(Clone, Copy, Debug, Default)]
struct Pair<A, Q> {
    window: A,
    before: Q,
}

type NarrowPair = Pair<Narrow<SUMMED>, Narrow<1>>;
type WidePair = Pair<[Wide; SUMMED], Wide>;

#[derive(Clone, Debug)]
enum Width {
    Narrow {
        grid: Grid,
        pairs: Box<[NarrowPair]>,
    },
    /// `since` counts the minutes appended, to try a grid again once the ring has turned over.
    Wide {
        pairs: Box<[WidePair]>,
        since: usize,
    },
}

impl Sums {
    /// The sums of windows of `lengths` over what `ring` holds.
    #[must_use]
    pub fn new(lengths: &[Window], ring: &Ring) -> Self {
        let span = |length: &Window| {
            let minutes = length.minutes();
            Span { minutes, before: (2 * minutes <= RING_MINUTES).then_some(2 * minutes) }
        };
        let spans: Box<[Span]> = lengths.iter().map(span).collect();
        let groups = lengths.len().div_ceil(LANES);
        let mut sums = Self {
            width: Width::summing(&spans, ring),
            spans,
            windows: vec![[NOTHING; LANES]; groups].into_boxed_slice(),
            before: vec![[0.0; LANES]; groups].into_boxed_slice(),
        };
        sums.round();
        sums
    }

    /// Slides on by the minute `ring` has just appended.
    #[inline(always)]
    pub fn advance(&mut self, ring: &Ring) {
        let newest = &ring.newest_row().amounts;
        let Width::Narrow { grid, pairs } = &mut self.width else { return self.widely(ring) };
        if !grid.fits(newest) {
            return self.widely(ring);
        }
        let newest = grid.split(newest);
        let rounded =
            self.windows.as_flattened_mut().iter_mut().zip(self.before.as_flattened_mut());
        for ((span, pair), (window, before)) in self.spans.iter().zip(pairs).zip(rounded) {
            let passed = grid.split(amounts_back(ring, span.minutes));
            *window = pair.window.slide(&newest, &passed);
            if let Some(end) = span.before {
                let left = grid.split_quote(amounts_back(ring, end));
                [*before] = pair.before.slide(&passed.quote(), &left);
            }
        }
    }

    /// Slides on where the newest minute, or one before it, fits no grid.
    #[cold]
    #[inline(never)]
    fn widely(&mut self, ring: &Ring) {
        let newest = &ring.newest_row().amounts;
        match &mut self.width {
            Width::Wide { pairs, since } if *since < RING_MINUTES => {
                *since += 1;
                for (span, pair) in self.spans.iter().zip(pairs) {
                    let passed = amounts_back(ring, span.minutes);
                    slide_wide(&mut pair.window, newest, passed);
                    if let Some(end) = span.before {
                        pair.before.add(passed[QUOTE]);
                        pair.before.subtract(amounts_back(ring, end)[QUOTE]);
                    }
                }
            }
            _ => self.width = Width::summing(&self.spans, ring),
        }
        self.round();
    }

    /// Takes the newest minute's new version, `before` being the old one's amounts.
    pub fn replace_newest(&mut self, before: &Amounts, ring: &Ring) {
        let newest = &ring.newest_row().amounts;
        match &mut self.width {
            Width::Narrow { grid, pairs } if grid.fits(newest) => {
                let (entered, left) = (grid.split(newest), grid.split(before));
                pairs.iter_mut().for_each(|pair| _ = pair.window.slide(&entered, &left));
            }
            Width::Wide { pairs, .. } => {
                pairs.iter_mut().for_each(|pair| slide_wide(&mut pair.window, newest, before));
            }
            Width::Narrow { .. } => self.width = Width::summing(&self.spans, ring),
        }
        self.round();
    }

    /// The sums of four windows, each rounded once.
    #[inline(always)]
    #[must_use]
    pub fn windows(&self, group: usize) -> &[Amounts; LANES] {
        &self.windows[group]
    }

    /// The quote volumes of as many minutes before each of four windows, rounded once; 0 where the
    /// ring does not reach so far.
    #[inline(always)]
    #[must_use]
    pub fn before(&self, group: usize) -> &Lanes {
        &self.before[group]
    }

    /// Rounds every sum anew.
    fn round(&mut self) {
        let windows = self.windows.as_flattened_mut().iter_mut();
        let rounded = windows.zip(self.before.as_flattened_mut());
        match &self.width {
            Width::Narrow { pairs, .. } => {
                rounded.zip(pairs).for_each(|((window, before), pair)| {
                    *window = pair.window.total();
                    [*before] = pair.before.total();
                })
            }
            Width::Wide { pairs, .. } => rounded.zip(pairs).for_each(|((window, before), pair)| {
                *window = pair.window.map(|sum| sum.total());
                *before = pair.before.total();
            }),
        }
    }
}

#[inline]
fn amounts_back(ring: &Ring, age: usize) -> &Amounts {
    &ring.row(ring.slot_back(age)).amounts
}

impl Width {
    /// Sums everything anew from what the ring holds.
    #[cold]
    fn summing(spans: &[Span], ring: &Ring) -> Self {
        let held = ring.len();
        let rows = (0..held).map(|age| ring.row(ring.slot_back(age)));
        if let Some(grid) = Grid::for_rows(rows) {
            let pairs = spans.iter().map(|span| grid.summing(*span, ring)).collect();
            return Self::Narrow { pairs, grid };
        }
        Self::Wide { pairs: spans.iter().map(|span| summing_wide(*span, ring)).collect(), since: 0 }
    }
}

impl Span {
    /// The amounts of the minutes in the window.
    fn inside(self, ring: &Ring) -> impl Iterator<Item = &Amounts> {
        (0..self.minutes.min(ring.len())).map(|age| amounts_back(ring, age))
    }

    /// The amounts of as many minutes before it, where the ring reaches so far.
    fn earlier(self, ring: &Ring) -> impl Iterator<Item = &Amounts> {
        let end = self.before.unwrap_or(self.minutes).min(ring.len());
        (self.minutes..end).map(|age| amounts_back(ring, age))
    }
}

fn summing_wide(span: Span, ring: &Ring) -> WidePair {
    let mut pair = WidePair::default();
    span.inside(ring).for_each(|amounts| slide_wide(&mut pair.window, amounts, &NOTHING));
    span.earlier(ring).for_each(|amounts| pair.before.add(amounts[QUOTE]));
    pair
}

/// Bits of a limb.
const LIMB: i32 = 42;

/// Where the two limbs of each amount lie.
///
/// Adding and subtracting `1.5 * 2^(52 + n)` rounds a float to a multiple of `2^n`.
#[derive(Clone, Copy, Debug)]
struct Grid {
    /// Rounds to a multiple of the high limb's unit.
    high: Amounts,
    /// Rounds to a multiple of the low limb's unit.
    low: Amounts,
    /// Amounts must be smaller.
    limit: Amounts,
}

/// Amounts or their sums, each as a high and a low limb that add up to it.
#[derive(Clone, Copy, Debug)]
struct Narrow<const N: usize> {
    high: [f64; N],
    low: [f64; N],
}

impl Grid {
    /// A grid every row fits, with room to spare on both sides; `None` when there is none.
    fn for_rows<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<Self> {
        let mut top = [i32::MIN; SUMMED];
        let mut bottom = [i32::MAX; SUMMED];
        for row in rows {
            for (column, amount) in row.amounts.into_iter().enumerate().filter(|(_, a)| *a > 0.0) {
                let (mantissa, exponent) = decompose(amount);
                top[column] = top[column].max(exponent + 53);
                bottom[column] = bottom[column].min(exponent + mantissa.trailing_zeros() as i32);
            }
        }
        let mut grid = Self { high: NOTHING, low: NOTHING, limit: NOTHING };
        for column in 0..SUMMED {
            // A column of zeros only: anything near 1 is likely to come.
            let empty = top[column] == i32::MIN;
            let (top, bottom) = if empty { (1, -52) } else { (top[column], bottom[column]) };
            let spare = 2 * LIMB - (top - bottom);
            if spare < 0 {
                return None;
            }
            let unit = bottom - spare / 2;
            grid.low[column] = 1.5 * power_of_two(52 + unit);
            grid.high[column] = 1.5 * power_of_two(52 + unit + LIMB);
            grid.limit[column] = power_of_two(unit + 2 * LIMB);
        }
        Some(grid)
    }

    #[inline(always)]
    fn split(&self, amounts: &Amounts) -> Narrow<SUMMED> {
        let high: Amounts =
            std::array::from_fn(|column| (amounts[column] + self.high[column]) - self.high[column]);
        Narrow { low: std::array::from_fn(|column| amounts[column] - high[column]), high }
    }

    #[inline(always)]
    fn split_quote(&self, amounts: &Amounts) -> Narrow<1> {
        let high = (amounts[QUOTE] + self.high[QUOTE]) - self.high[QUOTE];
        Narrow { high: [high], low: [amounts[QUOTE] - high] }
    }

    #[inline(always)]
    fn fits(&self, amounts: &Amounts) -> bool {
        let Narrow { low, .. } = self.split(amounts);
        let mut fits = true;
        for column in 0..SUMMED {
            let kept = (low[column] + self.low[column]) - self.low[column];
            fits &= (kept == low[column]) & (amounts[column] < self.limit[column]);
        }
        fits
    }

    fn summing(&self, span: Span, ring: &Ring) -> NarrowPair {
        let mut pair = NarrowPair::default();
        let (nothing, no_quote) = (Narrow::default(), Narrow::default());
        for amounts in span.inside(ring) {
            pair.window.slide(&self.split(amounts), &nothing);
        }
        for amounts in span.earlier(ring) {
            pair.before.slide(&self.split_quote(amounts), &no_quote);
        }
        pair
    }
}

impl<const N: usize> Default for Narrow<N> {
    fn default() -> Self {
        Self { high: [0.0; N], low: [0.0; N] }
    }
}

impl<const N: usize> Narrow<N> {
    /// Slides on, and gives the total.
    #[inline(always)]
    fn slide(&mut self, entered: &Self, left: &Self) -> [f64; N] {
        for column in 0..N {
            self.high[column] += entered.high[column] - left.high[column];
            self.low[column] += entered.low[column] - left.low[column];
        }
        self.total()
    }

    #[inline(always)]
    fn total(&self) -> [f64; N] {
        std::array::from_fn(|column| self.high[column] + self.low[column])
    }
}

impl Narrow<SUMMED> {
    #[inline(always)]
    fn quote(&self) -> Narrow<1> {
        Narrow { high: [self.high[QUOTE]], low: [self.low[QUOTE]] }
    }
}

const WORDS: usize = 5;

/// Exponent of the lowest bit of [`Wide`]: the last bit of 1e-30, the smallest amount.
const WIDE_UNIT: i32 = -152;

/// A sum of amounts as a 320-bit whole number of `2^-152`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wide([u64; WORDS]);

impl Wide {
    fn add(&mut self, amount: f64) {
        self.combine(amount, u64::overflowing_add);
    }

    fn subtract(&mut self, amount: f64) {
        self.combine(amount, u64::overflowing_sub);
    }

    fn combine(&mut self, amount: f64, step: fn(u64, u64) -> (u64, bool)) {
        if amount == 0.0 {
            return;
        }
        let (mantissa, exponent) = decompose(amount);
        let shift = (exponent - WIDE_UNIT) as usize;
        let parts = u128::from(mantissa) << (shift % 64);
        let mut carry = false;
        for (index, word) in self.0.iter_mut().enumerate().skip(shift / 64) {
            let part = match index - shift / 64 {
                0 => parts as u64,
                1 => (parts >> 64) as u64,
                _ if carry => 0,
                _ => return,
            };
            let (once, first) = step(*word, part);
            let (twice, second) = step(once, u64::from(carry));
            *word = twice;
            carry = first | second;
        }
    }

    /// The nearest float, ties to even.
    fn total(&self) -> f64 {
        let Some(top) = self.0.iter().rposition(|word| *word != 0) else { return 0.0 };
        let zeros = self.0[top].leading_zeros();
        let below = if top > 0 { self.0[top - 1] } else { 0 };
        let pair = (u128::from(self.0[top]) << 64 | u128::from(below)) << zeros;
        let rest = self.0[..top.saturating_sub(1)].iter().any(|word| *word != 0);
        let sticky = u64::from(rest || pair as u64 != 0);
        // 64 leading bits are more than enough to round by; what lies below only breaks ties.
        let leading = ((pair >> 64) as u64) | sticky;
        leading as f64 * power_of_two(64 * top as i32 - zeros as i32 + WIDE_UNIT)
    }
}

fn slide_wide(sums: &mut [Wide; SUMMED], entered: &Amounts, left: &Amounts) {
    for ((sum, entered), left) in sums.iter_mut().zip(entered).zip(left) {
        sum.add(*entered);
        sum.subtract(*left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Entry;
    use proptest::prelude::*;

    /// Shewchuk's exact sum, the algorithm behind `math.fsum`.
    fn fsum(values: impl IntoIterator<Item = f64>) -> f64 {
        let mut partials: Vec<f64> = Vec::new();
        for mut x in values {
            let mut kept = 0;
            for index in 0..partials.len() {
                let mut y = partials[index];
                if x.abs() < y.abs() {
                    std::mem::swap(&mut x, &mut y);
                }
                let high = x + y;
                let low = y - (high - x);
                if low != 0.0 {
                    partials[kept] = low;
                    kept += 1;
                }
                x = high;
            }
            partials.truncate(kept);
            partials.push(x);
        }
        let Some(mut high) = partials.pop() else { return 0.0 };
        let mut low = 0.0;
        while let Some(y) = partials.pop() {
            let x = high;
            high = x + y;
            low = y - (high - x);
            if low != 0.0 {
                break;
            }
        }
        if partials.last().is_some_and(|next| low * next > 0.0) {
            let doubled = low * 2.0;
            let rounded = high + doubled;
            if doubled == rounded - high {
                high = rounded;
            }
        }
        high
    }

    fn amount() -> impl Strategy<Value = f64> {
        prop_oneof![
            2 => Just(0.0),
            4 => 0.001..1e7_f64,
            2 => (-100.0..100.0_f64).prop_map(|e| (2_f64.powf(e)).clamp(1e-30, 1e30)),
            1 => Just(1e-30),
            1 => Just(1e30),
            1 => Just(1e12),
            1 => Just(0.1),
        ]
    }

    fn entry(amounts: Amounts) -> Entry {
        Entry { row: Row { amounts, ..Row::flat(1.0) }, ..Entry::fill(1.0, false) }
    }

    fn assert_exact(sums: &Sums, lengths: &[Window], history: &[Amounts]) {
        let count = history.len();
        for (index, length) in lengths.iter().map(|l| l.minutes()).enumerate() {
            let total = sums.windows(index / LANES)[index % LANES];
            for column in 0..SUMMED {
                let covered = &history[count.saturating_sub(length)..];
                let expected = fsum(covered.iter().map(|a| a[column]));
                assert_eq!(
                    total[column].to_bits(),
                    expected.to_bits(),
                    "W={length} column={column}"
                );
            }
            if 2 * length <= RING_MINUTES {
                let end = count.saturating_sub(length);
                let covered = &history[end.saturating_sub(length)..end];
                let expected = fsum(covered.iter().map(|a| a[QUOTE]));
                assert_eq!(
                    sums.before(index / LANES)[index % LANES].to_bits(),
                    expected.to_bits(),
                    "before W={length}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equals_fsum_at_every_minute(
            tame in prop::collection::vec(prop::array::uniform4(0.0001..1e6_f64), 1..80),
            wild in prop::collection::vec(prop::array::uniform4(amount()), 0..40),
            turns in 1_usize..25,
        ) {
            let lengths = [1, 2, 5, 60, 720, 721, 1440].map(|m| Window::new(m).unwrap());
            let cleaned = |a: &Amounts| a.map(|v| if v < 1e-30 { 0.0 } else { v });
            let history: Vec<Amounts> = tame
                .iter().chain(&wild).chain(tame.iter().cycle().take(tame.len() * turns * 5))
                .map(cleaned).collect();
            let mut ring = Ring::new(29_000_000, &entry(history[0]), None);
            let mut sums = Sums::new(&lengths, &ring);
            for (index, amounts) in history.iter().enumerate().skip(1) {
                ring.append(&entry(*amounts), None);
                sums.advance(&ring);
                if index % 37 == 0 || index < 50 {
                    assert_exact(&sums, &lengths, &history[..=index]);
                }
            }
            assert_exact(&sums, &lengths, &history);
            assert_exact(&Sums::new(&lengths, &ring), &lengths, &history);
        }

        #[test]
        fn a_replaced_minute_leaves_no_trace(versions in prop::collection::vec(prop::array::uniform4(amount()), 1..20)) {
            let lengths = [1, 5].map(|m| Window::new(m).unwrap());
            let mut ring = Ring::new(29_000_000, &entry([1.5, 2.5, 3.0, 0.1]), None);
            ring.append(&entry([0.0; 4]), None);
            let mut sums = Sums::new(&lengths, &ring);
            let mut before = [0.0; 4];
            for version in &versions {
                ring.replace_newest(&entry(*version), None);
                sums.replace_newest(&before, &ring);
                before = *version;
                assert_exact(&sums, &lengths, &[[1.5, 2.5, 3.0, 0.1], *version]);
            }
        }

        #[test]
        fn wide_rounds_as_fsum_does(values in prop::collection::vec(amount(), 0..60)) {
            let mut sum = Wide::default();
            values.iter().for_each(|v| sum.add(*v));
            prop_assert_eq!(sum.total().to_bits(), fsum(values.iter().copied()).to_bits());
            values.iter().for_each(|v| sum.subtract(*v));
            prop_assert_eq!(sum, Wide::default());
        }
    }

    #[test]
    fn a_tie_is_rounded_to_even_and_broken_by_a_distant_bit() {
        let mut sum = Wide::default();
        for value in [9_007_199_254_740_992.0, 1.0] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 9_007_199_254_740_992.0);
        sum.add(1e-30);
        assert_eq!(sum.total(), 9_007_199_254_740_994.0);
    }

    #[test]
    fn real_amounts_are_summed_narrowly_and_a_spike_only_widens_while_it_is_there() {
        let lengths = [Window::new(1440).unwrap()];
        let mut ring = Ring::new(29_000_000, &entry([0.001, 5.1, 1.0, 2.3]), None);
        let mut sums = Sums::new(&lengths, &ring);
        let is_wide = |sums: &Sums| matches!(sums.width, Width::Wide { .. });
        ring.append(&entry([123_456.789, 9.9e8, 40_000.0, 4.4e8]), None);
        sums.advance(&ring);
        assert!(!is_wide(&sums));
        ring.append(&entry([1e30, 1e30, 1.0, 1e-30]), None);
        sums.advance(&ring);
        assert!(is_wide(&sums));
        for _ in 0..=RING_MINUTES {
            ring.append(&entry([0.3, 0.7, 1.0, 0.1]), None);
            sums.advance(&ring);
        }
        assert!(!is_wide(&sums));
    }
}
