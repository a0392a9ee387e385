//! Highest and lowest price of every window in amortised O(1).
//!
//! One monotonic deque serves all windows: it holds the minutes that no later one has beaten, and
//! each window remembers the first of them that lies inside of it (its head). A head only moves
//! forward, or onto the newest minute when that beats everything behind; so the work of a minute is
//! constant on average for each window, whatever its length.
//!
//! The newest minute is not in the deque, as it may still be running: a window's extreme is the
//! better of the newest minute and of the window's head ([`Extrema::earlier`]).

use std::fmt;
use std::marker::PhantomData;

use fearless_simd::{Simd, dispatch, prelude::*, u16x8};

use crate::lanes::{LANES, Lanes, level};
use crate::ring::{Ring, Row, SLOTS};
use crate::time::{RING_MINUTES, Window};

/// Which end of the prices is looked for.
pub trait Side: Copy + Clone + fmt::Debug {
    /// The price of a row that counts.
    fn price(row: &Row) -> f64;

    /// Whether `held` stays in front when `newer` comes.
    fn beats(held: f64, newer: f64) -> bool;
}

/// The highest high.
#[derive(Clone, Copy, Debug)]
pub struct High;

/// The lowest low.
#[derive(Clone, Copy, Debug)]
pub struct Low;

impl Side for High {
    #[inline]
    fn price(row: &Row) -> f64 {
        row.high
    }

    #[inline]
    fn beats(held: f64, newer: f64) -> bool {
        held > newer
    }
}

impl Side for Low {
    #[inline]
    fn price(row: &Row) -> f64 {
        row.low
    }

    #[inline]
    fn beats(held: f64, newer: f64) -> bool {
        held < newer
    }
}

/// Windows whose heads are compared at once.
const TOGETHER: usize = GROUPS * LANES;

/// Groups of four windows among them.
const GROUPS: usize = 2;

/// The heads of eight windows: the first minute of the deque inside each, by its place there and
/// by its slot in the ring.
///
/// A window without a minute in the deque has its head at the deque's end, and on the slot of the
/// newest minute, which every window holds.
#[derive(Clone, Copy, Debug)]
struct Heads {
    places: [u16; TOGETHER],
    slots: [u16; TOGETHER],
    /// Lengths of the windows.
    spans: [u16; TOGETHER],
}

/// The extremes of all windows on one side.
#[derive(Clone, Debug)]
pub struct Extrema<S> {
    unbeaten: Unbeaten,
    heads: Box<[Heads]>,
    side: PhantomData<S>,
}

impl<S: Side> Extrema<S> {
    /// The extremes of windows of `lengths` over what `ring` holds.
    #[must_use]
    pub fn new(lengths: &[Window], ring: &Ring) -> Self {
        let newest = slot_back(ring, 0);
        let heads = lengths.chunks(TOGETHER).map(|some| {
            // The last of too few windows fills the others' places.
            let span = |lane: usize| some[lane.min(some.len() - 1)].minutes() as u16;
            let spans = std::array::from_fn(span);
            Heads { places: [0; TOGETHER], slots: [newest; TOGETHER], spans }
        });
        let mut extrema =
            Self { unbeaten: Unbeaten::new(), heads: heads.collect(), side: PhantomData };
        dispatch!(level(), simd => {
            for age in (1..ring.len()).rev() {
                extrema.push(simd, slot_back(ring, age), ring);
            }
            extrema.expire(simd, newest);
        });
        extrema
    }

    /// Slides on by the minute `ring` has just appended.
    #[inline(always)]
    pub fn advance<I: Simd>(&mut self, simd: I, ring: &Ring) {
        self.push(simd, slot_back(ring, 1), ring);
        self.expire(simd, slot_back(ring, 0));
    }

    /// The best price of each of four windows, the newest minute aside unless it is alone.
    #[inline(always)]
    #[must_use]
    pub fn earlier(&self, group: usize, ring: &Ring) -> Lanes {
        let (groups, _) = self.heads[group / GROUPS].slots.as_chunks::<LANES>();
        groups[group % GROUPS].map(|slot| S::price(ring.row(usize::from(slot))))
    }

