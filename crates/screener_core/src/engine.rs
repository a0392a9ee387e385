//! All symbols of an exchange, screened together.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, State};
use crate::bar::Given;
use crate::candle::{Candle, Fault, InvalidCandle, validate_symbol};
use crate::rule::RuleSet;
use crate::rule::bindings::NotFollowed;
use crate::screen::crowd::{Arrival, Crowd, SavedCrowd, Seat};
use crate::screen::{Bench, Evaluate, Screen, Stats, Tracked};
use crate::symbol::{Gaps, Symbol};
use crate::time::{MINUTE_MS, TIMEFRAMES, Window};

/// How an engine screens, besides its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When rules are judged.
    pub evaluate: Evaluate,
    /// The exchange's name, part of an alert's id.
    pub exchange: Arc<str>,
    /// How holes between minutes are taken.
    pub gaps: Gaps,
    /// Windows to follow besides the default ones and those rules name.
    pub windows: Vec<Window>,
}

/// Candles in columns: what a frame gives an engine.
pub trait Rows: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The symbols, each once.
    fn symbols(&self) -> &[Arc<str>];

    /// The number of a row's symbol in [`Rows::symbols`].
    fn symbol(&self, row: usize) -> u32;

    /// When a row's candle opens, ms.
    fn open_time(&self, row: usize) -> i64;

    /// When the exchange made a row's version of its candle, ms, where that is given.
    fn event_time(&self, row: usize) -> Option<i64>;

    /// A row's candle, valid.
    fn candle(&self, row: usize) -> Candle;
}

/// The order in which a symbol's rows are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they stand.
    Given,
    /// By the time they could be known: `event_time` where it is given, else the close of the
    /// minute. Rows of one time keep their order.
    Known,
    /// By minute; rows of one minute keep their order.
    Minute,
}

/// Which rows are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// None: they warm up.
    Nothing,
    /// Those that open at this time or later, ms.
    From(i64),
}

impl Judged {
    /// All of them.
    pub const ALL: Self = Self::From(i64::MIN);

    #[inline]
    fn includes(self, candle: &Candle) -> bool {
        self.includes_time(candle.open_time)
    }

    #[inline]
    fn includes_time(self, open_time: i64) -> bool {
        matches!(self, Self::From(start) if open_time >= start)
    }
}

/// An alert that was raised before, to restore cooldowns from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastAlert {
    /// Its symbol.
    pub symbol: Arc<str>,
    /// Its rule.
    pub rule: String,
    /// When it was raised, ms.
    pub triggered_at: i64,
    /// Whether it could still be taken back.
    pub state: State,
}

/// A closed bar older than the minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct PastBar {
    /// Its symbol.
    pub symbol: Arc<str>,
    /// When it opened, ms.
    pub open_time: i64,
    /// Its last price.
    pub close: f64,
}

/// Screens any number of symbols with one set of rules.
#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
    screen: Screen,
    tracked: Vec<Tracked>,
    index: FxHashMap<Arc<str>, usize>,
    crowd: Crowd,
    stats: Stats,
    bench: Bench,
}

impl Engine {
    /// An engine without symbols.
    ///
    /// # Errors
    /// Never for a set of rules: the windows it names are followed.
    pub fn new(config: Config, rules: &RuleSet) -> Result<Self, NotFollowed> {
        let screen = screen(&config, rules)?;
        Ok(Self {
            bench: screen.bench(),
            screen,
            config,
            tracked: Vec::new(),
            index: FxHashMap::default(),
            crowd: Crowd::default(),
            stats: Stats::default(),
        })
    }

