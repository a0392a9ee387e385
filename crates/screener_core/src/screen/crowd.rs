//! Rules that ask something of all symbols: a minute is judged once, when every symbol that is
//! followed has closed it, or [`GRACE_MS`] after its end.
//!
//! What is known by when is told by the candles themselves (`event_time`, else the close of the
//! minute), so that the same candles give the same alerts in whatever order symbols arrive.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::judge::{Judging, Moment};
use super::{Bench, Screen, Tracked};
use crate::alert::Members;
use crate::metrics::{Metric, Slot, Windowed};
use crate::rule::RuleSet;
use crate::rule::bindings::{Bindings, NotFollowed};
use crate::rule::compile::{Code, Program};
use crate::rule::term::{Among, Term};
use crate::time::{MINUTE_MS, Minute, close_time, in_range};

/// So long after a minute's end it is judged without those that have not closed it, ms.
pub const GRACE_MS: i64 = 5_000;

/// Newest minutes that are kept while warming up, to know since when rules hold.
const WARM_MINUTES: usize = 120;

/// What the rules ask of all symbols, and what of a symbol's row has to be kept until it is judged.
#[derive(Clone, Debug)]
pub struct Question {
    asked: Vec<Asked>,
    kept: Vec<(Term, Slot)>,
}

#[derive(Clone, Debug)]
struct Asked {
    among: Arc<Among>,
    slot: Slot,
    value: Argument,
    reach: i64,
}

#[derive(Clone, Debug)]
enum Argument {
    Number(Code),
    Condition(Program),
}

/// A symbol's minute that has closed, waiting for the others.
#[derive(Clone, Debug)]
pub struct Seat {
    minute: Minute,
    moment: Moment,
    values: Box<[f64]>,
    /// The row of the batch it comes from.
    pub row: u32,
}

impl Seat {
    pub(super) const fn new(minute: Minute, moment: Moment, values: Box<[f64]>) -> Self {
        Self { minute, moment, values, row: 0 }
    }
}

impl Question {
    pub(super) fn new(bindings: &Bindings, rules: &RuleSet) -> Result<Self, NotFollowed> {
        let mut kept: Vec<Term> = Vec::new();
        let mut keep = |term: &Term| {
            if !term.is_among() && !kept.contains(term) {
                kept.push(term.clone());
            }
        };
        let variants = rules.rules().iter().flat_map(crate::rule::Rule::variants);
        for rule in variants.filter(|rule| rule.is_among(rules.floors())) {
            rule.visit_all_terms(rules.floors(), &mut |term| match term {
                Term::Among(among) => {
                    among.argument().visit_terms(&mut |inner, _| keep(inner));
                }
                other => keep(other),
            });
            for told in [Windowed::QuoteVolume, Windowed::Change, Windowed::Vcp] {
                keep(&Term::Now(Metric::Windowed(told, rule.timeframe)));
            }
        }
        let asked = bindings.among().iter().map(|among| Asked::new(among, bindings));
        let kept = kept.into_iter().map(|term| {
            let slot = bindings.slot(&term)?;
            Ok((term, slot))
        });
        Ok(Self { asked: asked.collect::<Result<_, _>>()?, kept: kept.collect::<Result<_, _>>()? })
    }

    pub(super) fn keep(&self, values: &[f64]) -> Box<[f64]> {
        self.kept.iter().map(|(_, slot)| slot.of(values)).collect()
    }

    fn put(&self, kept: &[f64], values: &mut [f64]) {
        self.kept.iter().zip(kept).for_each(|((_, slot), value)| slot.put(*value, values));
    }

    /// Puts a symbol's answers where rules look for them.
    pub fn answer(&self, answers: &[f64], values: &mut [f64]) {
        self.asked.iter().zip(answers).for_each(|(asked, value)| asked.slot.put(*value, values));
    }

    /// The answers of each of `seats`, whose symbols have these names; `NaN` where there is none.
    fn ask(&self, seats: &[Seated], tracked: &[Tracked], bench: &mut Bench) -> Vec<Vec<f64>> {
        let mut answers = vec![Vec::with_capacity(self.asked.len()); seats.len()];
        for asked in &self.asked {
            let values = seats.iter().map(|seated| {
                self.put(&seated.seat.values, &mut bench.values);
                asked.value(&bench.values, seated.seat.moment.settled)
            });
            let values: Vec<f64> = values.collect();
            let named = |symbol: &str| {
                let is_it = |seated: &Seated| {
                    tracked.get(seated.place).is_some_and(|tracked| *tracked.name == *symbol)
                };
                seats.iter().position(is_it).map_or(f64::NAN, |place| values[place])
            };
            let told = compare(&asked.among, &values, named);
            answers.iter_mut().zip(told).for_each(|(answers, value)| answers.push(value));
        }
        answers
    }

