//! The newest 1440 minutes of a symbol, contiguous by construction.
//!
//! The ring stores; [`Ring::place`] decides what an arriving candle means for it (SPEC 2) without
//! changing anything, so that every case can be tested as a value.

mod entry;
mod place;
mod saved;

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Source};
use crate::time::{self, Minute, RING_MINUTES};

pub use entry::{Entry, Flags, Row, SUMMED};
pub use place::Placement;
pub use saved::SavedRing;

/// Slots of a ring: its 1440 minutes and the one that left last, so that the running minute can be
/// set aside and the minute before it looked at with all that its windows cover.
pub(crate) const SLOTS: usize = RING_MINUTES + 1;

/// The running minute's state, while its candle is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// When the exchange made the version that is there.
    pub event_time: Option<i64>,
}

/// The newest minute that carries a mark, for each mark windows ask about.
///
/// A window of `W` minutes that ends with minute `t` is free of a mark when `t - newest >= W`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Newest pending minute.
    pub pending: Minute,
    /// Newest minute whose trades are unknown.
    pub no_trades: Minute,
    /// Newest minute whose taker quote volume is unknown.
    pub no_taker_quote: Minute,
}

impl Marks {
    const NONE: Self = Self {
        pending: Minute::MIN / 2,
        no_trades: Minute::MIN / 2,
        no_taker_quote: Minute::MIN / 2,
    };

    #[inline]
    fn see(&mut self, minute: Minute, flags: Flags) {
        if flags.has(Flags::PENDING) {
            self.pending = self.pending.max(minute);
        }
        if flags.has(Flags::NO_TRADES) {
            self.no_trades = self.no_trades.max(minute);
        }
        if flags.has(Flags::NO_TAKER_QUOTE) {
            self.no_taker_quote = self.no_taker_quote.max(minute);
        }
    }
}

/// The newest minutes of a symbol.
///
/// A minute lies at a fixed slot; slots of minutes before the first one are zero, so a window that
/// reaches back before it sums nothing there.
#[derive(Clone, Debug)]
pub struct Ring {
    rows: Box<[Row; SLOTS]>,
    taker_buy_volume: Box<[f64; SLOTS]>,
    flags: Box<[Flags; SLOTS]>,
    start: Minute,
    newest: Minute,
    newest_slot: usize,
    running: Option<Running>,
    /// Marks of all minutes before the newest.
    marks: Marks,
}

impl Ring {
    /// A ring that starts with `entry` at `minute`.
    #[must_use]
    pub fn new(minute: Minute, entry: &Entry, running: Option<Running>) -> Self {
        let mut ring = Self {
            rows: Box::new([Row::default(); SLOTS]),
            taker_buy_volume: Box::new([0.0; SLOTS]),
            flags: Box::new([Flags::default(); SLOTS]),
            start: minute,
            newest: minute,
            newest_slot: slot_of(minute),
            running,
            marks: Marks::NONE,
        };
        ring.write(ring.newest_slot, entry);
        ring
    }

    /// The newest minute, `t`.
    #[inline]
    #[must_use]
    pub const fn newest(&self) -> Minute {
        self.newest
    }

    /// The first minute the symbol has been followed since it last started (it may have left the
    /// ring).
    #[inline]
    #[must_use]
    pub const fn start(&self) -> Minute {
        self.start
    }

    /// The oldest minute the ring holds.
    #[must_use]
    pub fn oldest(&self) -> Minute {
        self.start.max(self.newest - RING_MINUTES as Minute + 1)
    }

    /// Minutes followed since the start, the filled ones counted.
    #[inline]
    #[must_use]
    pub const fn followed(&self) -> Minute {
        self.newest - self.start + 1
    }