    /// How it screens.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its rules.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        self.screen.rules()
    }

    /// The rules against the windows followed.
    #[must_use]
    pub const fn screen(&self) -> &Screen {
        &self.screen
    }

    /// What its candles were counted as.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Its symbols, in no order; those without a candle yet among them.
    #[must_use]
    pub fn tracked(&self) -> &[Tracked] {
        &self.tracked
    }

    /// A symbol that has candles.
    #[must_use]
    pub fn symbol(&mut self, name: &str) -> Option<&mut Symbol> {
        let index = *self.index.get(name)?;
        let tracked = self.tracked.get_mut(index)?;
        tracked.symbol.ring().is_some().then_some(&mut tracked.symbol)
    }

    /// Every symbol that has candles, to read all metrics of.
    pub fn live_symbols(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Symbol)> {
        let live = self.tracked.iter_mut().filter(|tracked| tracked.symbol.ring().is_some());
        live.map(|tracked| (&tracked.name, &mut tracked.symbol))
    }

    /// Whether this engine takes `candle`.
    ///
    /// # Errors
    /// When the candle is not valid, or an open one lacks its time where that is needed.
    #[inline]
    pub fn check(&self, candle: &Candle) -> Result<(), InvalidCandle> {
        candle.validate()?;
        check_event_time(candle, self.config.evaluate)
    }

    /// Takes one candle.
    ///
    /// # Errors
    /// When symbol or candle are not valid; nothing has changed then.
    pub fn update(&mut self, symbol: &str, candle: &Candle) -> Result<Vec<Alert>, InvalidCandle> {
        self.check(candle)?;
        let index = match self.index.get(symbol) {
            Some(index) => *index,
            None => {
                validate_symbol(symbol)?;
                self.track(symbol)
            }
        };
        self.bench.stats = Stats::default();
        if let Some(tracked) = self.tracked.get_mut(index) {
            self.screen.feed(tracked, candle, true, &mut self.bench);
        }
        self.stats += self.bench.stats;
        if self.screen.asks_all() {
            let known_at = candle.event_time.unwrap_or(candle.open_time + MINUTE_MS);
            let minute = candle.minute();
            let arrival = Arrival { place: index, minute, known_at, judged: true };
            let seats = std::mem::take(&mut self.bench.seats);
            let Self { screen, tracked, crowd, bench, .. } = self;
            crowd.take(screen, tracked, arrival, seats, bench);
        }
        let mut alerts = std::mem::take(&mut self.bench.alerts);
        sort_alerts(&mut alerts);
        Ok(alerts)
    }

    /// Judges what rules ask of all symbols of minutes whose time is up at `now`, ms, though no
    /// candle has come since; nothing when no rule does.
    pub fn advance(&mut self, now: i64) -> Vec<Alert> {
        let Self { screen, tracked, crowd, bench, .. } = self;
        crowd.advance(now, screen, tracked, bench);
        let mut alerts = std::mem::take(&mut bench.alerts);
        sort_alerts(&mut alerts);
        alerts
    }

    /// Takes many valid candles, symbols in parallel.
    pub fn update_many(&mut self, rows: &impl Rows, order: Order, judged: Judged) -> Vec<Alert> {
        if self.screen.asks_all() {
            return self.update_crowd(rows, order, judged);
        }
        let plan = Plan::new(self, rows);
        let screen = &self.screen;
        let work: Vec<(&mut Tracked, &[u32])> = plan.parts(&mut self.tracked).collect();
        let done = work
            .into_par_iter()
            .with_min_len(SYMBOLS_PER_TASK)
            .fold(
                || screen.bench(),
                |mut bench, (tracked, part)| {
                    order.walk(rows, part, |candle| {
                        screen.feed(tracked, candle, judged.includes(candle), &mut bench);
                    });
                    bench
                },
            )
            .collect::<Vec<Bench>>();
        let mut alerts = Vec::new();
        for bench in done {
            self.stats += bench.stats;
            alerts.extend(bench.alerts);
        }
        sort_alerts(&mut alerts);
        alerts
    }

    /// The same with rules that ask something of all symbols: piece by piece in the order the rows
    /// could be known, each piece symbol by symbol first, and then minute by minute.
    fn update_crowd(&mut self, rows: &impl Rows, order: Order, judged: Judged) -> Vec<Alert> {
        let sequence = order.sequence(rows);
        let mut alerts = Vec::new();
        for piece in sequence.chunks(ROWS_AT_ONCE) {
            let plan = Plan::of(self, rows, piece);
            let screen = &self.screen;
            let work: Vec<(&mut Tracked, &[u32])> = plan.parts(&mut self.tracked).collect();
            let feed = |mut bench: Bench, (tracked, part): (&mut Tracked, &[u32])| {
                for place in part {
                    let candle = rows.candle(piece[*place as usize] as usize);
                    let known = bench.seats.len();
                    screen.feed(tracked, &candle, judged.includes(&candle), &mut bench);
                    bench.seats[known..].iter_mut().for_each(|seat| seat.row = *place);
                }
                bench
            };
            let done = work.into_par_iter().with_min_len(SYMBOLS_PER_TASK);
            let done: Vec<Bench> = done.fold(|| screen.bench(), feed).collect();
            let mut seats: Vec<Seat> = Vec::new();
            for bench in done {
                self.stats += bench.stats;
                alerts.extend(bench.alerts);
                seats.extend(bench.seats);
            }
            seats.sort_by_key(|seat| seat.row);
            let mut seats = seats.into_iter().peekable();
            for (place, row) in piece.iter().enumerate() {
                let row = *row as usize;
                let candle_time = rows.open_time(row);
                let arrival = Arrival {
                    place: plan.places[rows.symbol(row) as usize],
                    minute: candle_time.div_euclid(MINUTE_MS),
                    known_at: order.known_at(rows, row),
                    judged: judged.includes_time(candle_time),
                };
                let own = std::iter::from_fn(|| seats.next_if(|seat| seat.row as usize == place));
                let Self { screen, tracked, crowd, bench, .. } = self;
                crowd.take(screen, tracked, arrival, own, bench);
            }
            alerts.append(&mut self.bench.alerts);
        }
        sort_alerts(&mut alerts);
        alerts
    }

    /// Takes closed bars of `TIMEFRAMES[timeframe]` that are older than the minutes, each opening
    /// at a multiple of its length.
    pub fn warm_up_bars(&mut self, bars: &[PastBar], timeframe: usize) {
        let Some(length) = TIMEFRAMES.get(timeframe).copied() else { return };
        let mut by_symbol: FxHashMap<&Arc<str>, Vec<(i64, f64)>> = FxHashMap::default();
        for bar in bars {
            let given = (bar.open_time / MINUTE_MS, bar.close);
            by_symbol.entry(&bar.symbol).or_default().push(given);
        }
        for (symbol, mut given) in by_symbol {
            // Of two bars of one time the later row counts, as a correction would.
            given.reverse();
            given.sort_by_key(|(minute, _)| *minute);
            given.dedup_by_key(|(minute, _)| *minute);
            let index = self.track(symbol);
            if let Some(tracked) = self.tracked.get_mut(index) {
                tracked.symbol.give_bars(timeframe, Given::new(length, &given));
            }
        }
    }

    /// Restores cooldowns, and what is provisional, from alerts raised before.
    pub fn restore_alerts(&mut self, alerts: &[PastAlert]) {
        for alert in alerts {
            let index = self.track(&alert.symbol);
            let Some(tracked) = self.tracked.get_mut(index) else { continue };
            tracked.gate.fire(&alert.rule, alert.triggered_at);
            match alert.state {
                State::Provisional => tracked.gate.hold(&alert.rule, alert.triggered_at),
                _ => tracked.gate.release(&alert.rule, alert.triggered_at),
            }
        }
    }

    /// Takes other rules; windows stay warm, and rules of the same name keep their cooldowns.
    ///
    /// # Errors
    /// Never for a set of rules: the windows it names are followed.
    pub fn set_rules(&mut self, rules: &RuleSet) -> Result<(), NotFollowed> {
        let screen = screen(&self.config, rules)?;
        let layout = screen.bindings().layout();
        if layout != self.screen.bindings().layout() {
            let windows = layout.windows();
            self.tracked.par_iter_mut().for_each(|tracked| tracked.symbol.follow(windows));
        }
        self.tracked.par_iter_mut().for_each(|tracked| screen.take_over(tracked));
        self.crowd.adapt(&self.screen, &screen, &self.tracked);
        (self.bench, self.screen) = (screen.bench(), screen);
        Ok(())
    }

    /// Forgets a symbol; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(index) = self.index.remove(name) else { return false };
        self.crowd.remove(index, self.tracked.len() - 1);
        self.tracked.swap_remove(index);
        if let Some(moved) = self.tracked.get(index) {
            self.index.insert(Arc::clone(&moved.name), index);
        }
        true
    }

    /// Sets the metric `market_cap` of a symbol, which need not have candles yet.
    pub fn set_market_cap(&mut self, name: &str, value: Option<f64>) {
        let index = self.track(name);
        if let Some(tracked) = self.tracked.get_mut(index) {
            tracked.symbol.set_market_cap(value);
        }
    }

    /// Brings every symbol up to date with its ring, as reading it would.
    pub(crate) fn refresh(&mut self) {
        self.tracked.par_iter_mut().for_each(|tracked| _ = tracked.symbol.read());
    }

    /// Puts back what was saved.
    pub(crate) fn resume(&mut self, tracked: Vec<Tracked>, stats: Stats) {
        let names = tracked.iter().enumerate();
        self.index = names.map(|(index, tracked)| (Arc::clone(&tracked.name), index)).collect();
        (self.tracked, self.stats) = (tracked, stats);
    }

    /// What waits for all symbols.
    pub(crate) fn save_crowd(&self) -> SavedCrowd {
        self.crowd.save(&self.tracked)
    }

    /// Puts back what waited for all symbols; whether it fits.
    pub(crate) fn resume_crowd(&mut self, saved: SavedCrowd) -> bool {
        let crowd = Crowd::load(saved, &self.screen, |name| self.index.get(name).copied());
        crowd.map(|crowd| self.crowd = crowd).is_some()
    }

    /// Every metric of a symbol and all that rules read besides, in the order of
    /// [`Screen::bindings`]; `None` when it has no candles.
    #[must_use]
    pub fn values(&mut self, name: &str) -> Option<Vec<f64>> {
        let tracked = self.tracked.get_mut(*self.index.get(name)?)?;
        let mut values = self.screen.bindings().row();
        let reading = tracked.symbol.read()?;
        reading.fill(&mut values);
        tracked.past.recall(self.screen.lookback(), reading.ring.newest(), &mut values);
        self.screen.question().answer(&tracked.among, &mut values);
        Some(values)
    }

    /// The place of a symbol, which is followed from now on.
    fn track(&mut self, name: &str) -> usize {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let tracked = self.screen.track(name);
        self.index.insert(Arc::clone(&tracked.name), self.tracked.len());
        self.tracked.push(tracked);
        self.tracked.len() - 1
    }
}