    /// What was kept under another question, as this one asks for it.
    fn adapt(&self, other: &Self, kept: &[f64]) -> Box<[f64]> {
        let find = |term: &Term| other.kept.iter().position(|(known, _)| known == term);
        let value = |term: &Term| find(term).and_then(|place| kept.get(place)).copied();
        self.kept.iter().map(|(term, _)| value(term).unwrap_or(f64::NAN)).collect()
    }
}

impl Asked {
    fn new(among: &Arc<Among>, bindings: &Bindings) -> Result<Self, NotFollowed> {
        let argument = among.argument();
        let mut reach = 0;
        argument.visit_terms(&mut |term, _| reach = term.reach().max(reach));
        let value = if argument.is_condition() {
            Argument::Condition(Program::compile([argument], bindings)?)
        } else {
            Argument::Number(Code::compile(argument, bindings)?)
        };
        let slot = bindings.slot(&Term::Among(Arc::clone(among)))?;
        Ok(Self { among: Arc::clone(among), slot, value, reach })
    }

    /// What is asked, of one symbol; `NaN` when it cannot be said.
    fn value(&self, values: &[f64], settled: i64) -> f64 {
        if settled < self.reach {
            return f64::NAN;
        }
        match &self.value {
            Argument::Number(code) => code.run(values).unwrap_or(f64::NAN),
            Argument::Condition(program) if program.is_known(values, settled) => {
                f64::from(u8::from(program.holds(values, settled)))
            }
            Argument::Condition(_) => f64::NAN,
        }
    }
}

