//! The rules of one symbol, judged at one moment.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::crowd::Seat;
use super::{Bench, JudgedRule, Own, Screen, Tracked};
use crate::alert::{Alert, Members, State, alert_id};
use crate::gate::{Gate, Seen};
use crate::metrics::Slot;
use crate::past::Past;
use crate::rule::manner::{Manner, Trigger};
use crate::symbol::Symbol;
use crate::time::close_time;

/// What kind of moment rules are judged at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Whether what is provisional is to be confirmed or withdrawn.
    settles: bool,
    /// Whether new alerts may be raised.
    raises: bool,
    /// Time of the update, when the minute is still running.
    running: Option<i64>,
    /// Whether it is only remembered what holds: nothing is raised while warming up.
    silent: bool,
}

impl Verdict {
    /// The newest minute has closed.
    pub(super) const CLOSED: Self =
        Self { settles: true, raises: true, running: None, silent: false };
    /// It has closed without a real candle.
    pub(super) const SETTLED: Self =
        Self { settles: true, raises: false, running: None, silent: false };
    /// It was corrected while the next one is running; what is provisional belongs to that one.
    pub(super) const LATE: Self =
        Self { settles: false, raises: true, running: None, silent: false };

    /// It is still running.
    pub(super) const fn running(event_time: i64) -> Self {
        Self { settles: false, raises: true, running: Some(event_time), silent: false }
    }

    /// The same, with nothing raised if `silent`.
    pub(super) const fn silent(self, silent: bool) -> Self {
        Self { silent, ..self }
    }
}

/// The rules of one symbol, about to be judged.
pub(super) struct Judging<'a> {
    screen: &'a Screen,
    name: &'a Arc<str>,
    gate: &'a mut Gate,
    past: &'a mut Past,
    among: &'a [f64],
    own: Option<&'a Own>,
}

/// When rules are judged, and at what price.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Moment {
    pub(super) time: i64,
    pub(super) price: f64,
    /// Newest minutes of which none is pending.
    pub(super) settled: i64,
    /// Whether the minute is still running.
    pub(super) running: bool,
    /// Whether nothing is raised.
    pub(super) silent: bool,
}

impl<'a> Judging<'a> {
    /// A symbol's rules, and what they are judged of.
    pub(super) fn of(screen: &'a Screen, tracked: &'a mut Tracked) -> (Self, &'a mut Symbol) {
        let Tracked { name, symbol, gate, past, among, own } = tracked;
        let own = own.as_deref();
        (Self { screen, name, gate, past, among, own }, symbol)
    }

    pub(super) fn judge(mut self, symbol: &mut Symbol, verdict: Verdict, bench: &mut Bench) {
        let Some(reading) = symbol.read() else { return };
        reading.fill(&mut bench.values);
        let newest = reading.ring.newest();
        let moment = Moment {
            time: verdict.running.unwrap_or(close_time(newest)),
            price: reading.ring.newest_row().close,
            settled: newest - reading.ring.marks().pending,
            running: verdict.running.is_some(),
            silent: verdict.silent,
        };
        if self.screen.remembers {
            self.remember(newest, verdict, moment, bench);
        }
        if verdict.settles && !verdict.silent && self.gate.has_provisional() {
            self.settle(verdict, moment, bench);
        } else if verdict.raises {
            self.raise(moment, &[], None, bench);
        }
    }

    /// What rules ask of the past and of all symbols is put where they look for it.
    #[inline(never)]
    fn remember(&mut self, newest: i64, verdict: Verdict, moment: Moment, bench: &mut Bench) {
        let Screen { lookback, question, .. } = self.screen;
        self.past.recall(lookback, newest, &mut bench.values);
        if verdict.running.is_some() {
            return;
        }
        self.past.record(lookback, newest, &bench.values, moment.settled);
        if verdict.raises && self.screen.asks_all() {
            let values = question.keep(&bench.values);
            bench.seats.push(Seat::new(newest, moment, values));
        }
    }

    /// Confirms or withdraws what is provisional, and raises what else holds.
    #[cold]
    fn settle(&mut self, verdict: Verdict, moment: Moment, bench: &mut Bench) {
        let provisional = self.gate.settle();
        for (name, at) in &provisional {
            let Some(rule) = self.rules(false).find(|rule| *rule.name == **name) else {
                continue;
            };
            let holds = rule.program.holds(&bench.values, moment.settled);
            let state = if holds { State::Confirmed } else { State::Withdrawn };
            if !holds {
                self.gate.tell(name, false);
            }
            self.tell(rule, Moment { time: *at, ..moment }, state, None, bench);
        }
        if verdict.raises {
            self.raise(moment, &provisional, None, bench);
        }
    }