/// Fewer symbols than this are not worth handing to another thread.
const SYMBOLS_PER_TASK: usize = 8;

/// Rows that are screened at once when minutes are judged over all symbols.
const ROWS_AT_ONCE: usize = 1 << 18;

fn screen(config: &Config, rules: &RuleSet) -> Result<Screen, NotFollowed> {
    let exchange = Arc::clone(&config.exchange);
    Screen::new(rules, &config.windows, exchange, config.evaluate, config.gaps)
}

/// Whether an open candle carries the time it needs to be judged.
///
/// # Errors
/// When it does not.
#[inline]
pub fn check_event_time(candle: &Candle, evaluate: Evaluate) -> Result<(), InvalidCandle> {
    if candle.closed || candle.event_time.is_some() || evaluate == Evaluate::Close {
        return Ok(());
    }
    let value = crate::candle::Value::Missing;
    Err(InvalidCandle { field: "event_time", value, fault: Fault::NoEventTime })
}

/// Orders alerts by time, symbol, rule.
pub(crate) fn sort_alerts(alerts: &mut [Alert]) {
    fn key(alert: &Alert) -> (i64, &str, &str) {
        (alert.triggered_at, &alert.symbol, &alert.rule)
    }
    alerts.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// A frame's rows by symbol.
struct Plan {
    /// Row numbers, those of one symbol together, in their order.
    rows: Vec<u32>,
    /// For each symbol of the frame: its place among those tracked.
    places: Vec<usize>,
    /// For each symbol that has rows: its place among those tracked, sorted, and its part of `rows`.
    parts: Vec<(usize, Range<usize>)>,
}

impl Plan {
    /// All rows, by their numbers.
    fn new(engine: &mut Engine, rows: &impl Rows) -> Self {
        let symbols = (0..rows.len()).map(|row| rows.symbol(row));
        Self::grouped(engine, rows, symbols)
    }

    /// Some rows, by their places in `sequence`.
    fn of(engine: &mut Engine, rows: &impl Rows, sequence: &[u32]) -> Self {
        let symbols = sequence.iter().map(|row| rows.symbol(*row as usize));
        Self::grouped(engine, rows, symbols)
    }

    fn grouped(
        engine: &mut Engine,
        rows: &impl Rows,
        symbols: impl Iterator<Item = u32> + Clone,
    ) -> Self {
        let (numbers, ends) = group(rows.symbols().len(), symbols);
        let places = rows.symbols().iter().map(|name| engine.track(name));
        let places: Vec<usize> = places.collect();
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let parts = begins.zip(&ends).map(|(begin, end)| begin..*end);
        let parts = places.iter().copied().zip(parts).filter(|(_, part)| !part.is_empty());
        let mut parts: Vec<(usize, Range<usize>)> = parts.collect();
        parts.sort_unstable_by_key(|(place, _)| *place);
        Self { rows: numbers, places, parts }
    }

    fn parts<'a>(
        &'a self,
        tracked: &'a mut [Tracked],
    ) -> impl Iterator<Item = (&'a mut Tracked, &'a [u32])> {
        let mut parts = self.parts.iter().peekable();
        tracked.iter_mut().enumerate().filter_map(move |(place, tracked)| {
            let (_, part) = parts.next_if(|(next, _)| *next == place)?;
            Some((tracked, &self.rows[part.clone()]))
        })
    }
}