    /// Puts the minute in `slot` behind all that it does not beat.
    #[inline(always)]
    fn push<I: Simd>(&mut self, simd: I, slot: u16, ring: &Ring) {
        let price = |slot: u16| S::price(ring.row(usize::from(slot)));
        let newer = price(slot);
        while let Some(last) = self.unbeaten.last()
            && !S::beats(price(last), newer)
        {
            self.unbeaten.drop_last();
        }
        let place = self.unbeaten.push(slot);
        for heads in &mut self.heads {
            heads.fall_back(simd, place, slot);
        }
    }

    /// Moves every head into its window and drops what no window can reach any more.
    #[inline(always)]
    fn expire<I: Simd>(&mut self, simd: I, newest: u16) {
        for heads in &mut self.heads {
            let mut left = heads.left(simd, newest);
            while left != 0 {
                heads.enter(left.trailing_zeros() as usize, newest, &self.unbeaten);
                left &= left - 1;
            }
        }
        while let Some(first) = self.unbeaten.first()
            && usize::from(age(first, newest)) >= RING_MINUTES
        {
            self.unbeaten.drop_first();
        }
    }
}

impl Heads {
    /// Moves the heads at or behind `place` there: the deque now ends with it.
    #[inline(always)]
    fn fall_back<I: Simd>(&mut self, simd: I, place: u16, slot: u16) {
        let places: u16x8<I> = self.places.simd_into(simd);
        let slots: u16x8<I> = self.slots.simd_into(simd);
        // Places count on for ever, and are never further apart than a ring is long.
        let stays = (place - places - 1).simd_lt(1 << 15);
        self.places = stays.select(places, u16x8::splat(simd, place)).into();
        self.slots = stays.select(slots, u16x8::splat(simd, slot)).into();
    }

    /// The heads that have left their windows, a bit for each.
    #[inline(always)]
    fn left<I: Simd>(&self, simd: I, newest: u16) -> u64 {
        let slots: u16x8<I> = self.slots.simd_into(simd);
        let turned = slots.simd_gt(newest);
        let turn = turned.select(u16x8::splat(simd, SLOTS as u16), u16x8::splat(simd, 0));
        let ages = newest - slots + turn;
        let spans: u16x8<I> = self.spans.simd_into(simd);
        ages.simd_ge(spans).to_bitmask()
    }

    /// Moves a head into its window.
    #[inline(always)]
    fn enter(&mut self, lane: usize, newest: u16, unbeaten: &Unbeaten) {
        while age(self.slots[lane], newest) >= self.spans[lane] {
            self.places[lane] = self.places[lane].wrapping_add(1);
            self.slots[lane] = unbeaten.get(self.places[lane]).unwrap_or(newest);
        }
    }
}

#[inline(always)]
fn slot_back(ring: &Ring, age: usize) -> u16 {
    ring.slot_back(age) as u16
}

/// How many minutes a slot's minute lies before the newest one's.
#[inline(always)]
const fn age(slot: u16, newest: u16) -> u16 {
    let turned = if slot > newest { SLOTS as u16 } else { 0 };
    newest.wrapping_sub(slot).wrapping_add(turned)
}

/// The deque: slots of minutes that no later one has beaten, oldest first.
///
/// Places count on for ever, in their low 16 bits; a place lies at itself modulo the capacity, a
/// power of two that doubles when it is used up.
#[derive(Clone, Debug)]
struct Unbeaten {
    slots: Box<[u16]>,
    first: u16,
    end: u16,
}

impl Unbeaten {
    fn new() -> Self {
        Self { slots: vec![0; 32].into_boxed_slice(), first: 0, end: 0 }
    }

    #[inline(always)]
    fn get(&self, place: u16) -> Option<u16> {
        (place != self.end).then(|| self.slots[self.index(place)])
    }