    /// The symbol's rules that it is enough for, or those that ask something of all symbols.
    fn rules(&self, among: bool) -> impl Iterator<Item = &'a JudgedRule> + use<'a> {
        let Screen { alone, among: of_all, .. } = self.screen;
        let all = if among { of_all } else { alone };
        let own = self.own.map(|own| if among { &own.among } else { &own.alone });
        let count = own.map_or(all.len(), Vec::len);
        (0..count).filter_map(move |index| match own {
            Some(own) => all.get(*own.get(index)?),
            None => all.get(index),
        })
    }

    /// Raises every rule that is due, but for those that have just been settled; with `members`,
    /// those that ask something of all symbols.
    fn raise(
        &mut self,
        moment: Moment,
        settled: &[(String, i64)],
        members: Option<&Arc<Members>>,
        bench: &mut Bench,
    ) {
        for rule in self.rules(members.is_some()) {
            let holds = rule.program.holds(&bench.values, moment.settled);
            let due = match &rule.manner {
                None => holds,
                Some(manner) => self.is_due(rule, manner, holds, moment, &bench.values),
            };
            if due
                && self.gate.is_open(&rule.name, moment.time, rule.cooldown)
                && !settled.iter().any(|(name, _)| *rule.name == **name)
            {
                self.fire(rule, moment, members, bench);
            }
        }
    }

    /// Whether a rule with a manner of its own is due, as far as its cooldown is not concerned.
    fn is_due(
        &mut self,
        rule: &JudgedRule,
        manner: &Manner,
        holds: bool,
        moment: Moment,
        values: &[f64],
    ) -> bool {
        if !holds && self.gate.is_calm() {
            return false;
        }
        let seen = if holds {
            Seen::Holds
        } else if rule.program.is_known(values, moment.settled) {
            let ends = rule.clear.as_ref().is_none_or(|clear| clear.holds(values, moment.settled));
            Seen::Fails { ends }
        } else {
            Seen::Unknown
        };
        self.gate.observe(&rule.name, moment.time, seen, manner)
            && manner.allows(moment.time)
            && manner
                .max_per_hour
                .is_none_or(|most| self.gate.has_room(&rule.name, moment.time, most))
    }

    #[cold]
    fn fire(
        &mut self,
        rule: &JudgedRule,
        moment: Moment,
        members: Option<&Arc<Members>>,
        bench: &mut Bench,
    ) {
        if rule.manner.as_ref().is_some_and(|manner| manner.trigger == Trigger::Edge) {
            self.gate.tell(&rule.name, true);
        }
        if moment.silent {
            return;
        }
        self.gate.fire(&rule.name, moment.time);
        let state = if moment.running {
            self.gate.hold(&rule.name, moment.time);
            State::Provisional
        } else {
            State::Confirmed
        };
        self.tell(rule, moment, state, members, bench);
    }

    /// Judges the rules that ask something of all symbols, with the answers in place.
    pub(super) fn judge_among(
        &mut self,
        moment: Moment,
        members: &Arc<Members>,
        bench: &mut Bench,
    ) {
        self.screen.question.answer(self.among, &mut bench.values);
        self.raise(moment, &[], Some(members), bench);
    }

    fn tell(
        &self,
        rule: &JudgedRule,
        moment: Moment,
        state: State,
        members: Option<&Arc<Members>>,
        bench: &mut Bench,
    ) {
        let Moment { time: triggered_at, price, .. } = moment;
        let exchange = &self.screen.exchange;
        let value = |slot: Slot| Some(slot.of(&bench.values)).filter(|value| !value.is_nan());
        let evidence = rule.evidence.iter();
        let alert = Alert {
            id: alert_id(exchange, self.name, &rule.name, triggered_at),
            triggered_at,
            exchange: Arc::clone(exchange),
            symbol: Arc::clone(self.name),
            rule: Arc::clone(&rule.name),
            timeframe: rule.timeframe,
            price,
            quote_volume: rule.quote_volume.and_then(value),
            change: rule.change.and_then(value),
            vcp: rule.vcp.and_then(value),
            state,
            rule_version: Arc::clone(&rule.version),
            evidence: evidence.map(|(term, slot)| (term.clone(), value(*slot))).collect(),
            among: members.map(Arc::clone),
        };
        bench.alerts.push(alert);
    }
}