/// Numbers of rows sorted by symbol, in their order otherwise, and where each symbol's end; `symbols`
/// are those of the rows.
pub(crate) fn group(
    count: usize,
    symbols: impl Iterator<Item = u32> + Clone,
) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0; count];
    symbols.clone().for_each(|symbol| ends[symbol as usize] += 1);
    let mut next = 0;
    for end in &mut ends {
        next += std::mem::replace(end, next);
    }
    let mut numbers = vec![0; next];
    for (row, symbol) in symbols.enumerate() {
        let place = &mut ends[symbol as usize];
        numbers[*place] = row as u32;
        *place += 1;
    }
    (numbers, ends)
}

impl Order {
    /// When a row could be known, ms.
    fn known_at(self, rows: &impl Rows, row: usize) -> i64 {
        rows.event_time(row).unwrap_or_else(|| rows.open_time(row) + MINUTE_MS)
    }

    /// What rows are sorted by in this order.
    fn key(self, rows: &impl Rows, row: u32) -> i64 {
        match self {
            Self::Given => 0,
            Self::Known => self.known_at(rows, row as usize),
            Self::Minute => rows.open_time(row as usize),
        }
    }

    /// The numbers of all rows in this order.
    fn sequence(self, rows: &impl Rows) -> Vec<u32> {
        let mut sequence: Vec<u32> = (0..rows.len() as u32).collect();
        sequence.sort_by_key(|row| self.key(rows, *row));
        sequence
    }

    /// Calls `take` with the candles of `part` in this order.
    #[inline]
    pub fn walk(self, rows: &impl Rows, part: &[u32], mut take: impl FnMut(&Candle)) {
        let key = |row: &u32| self.key(rows, *row);
        if self == Self::Given || part.is_sorted_by_key(key) {
            part.iter().for_each(|row| take(&rows.candle(*row as usize)));
            return;
        }
        let mut sorted = part.to_vec();
        sorted.sort_by_key(key);
        sorted.iter().for_each(|row| take(&rows.candle(*row as usize)));
    }
}
