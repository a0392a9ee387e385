//! What an arriving candle means for a ring: SPEC 2's table as a value.

use super::{Entry, Flags, Ring, Running};
use crate::candle::Candle;
use crate::time::{Minute, RING_MINUTES};

/// What an arriving candle means for a ring (SPEC 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The first candle of the symbol.
    First,
    /// The next minute, after `missing` minutes that have to be filled.
    Append {
        /// Minutes between the newest and this one.
        missing: usize,
    },
    /// More than a ring after the newest: the symbol starts afresh.
    Restart,
    /// A version of the running minute.
    Update,
    /// Another version of a minute that is there, which it replaces.
    Correct,
    /// Before the first minute, inside the ring: the start moves back.
    Prepend,
    /// The same again; nothing changes.
    Duplicate,
    /// Equal to what a running minute was when it was closed by force: now it is confirmed.
    Confirm,
    /// Different from what is there, from a source that ranks lower.
    Outranked,
    /// An open version of a minute that is closed, or older than the open version that is there.
    Stale,
    /// Older than the ring.
    TooOld,
}

impl Ring {
    /// What `candle` means for this ring. Changes nothing.
    #[must_use]
    pub fn place(&self, candle: &Candle) -> Placement {
        let minute = candle.minute();
        if minute > self.newest {
            return self.place_after(minute);
        }
        if minute <= self.newest - RING_MINUTES as Minute {
            return Placement::TooOld;
        }
        if let (true, Some(running)) = (minute == self.newest, self.running) {
            return if candle.closed {
                Placement::Update
            } else {
                running.place(candle.event_time)
            };
        }
        if !candle.closed {
            return Placement::Stale;
        }
        if minute < self.start {
            return Placement::Prepend;
        }
        place_version(&self.entry(minute), &Entry::of(candle))
    }

    fn place_after(&self, minute: Minute) -> Placement {
        match (minute - self.newest - 1) as usize {
            missing if missing < RING_MINUTES => Placement::Append { missing },
            _ => Placement::Restart,
        }
    }
}

impl Running {
    fn place(self, event_time: Option<i64>) -> Placement {
        match (self.event_time, event_time) {
            (Some(held), Some(given)) if given < held => Placement::Stale,
            _ => Placement::Update,
        }
    }
}

fn place_version(held: &Entry, given: &Entry) -> Placement {
    let becomes_real = held.flags.is_synthetic() && !given.flags.is_synthetic();
    if held.flags.has(Flags::FILLED) || becomes_real {
        Placement::Correct
    } else if held.same_numbers(given) {
        if held.flags.has(Flags::FORCED) { Placement::Confirm } else { Placement::Duplicate }
    } else if given.flags.rank() >= held.flags.rank() {
        Placement::Correct
    } else {
        Placement::Outranked
    }
}