    #[inline(always)]
    fn first(&self) -> Option<u16> {
        self.get(self.first)
    }

    #[inline(always)]
    fn last(&self) -> Option<u16> {
        (self.first != self.end).then(|| self.slots[self.index(self.end.wrapping_sub(1))])
    }

    #[inline(always)]
    const fn drop_first(&mut self) {
        self.first = self.first.wrapping_add(1);
    }

    #[inline(always)]
    const fn drop_last(&mut self) {
        self.end = self.end.wrapping_sub(1);
    }

    /// Puts a slot at the end, and gives its place.
    #[inline(always)]
    fn push(&mut self, slot: u16) -> u16 {
        if usize::from(self.end.wrapping_sub(self.first)) == self.slots.len() {
            self.grow();
        }
        let place = self.end;
        self.slots[self.index(place)] = slot;
        self.end = place.wrapping_add(1);
        place
    }

    #[cold]
    fn grow(&mut self) {
        let mut larger = Self { slots: vec![0; 2 * self.slots.len()].into_boxed_slice(), ..*self };
        let mut place = self.first;
        while let Some(slot) = self.get(place) {
            let index = larger.index(place);
            larger.slots[index] = slot;
            place = place.wrapping_add(1);
        }
        *self = larger;
    }

    #[inline(always)]
    const fn index(&self, place: u16) -> usize {
        place as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Entry;
    use proptest::prelude::*;

    fn entry(high: f64, low: f64) -> Entry {
        let row = Row { high, low, open: low, close: high, ..Row::default() };
        Entry { row, ..Entry::fill(1.0, false) }
    }

    fn naive(rows: &[(f64, f64)], length: usize) -> (f64, f64) {
        let covered = &rows[rows.len().saturating_sub(length)..];
        let fold = |f: fn(f64, f64) -> f64, start| {
            covered.iter().fold(start, |a, r| f(a, if start < 0.0 { r.0 } else { r.1 }))
        };
        (fold(f64::max, f64::NEG_INFINITY), fold(f64::min, f64::INFINITY))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_the_definition_at_every_minute(
            steps in prop::collection::vec((0_u8..12, 0_u8..3), 1..400),
            repeat in 1_usize..12,
        ) {
            let lengths = [1, 2, 3, 7, 60, 1439, 1440].map(|m| Window::new(m).unwrap());
            let mut rows = Vec::new();
            let mut ring: Option<(Ring, Extrema<High>, Extrema<Low>)> = None;
            for (low, height) in steps.iter().cycle().take(steps.len() * repeat) {
                let (low, high) = (f64::from(*low) + 1.0, f64::from(*low + *height) + 1.0);
                rows.push((high, low));
                if let Some((ring, highs, lows)) = &mut ring {
                    ring.append(&entry(high, low), None);
                    dispatch!(level(), simd => highs.advance(simd, ring));
                    dispatch!(level(), simd => lows.advance(simd, ring));
                } else {
                    let first = Ring::new(29_000_000, &entry(high, low), None);
                    ring = Some((first.clone(), Extrema::new(&lengths, &first), Extrema::new(&lengths, &first)));
                }
                let Some((ring, highs, lows)) = &ring else { unreachable!() };
                for (index, length) in lengths.iter().enumerate() {
                    let (highest, lowest) = naive(&rows, length.minutes());
                    let newest = ring.newest_row();
                    prop_assert_eq!(highs.earlier(index / LANES, ring)[index % LANES].max(newest.high), highest);
                    prop_assert_eq!(lows.earlier(index / LANES, ring)[index % LANES].min(newest.low), lowest);
                }
            }
            if let Some((ring, highs, _)) = &ring {
                let fresh = Extrema::<High>::new(&lengths, ring);
                for group in 0..lengths.len().div_ceil(LANES) {
                    prop_assert_eq!(fresh.earlier(group, ring), highs.earlier(group, ring));
                }
            }
        }
    }
}