    /// Minutes in the ring.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.newest - self.oldest() + 1) as usize
    }

    /// Never true: a ring begins with a candle.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The running minute's state, when the newest candle is open.
    #[inline]
    #[must_use]
    pub const fn running(&self) -> Option<Running> {
        self.running
    }

    /// The slot of the minute `age <= 1440` before the newest.
    #[inline]
    pub(crate) const fn slot_back(&self, age: usize) -> usize {
        slot_before(self.newest_slot, age)
    }

    /// The row in a slot.
    #[inline]
    pub(crate) fn row(&self, slot: usize) -> &Row {
        &self.rows[slot]
    }

    /// The newest minute's row.
    #[inline]
    #[must_use]
    pub fn newest_row(&self) -> &Row {
        &self.rows[self.newest_slot]
    }

    /// The flags in a slot.
    #[inline]
    pub(crate) fn flags(&self, slot: usize) -> Flags {
        self.flags[slot]
    }

    /// The newest minute's flags.
    #[inline]
    #[must_use]
    pub fn newest_flags(&self) -> Flags {
        self.flags[self.newest_slot]
    }

    /// The whole of a minute the ring holds.
    #[must_use]
    pub fn entry(&self, minute: Minute) -> Entry {
        let slot = slot_of(minute);
        Entry {
            row: self.rows[slot],
            taker_buy_volume: self.taker_buy_volume[slot],
            flags: self.flags[slot],
        }
    }

    /// The newest minute that carries each mark, the newest included.
    #[inline]
    #[must_use]
    pub fn marks(&self) -> Marks {
        let mut marks = self.marks;
        marks.see(self.newest, self.newest_flags());
        marks
    }

    /// Makes `entry` the minute after the newest; the oldest leaves a full ring.
    #[inline]
    pub fn append(&mut self, entry: &Entry, running: Option<Running>) {
        self.marks = self.marks();
        self.newest_slot = if self.newest_slot + 1 == SLOTS { 0 } else { self.newest_slot + 1 };
        self.newest += 1;
        self.running = running;
        self.write(self.newest_slot, entry);
    }

    /// Replaces the newest minute by another version of it.
    pub fn replace_newest(&mut self, entry: &Entry, running: Option<Running>) {
        self.running = running;
        self.write(self.newest_slot, entry);
    }

    /// Counts the running minute as closed with what is known of it.
    pub fn close_by_force(&mut self) {
        if self.running.take().is_some() {
            self.flags[self.newest_slot].set(Flags::FORCED, true);
        }
    }

    /// Confirms a minute that was closed by force, as its closed version was the same. A synthetic
    /// one does not make it less real than it was.
    pub fn confirm(&mut self, minute: Minute, source: Source) {
        let flags = &mut self.flags[slot_of(minute)];
        let source = if source == Source::Synthetic { flags.source() } else { source };
        flags.set(Flags::FORCED, false);
        *flags = flags.with_source(source);
    }

    /// Replaces a minute the ring holds; filled minutes behind it follow its close.
    pub fn correct(&mut self, minute: Minute, entry: &Entry) {
        self.write(slot_of(minute), entry);
        self.level_fills(minute + 1, entry.row.close);
        self.recount_marks();
    }

    /// Moves the start back to `minute`; the minutes between are filled at its close.
    pub fn prepend(&mut self, minute: Minute, entry: &Entry, pending: bool) {
        self.write(slot_of(minute), entry);
        let fill = Entry::fill(entry.row.close, pending);
        for between in minute + 1..self.start {
            self.write(slot_of(between), &fill);
        }
        self.start = minute;
        self.recount_marks();
    }

    /// Takes the running minute out, to look at the ring as it was when the minute before closed.
    pub fn set_running_aside(&mut self) -> Option<(Entry, Running)> {
        let running = self.running.filter(|_| self.newest > self.start)?;
        let entry = self.entry(self.newest);
        self.running = None;
        self.newest -= 1;
        self.newest_slot = slot_of(self.newest);
        self.recount_marks();
        Some((entry, running))
    }

    #[inline]
    fn write(&mut self, slot: usize, entry: &Entry) {
        self.rows[slot] = entry.row;
        self.taker_buy_volume[slot] = entry.taker_buy_volume;
        self.flags[slot] = entry.flags;
    }

    fn level_fills(&mut self, from: Minute, price: f64) {
        for minute in from..=self.newest {
            let slot = slot_of(minute);
            if !self.flags[slot].has(Flags::FILLED) {
                return;
            }
            self.rows[slot] = Row::flat(price);
        }
    }

    fn recount_marks(&mut self) {
        let mut marks = Marks::NONE;
        for minute in self.oldest()..self.newest {
            marks.see(minute, self.flags[slot_of(minute)]);
        }
        self.marks = marks;
    }
}

/// The slot of a minute.
#[inline]
pub(crate) const fn slot_of(minute: Minute) -> usize {
    minute.rem_euclid(SLOTS as Minute) as usize
}

/// The slot `age <= 1440` minutes before `slot`.
#[inline]
pub(crate) const fn slot_before(slot: usize, age: usize) -> usize {
    if slot >= age { slot - age } else { slot + SLOTS - age }
}

/// A minute of a ring as a candle, with what the ring knows about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldCandle {
    /// The candle.
    pub candle: Candle,
    /// Whether the minute is filled or absent at its source.
    pub synthetic: bool,
    /// Whether it is filled and a real candle may still come.
    pub pending: bool,
}

impl Ring {
    /// The newest `count` minutes, oldest first.
    pub fn candles(&self, count: usize) -> impl Iterator<Item = HeldCandle> + '_ {
        let count = count.min(self.len()) as Minute;
        (self.newest - count + 1..=self.newest).map(|minute| self.candle(minute))
    }

    fn candle(&self, minute: Minute) -> HeldCandle {
        let Entry { row, taker_buy_volume, flags } = self.entry(minute);
        let [volume, quote_volume, trades, taker_buy_quote_volume] = row.amounts;
        let unless = |unknown: Flags, value: f64| (!flags.has(unknown)).then_some(value);
        let running = self.running.filter(|_| minute == self.newest);
        let candle = Candle {
            open_time: time::open_time(minute),
            open: row.open,
            high: row.high,
            low: row.low,
            close: row.close,
            volume,
            quote_volume,
            trades: unless(Flags::NO_TRADES, trades),
            taker_buy_volume: unless(Flags::NO_TAKER, taker_buy_volume),
            taker_buy_quote_volume: unless(Flags::NO_TAKER_QUOTE, taker_buy_quote_volume),
            closed: running.is_none(),
            event_time: running.and_then(|running| running.event_time),
            source: flags.source(),
        };
        HeldCandle { candle, synthetic: flags.is_synthetic(), pending: flags.has(Flags::PENDING) }
    }
}
