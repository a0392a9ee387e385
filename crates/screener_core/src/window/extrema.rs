//! Highest and lowest price of every window in amortised O(1).
//!
//! One monotonic deque serves all windows: it holds the minutes that no later one has beaten, and
//! each window remembers the first of them that lies inside of it (its head). A head only moves
//! forward, or onto the newest minute when that beats everything behind; so the work of a minute is
//! constant on average for each window, whatever its length.
//!
//! The newest minute is not in the deque, as it may still be running: a window's extreme is the
//! better of the newest minute and of the window's head ([`Extrema::with_newest`]).

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use crate::ring::{Ring, Row};
use crate::time::{Minute, RING_MINUTES, Window};

/// Which end of the prices is looked for.
pub trait Side: Copy + Clone + fmt::Debug {
    /// The value of no minute at all.
    const NONE: f64;

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
    const NONE: f64 = f64::NEG_INFINITY;

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
    const NONE: f64 = f64::INFINITY;

    #[inline]
    fn price(row: &Row) -> f64 {
        row.low
    }

    #[inline]
    fn beats(held: f64, newer: f64) -> bool {
        held < newer
    }
}

/// The first minute of the deque inside a window, if any: its place, minute and price.
#[derive(Clone, Copy, Debug)]
struct Head {
    place: u64,
    minute: Minute,
    price: f64,
}

/// The extremes of all windows on one side.
#[derive(Clone, Debug)]
pub struct Extrema<S> {
    /// Ages cannot be kept and minutes are long: entries are the low 16 bits of their minute.
    unbeaten: VecDeque<u16>,
    /// Place of the deque's front, counted from the beginning of time.
    front: u64,
    heads: Box<[Head]>,
    side: PhantomData<S>,
}

impl<S: Side> Extrema<S> {
    /// The extremes of windows of `lengths` over what `ring` holds.
    #[must_use]
    pub fn new(lengths: &[Window], ring: &Ring) -> Self {
        let nothing = Head { place: 0, minute: Minute::MAX, price: S::NONE };
        let mut extrema = Self {
            unbeaten: VecDeque::new(),
            front: 0,
            heads: vec![nothing; lengths.len()].into_boxed_slice(),
            side: PhantomData,
        };
        for age in (1..ring.len()).rev() {
            extrema.push(age, ring);
        }
        extrema.expire(lengths, ring);
        extrema
    }

    /// Slides on by the minute `ring` has just appended.
    #[inline]
    pub fn advance(&mut self, lengths: &[Window], ring: &Ring) {
        self.push(1, ring);
        self.expire(lengths, ring);
    }

    /// The extreme of window number `index`, `newest` being the newest minute.
    #[inline]
    #[must_use]
    pub fn with_newest(&self, index: usize, newest: &Row) -> f64 {
        let (earlier, newest) = (self.heads[index].price, S::price(newest));
        if S::beats(earlier, newest) { earlier } else { newest }
    }

    /// Puts the minute `age` before the newest behind all that it does not beat.
    #[inline]
    fn push(&mut self, age: usize, ring: &Ring) {
        let minute = ring.newest() - age as Minute;
        let price = S::price(ring.row(ring.slot_back(age)));
        while let Some(&last) = self.unbeaten.back() {
            let held_age = age_of(last, ring.newest());
            if S::beats(S::price(ring.row(ring.slot_back(held_age))), price) {
                break;
            }
            self.unbeaten.pop_back();
        }
        let place = self.front + self.unbeaten.len() as u64;
        self.unbeaten.push_back(minute as u16);
        for head in &mut self.heads {
            if head.place >= place {
                *head = Head { place, minute, price };
            }
        }
    }

    /// Moves every head into its window and drops what no window can reach any more.
    #[inline]
    fn expire(&mut self, lengths: &[Window], ring: &Ring) {
        let newest = ring.newest();
        for (length, head) in lengths.iter().zip(&mut self.heads) {
            let first = newest - length.span() + 1;
            while head.minute < first {
                head.place += 1;
                let next = self.unbeaten.get((head.place - self.front) as usize);
                (head.minute, head.price) = match next {
                    Some(&low) => {
                        let age = age_of(low, newest);
                        (newest - age as Minute, S::price(ring.row(ring.slot_back(age))))
                    }
                    None => (Minute::MAX, S::NONE),
                };
            }
        }
        while let Some(&low) = self.unbeaten.front() {
            if age_of(low, newest) < RING_MINUTES {
                break;
            }
            self.unbeaten.pop_front();
            self.front += 1;
        }
    }
}

/// How far before `newest` the minute with these low bits lies (less than 65,536 minutes).
#[inline]
fn age_of(low: u16, newest: Minute) -> usize {
    usize::from((newest as u16).wrapping_sub(low))
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
                    highs.advance(&lengths, ring);
                    lows.advance(&lengths, ring);
                } else {
                    let first = Ring::new(29_000_000, &entry(high, low), None);
                    ring = Some((first.clone(), Extrema::new(&lengths, &first), Extrema::new(&lengths, &first)));
                }
                let Some((ring, highs, lows)) = &ring else { unreachable!() };
                for (index, length) in lengths.iter().enumerate() {
                    let (highest, lowest) = naive(&rows, length.minutes());
                    prop_assert_eq!(highs.with_newest(index, ring.newest_row()), highest);
                    prop_assert_eq!(lows.with_newest(index, ring.newest_row()), lowest);
                }
            }
            if let Some((ring, highs, _)) = &ring {
                let fresh = Extrema::<High>::new(&lengths, ring);
                for index in 0..lengths.len() {
                    let newest = ring.newest_row();
                    prop_assert_eq!(fresh.with_newest(index, newest), highs.with_newest(index, newest));
                }
            }
        }
    }
}