/// What is told of each of `values`, of which those that are `NaN` take no part.
fn compare(among: &Among, values: &[f64], named: impl Fn(&str) -> f64) -> Vec<f64> {
    let known = values.iter().copied().filter(|value| !value.is_nan());
    let each = |tell: &dyn Fn(f64) -> f64| {
        let told = |value: &f64| if value.is_nan() { f64::NAN } else { tell(*value) };
        values.iter().map(told).collect()
    };
    match among {
        Among::Rank(_) => {
            let sorted = sorted(known);
            each(&|value| {
                (sorted.len() - sorted.partition_point(|other| *other <= value) + 1) as f64
            })
        }
        Among::PctRank(_) => {
            let sorted = sorted(known);
            let others = sorted.len().saturating_sub(1) as f64;
            // Alone, a symbol has no place among others: 0 / 0 is not ready.
            each(&|value| sorted.partition_point(|other| *other < value) as f64 / others)
        }
        Among::Breadth(_) => {
            let (count, sum) = known.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
            vec![sum / count; values.len()]
        }
        Among::Versus(symbol, _) => {
            let other = named(symbol);
            each(&|value| value - other)
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// A candle that arrives, as far as the others are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The place of its symbol among those tracked.
    pub place: usize,
    /// Its minute.
    pub minute: Minute,
    /// When it could be known, ms.
    pub known_at: i64,
    /// Whether it is judged, or warms up.
    pub judged: bool,
}

/// The minutes that wait for all symbols.
#[derive(Clone, Debug, Default)]
pub struct Crowd {
    /// For each symbol tracked: the first minute it came with, and the newest it has closed.
    roster: Vec<Option<Joined>>,
    waiting: BTreeMap<Minute, Vec<Seated>>,
    /// The newest minute that has been judged.
    judged: Minute,
    clock: i64,
    /// How many symbols have not closed the oldest waiting minute, once that has been counted.
    missing: Option<(Minute, usize)>,
    /// The newest minute a symbol came with: more may come with it, so that it waits.
    joined: Minute,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Joined {
    first: Minute,
    closed: Minute,
}

#[derive(Clone, Debug)]
struct Seated {
    place: usize,
    seat: Seat,
}

impl Crowd {
    /// Takes a candle that has been fed, with the minutes it has closed; judges what is complete,
    /// or has waited long enough.
    pub fn take(
        &mut self,
        screen: &Screen,
        tracked: &mut [Tracked],
        arrival: Arrival,
        seats: impl IntoIterator<Item = Seat>,
        bench: &mut Bench,
    ) {
        let Arrival { place, minute, known_at, judged } = arrival;
        self.clock = self.clock.max(known_at);
        if judged {
            self.judge_due(screen, tracked, bench);
        }
        self.join(place, minute);
        for seat in seats {
            self.seat(place, seat);
        }
        if judged {
            while let Some(minute) = self.complete_minute() {
                self.judge(minute, screen, tracked, bench);
            }
        } else {
            while self.waiting.len() > WARM_MINUTES {
                self.waiting.pop_first();
            }
        }
    }

    /// Judges what has waited long enough at `now`, ms.
    pub fn advance(
        &mut self,
        now: i64,
        screen: &Screen,
        tracked: &mut [Tracked],
        bench: &mut Bench,
    ) {
        self.clock = self.clock.max(now);
        self.judge_due(screen, tracked, bench);
    }

    fn judge_due(&mut self, screen: &Screen, tracked: &mut [Tracked], bench: &mut Bench) {
        while let Some(minute) = self.waiting.first_key_value().map(|(minute, _)| *minute)
            && close_time(minute) + GRACE_MS <= self.clock
        {
            self.judge(minute, screen, tracked, bench);
        }
    }

    fn join(&mut self, place: usize, minute: Minute) {
        if self.roster.len() <= place {
            self.roster.resize(place + 1, None);
        }
        if let Some(joined @ None) = self.roster.get_mut(place) {
            *joined = Some(Joined { first: minute, closed: Minute::MIN });
            self.joined = self.joined.max(minute);
            self.missing = None;
        }
    }

    fn seat(&mut self, place: usize, seat: Seat) {
        let minute = seat.minute;
        if let Some(Some(joined)) = self.roster.get_mut(place) {
            if let Some((oldest, missing)) = &mut self.missing
                && joined.closed < *oldest
                && minute >= *oldest
                && joined.first <= *oldest
            {
                *missing = missing.saturating_sub(1);
            }
            joined.closed = joined.closed.max(minute);
        }
        let is_late = !seat.moment.silent && close_time(minute) + GRACE_MS <= self.clock;
        if minute <= self.judged || is_late {
            return;
        }
        let seats = self.waiting.entry(minute).or_default();
        match seats.iter_mut().find(|other| other.place == place) {
            Some(other) => other.seat = seat,
            None => seats.push(Seated { place, seat }),
        }
    }

    /// The oldest waiting minute, if every symbol has closed it.
    fn complete_minute(&mut self) -> Option<Minute> {
        let (oldest, _) = self.waiting.first_key_value()?;
        let oldest = *oldest;
        if self.joined >= oldest {
            return None;
        }
        let missing = match self.missing {
            Some((minute, missing)) if minute == oldest => missing,
            _ => self.joined_by(oldest).filter(|(_, joined)| joined.closed < oldest).count(),
        };
        self.missing = Some((oldest, missing));
        (missing == 0).then_some(oldest)
    }

    /// Symbols that have been followed since `minute` or longer.
    fn joined_by(&self, minute: Minute) -> impl Iterator<Item = (usize, Joined)> + '_ {
        let joined = self.roster.iter().enumerate();
        joined
            .filter_map(|(place, joined)| joined.map(|joined| (place, joined)))
            .filter(move |(_, joined)| joined.first <= minute)
    }

    fn judge(
        &mut self,
        minute: Minute,
        screen: &Screen,
        tracked: &mut [Tracked],
        bench: &mut Bench,
    ) {
        let Some(seats) = self.waiting.remove(&minute) else { return };
        self.judged = minute;
        let answers = screen.question.ask(&seats, tracked, bench);
        let members = Arc::new(self.members(minute, &seats, tracked));
        for (seated, answers) in seats.iter().zip(answers) {
            let Some(tracked) = tracked.get_mut(seated.place) else { continue };
            tracked.among = answers;
            screen.question.put(&seated.seat.values, &mut bench.values);
            let (mut judging, _) = Judging::of(screen, tracked);
            judging.judge_among(seated.seat.moment, &members, bench);
        }
    }

    fn members(&self, minute: Minute, seats: &[Seated], tracked: &[Tracked]) -> Members {
        let mut seated = vec![false; self.roster.len()];
        for seat in seats {
            if let Some(seated) = seated.get_mut(seat.place) {
                *seated = true;
            }
        }
        let absent = self.joined_by(minute).filter(|(place, _)| !seated[*place]);
        let names = absent.filter_map(|(place, _)| tracked.get(place));
        let mut absent: Vec<Arc<str>> = names.map(|tracked| Arc::clone(&tracked.name)).collect();
        absent.sort_unstable();
        Members { count: seats.len(), absent }
    }

    /// A symbol leaves, and the last of those tracked takes its place.
    pub fn remove(&mut self, place: usize, last: usize) {
        self.roster.resize(last + 1, None);
        self.roster.swap_remove(place);
        for seats in self.waiting.values_mut() {
            seats.retain(|seated| seated.place != place);
            for seated in seats.iter_mut().filter(|seated| seated.place == last) {
                seated.place = place;
            }
        }
        self.waiting.retain(|_, seats| !seats.is_empty());
        self.missing = None;
    }

    /// Other rules ask something else of the minutes that wait.
    pub fn adapt(&mut self, old: &Screen, new: &Screen, tracked: &[Tracked]) {
        if !new.asks_all() {
            *self = Self::default();
            return;
        }
        for (place, tracked) in tracked.iter().enumerate().filter(|_| !old.asks_all()) {
            if let Some(ring) = tracked.symbol.ring() {
                self.join(place, ring.oldest());
            }
        }
        for seated in self.waiting.values_mut().flatten() {
            seated.seat.values = new.question.adapt(&old.question, &seated.seat.values);
        }
    }
}

/// A crowd as it is saved, its symbols by name.
#[derive(Serialize, Deserialize)]
pub struct SavedCrowd {
    judged: Minute,
    clock: i64,
    roster: Vec<(String, Joined)>,
    waiting: Vec<(Minute, Vec<SavedSeat>)>,
}

#[derive(Serialize, Deserialize)]
struct SavedSeat {
    symbol: String,
    moment: Moment,
    values: Vec<f64>,
}

impl Crowd {
    /// What has to be saved.
    #[must_use]
    pub fn save(&self, tracked: &[Tracked]) -> SavedCrowd {
        let name = |place: usize| tracked.get(place).map(|tracked| tracked.name.to_string());
        let roster = self.joined_by(Minute::MAX);
        let mut roster: Vec<(String, Joined)> =
            roster.filter_map(|(place, joined)| Some((name(place)?, joined))).collect();
        roster.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let seat = |seated: &Seated| {
            let (moment, values) = (seated.seat.moment, seated.seat.values.to_vec());
            Some(SavedSeat { symbol: name(seated.place)?, moment, values })
        };
        let seats = |seats: &Vec<Seated>| seats.iter().filter_map(seat).collect();
        SavedCrowd {
            judged: self.judged,
            clock: self.clock,
            roster,
            waiting: self.waiting.iter().map(|(minute, all)| (*minute, seats(all))).collect(),
        }
    }

    /// The crowd that was saved; `None` when it does not fit.
    #[must_use]
    pub fn load(
        saved: SavedCrowd,
        screen: &Screen,
        place: impl Fn(&str) -> Option<usize>,
    ) -> Option<Self> {
        let minutes = saved.waiting.iter().map(|(minute, _)| *minute).chain([saved.judged]);
        let is_possible =
            |minute: Minute| minute == 0 || minute.checked_mul(MINUTE_MS).is_some_and(in_range);
        if !minutes.into_iter().all(is_possible) {
            return None;
        }
        let mut crowd = Self { judged: saved.judged, clock: saved.clock, ..Self::default() };
        for (name, joined) in saved.roster {
            let place = place(&name)?;
            crowd.join(place, joined.first);
            *crowd.roster.get_mut(place)? = Some(joined);
        }
        for (minute, seats) in saved.waiting {
            for SavedSeat { symbol, moment, values } in seats {
                if values.len() != screen.question.kept.len() {
                    return None;
                }
                let seat = Seat::new(minute, moment, values.into());
                let seated = Seated { place: place(&symbol)?, seat };
                crowd.waiting.entry(minute).or_default().push(seated);
            }
        }
        Some(crowd)
    }
}
