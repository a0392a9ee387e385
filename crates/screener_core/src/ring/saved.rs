//! A ring as it is saved, and checked when it is loaded.

use serde::{Deserialize, Serialize};

use super::{Entry, Flags, Ring, Row, Running};
use crate::time::{self, Minute, RING_MINUTES};

/// A ring as it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRing {
    start: Minute,
    newest: Minute,
    running: Option<Running>,
    /// The minutes held, oldest first, with the one that left last.
    entries: Vec<(Row, f64, Flags)>,
}

impl Ring {
    /// What has to be saved.
    #[must_use]
    pub fn save(&self) -> SavedRing {
        let oldest = self.start.max(self.newest - RING_MINUTES as Minute);
        let entries = (oldest..=self.newest).map(|minute| {
            let Entry { row, taker_buy_volume, flags } = self.entry(minute);
            (row, taker_buy_volume, flags)
        });
        SavedRing {
            start: self.start,
            newest: self.newest,
            running: self.running,
            entries: entries.collect(),
        }
    }

    /// The ring that was saved; `None` when it cannot be one.
    #[must_use]
    pub fn load(saved: SavedRing) -> Option<Self> {
        let SavedRing { start, newest, running, entries } = saved;
        let known =
            |minute: Minute| minute.checked_mul(time::MINUTE_MS).is_some_and(time::in_range);
        let held = usize::try_from(newest.checked_sub(start)?).ok()?.min(RING_MINUTES) + 1;
        if !known(start) || !known(newest) || entries.len() != held {
            return None;
        }
        let entries = entries.into_iter();
        let mut entries =
            entries.map(|(row, taker_buy_volume, flags)| Entry { row, taker_buy_volume, flags });
        let oldest = newest - held as Minute + 1;
        let mut ring = Self::new(oldest, &entries.next()?, None);
        entries.for_each(|entry| ring.append(&entry, None));
        ring.start = start;
        ring.running = running;
        ring.recount_marks();
        (oldest..=newest).all(|minute| ring.is_plausible(minute)).then_some(ring)
    }

    fn is_plausible(&self, minute: Minute) -> bool {
        let Entry { row, taker_buy_volume, flags } = self.entry(minute);
        let zero_if = |unknown: Flags, amount: f64| !flags.has(unknown) || amount == 0.0;
        self.candle(minute).candle.validate().is_ok()
            && zero_if(Flags::NO_TRADES, row.amounts[2])
            && zero_if(Flags::NO_TAKER, taker_buy_volume)
            && zero_if(Flags::NO_TAKER_QUOTE, row.amounts[3])
            && (flags.has(Flags::FILLED) || !flags.has(Flags::PENDING))
    }
}
