//! The newest 1440 minutes of a symbol, contiguous by construction.
//!
//! The ring stores; [`Ring::place`] decides what an arriving candle means for it (SPEC 2) without
//! changing anything, so that every case can be tested as a value.

use serde::{Deserialize, Serialize};

use crate::candle::{Candle, Source};
use crate::time::{self, Minute, RING_MINUTES};

/// Slots of a ring: its 1440 minutes and the one that left last, so that the running minute can be
/// set aside and the minute before it looked at with all that its windows cover.
const SLOTS: usize = RING_MINUTES + 1;

/// How many amounts of a row are summed over windows.
pub const SUMMED: usize = 4;

/// The numbers of one minute that windows read, in one cache line.
///
/// `amounts` are volume, quote volume, trades and taker buy quote volume; an unknown one is 0 here
/// and marked in the minute's [`Flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[repr(C, align(64))]
pub struct Row {
    /// `[volume, quote_volume, trades, taker_buy_quote_volume]`.
    pub amounts: [f64; SUMMED],
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
}

impl Row {
    /// A minute in which nothing was traded at `price`.
    #[must_use]
    pub const fn flat(price: f64) -> Self {
        Self { amounts: [0.0; SUMMED], open: price, high: price, low: price, close: price }
    }
}

/// What is known about a minute besides its numbers, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(u8);

impl Flags {
    const SOURCE: u8 = 0b11;
    /// Made by the ring to keep minutes contiguous; no candle was given.
    pub const FILLED: Self = Self(1 << 2);
    /// Filled, and a real candle may still come.
    pub const PENDING: Self = Self(1 << 3);
    /// Closed by the next minute's arrival; its own closed version may still come.
    pub const FORCED: Self = Self(1 << 4);
    /// The number of trades is unknown.
    pub const NO_TRADES: Self = Self(1 << 5);
    /// The base volume bought by takers is unknown.
    pub const NO_TAKER: Self = Self(1 << 6);
    /// The quote volume bought by takers is unknown.
    pub const NO_TAKER_QUOTE: Self = Self(1 << 7);

    fn of(candle: &Candle) -> Self {
        let mut flags = Self(candle.source as u8);
        flags.set(Self::NO_TRADES, candle.trades.is_none());
        flags.set(Self::NO_TAKER, candle.taker_buy_volume.is_none());
        flags.set(Self::NO_TAKER_QUOTE, candle.taker_buy_quote_volume.is_none());
        flags
    }

    fn fill(pending: bool) -> Self {
        let mut flags = Self::FILLED;
        flags.set(Self::PENDING, pending);
        flags
    }

    /// Whether any of `bits` is set.
    #[inline]
    #[must_use]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }

    /// Sets or clears `bits`.
    #[inline]
    pub const fn set(&mut self, bits: Self, on: bool) {
        self.0 = if on { self.0 | bits.0 } else { self.0 & !bits.0 };
    }

    /// The source the minute's candle came from.
    #[must_use]
    pub const fn source(self) -> Source {
        Source::ALL[(self.0 & Self::SOURCE) as usize]
    }

    /// Whether the minute was filled, or its candle said that the source has none.
    #[inline]
    #[must_use]
    pub const fn is_synthetic(self) -> bool {
        self.has(Self::FILLED) || matches!(self.source(), Source::Synthetic)
    }

    /// How much the minute is trusted: what was not given as a closed candle gives way to any.
    const fn rank(self) -> i8 {
        if self.has(Self::FILLED) || self.has(Self::FORCED) { -1 } else { self.source() as i8 }
    }

    /// The optional amounts that are unknown, and whether it was filled.
    const fn knowledge(self) -> u8 {
        self.0 & (Self::NO_TRADES.0 | Self::NO_TAKER.0 | Self::NO_TAKER_QUOTE.0)
    }
}

/// One minute, whole: a row, the amount that no window reads, and its flags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The numbers windows read.
    pub row: Row,
    /// Base volume bought by takers, 0 when unknown.
    pub taker_buy_volume: f64,
    /// What is known about it.
    pub flags: Flags,
}

impl Entry {
    /// The minute as `candle` tells it.
    #[must_use]
    pub fn of(candle: &Candle) -> Self {
        let known = |value: Option<f64>| value.unwrap_or(0.0);
        let amounts = [
            candle.volume,
            candle.quote_volume,
            known(candle.trades),
            known(candle.taker_buy_quote_volume),
        ];
        let Candle { open, high, low, close, .. } = *candle;
        Self {
            row: Row { amounts, open, high, low, close },
            taker_buy_volume: known(candle.taker_buy_volume),
            flags: Flags::of(candle),
        }
    }

    /// A filled minute at `price`.
    #[must_use]
    pub fn fill(price: f64, pending: bool) -> Self {
        Self { row: Row::flat(price), taker_buy_volume: 0.0, flags: Flags::fill(pending) }
    }

    /// Whether both tell the same numbers, wherever they came from.
    fn same_numbers(&self, other: &Self) -> bool {
        self.row == other.row
            && self.taker_buy_volume == other.taker_buy_volume
            && self.flags.knowledge() == other.flags.knowledge()
    }
}

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
    rows: Box<[Row]>,
    taker_buy_volume: Box<[f64]>,
    flags: Box<[Flags]>,
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
            rows: vec![Row::default(); SLOTS].into_boxed_slice(),
            taker_buy_volume: vec![0.0; SLOTS].into_boxed_slice(),
            flags: vec![Flags::default(); SLOTS].into_boxed_slice(),
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
        flags.0 = (flags.0 & !Flags::SOURCE) | source as u8;
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
