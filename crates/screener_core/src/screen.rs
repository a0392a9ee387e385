//! One candle of one symbol: placed, and its symbol's rules judged (SPEC 5.3).

use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Gate, State, alert_id};
use crate::candle::Candle;
use crate::metrics::{Layout, Metric, Slot, Windowed};
use crate::rule::compile::{NotFollowed, Program};
use crate::rule::{CompiledRule, Rule, RuleSet};
use crate::symbol::{Applied, Counted, Gaps, Judge, Symbol};
use crate::time::{Window, close_time};

/// When rules are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evaluate {
    /// When a candle closes.
    #[default]
    Close,
    /// At every update of the running minute too.
    Update,
}

/// How many candles were counted as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Minutes the ring did not have.
    pub appended: u64,
    /// Versions of the running minute.
    pub updated: u64,
    /// Candles that were there already.
    pub duplicate: u64,
    /// Better versions of a minute.
    pub corrected: u64,
    /// Different versions from a source that ranks lower.
    pub outranked: u64,
    /// Open versions of a closed minute, or older ones.
    pub stale: u64,
    /// Candles older than the ring.
    pub too_old: u64,
    /// Minutes filled.
    pub filled: u64,
    /// Fresh starts after a hole longer than the ring.
    pub restarted: u64,
}

impl Stats {
    /// The counters by name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("appended", self.appended),
            ("updated", self.updated),
            ("duplicate", self.duplicate),
            ("corrected", self.corrected),
            ("outranked", self.outranked),
            ("stale", self.stale),
            ("too_old", self.too_old),
            ("filled", self.filled),
            ("restarted", self.restarted),
        ]
    }

    /// Counts what came of one candle.
    #[inline]
    pub const fn count(&mut self, applied: &Applied) {
        let counter = match applied.counted {
            Counted::Appended => &mut self.appended,
            Counted::Updated => &mut self.updated,
            Counted::Duplicate => &mut self.duplicate,
            Counted::Corrected => &mut self.corrected,
            Counted::Outranked => &mut self.outranked,
            Counted::Stale => &mut self.stale,
            Counted::TooOld => &mut self.too_old,
        };
        *counter += 1;
        self.filled += applied.filled;
        self.restarted += applied.restarted as u64;
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.appended += other.appended;
        self.updated += other.updated;
        self.duplicate += other.duplicate;
        self.corrected += other.corrected;
        self.outranked += other.outranked;
        self.stale += other.stale;
        self.too_old += other.too_old;
        self.filled += other.filled;
        self.restarted += other.restarted;
    }
}

/// A symbol with its name and what its rules have raised.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// Its name.
    pub name: Arc<str>,
    /// Its minutes and all that follows from them.
    pub symbol: Symbol,
    /// What its rules have raised.
    pub gate: Gate,
}

impl Tracked {
    /// A symbol nothing is known of yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), symbol: Symbol::default(), gate: Gate::default() }
    }
}

/// The rules against the windows followed: all that judging a symbol needs besides the symbol.
#[derive(Clone, Debug)]
pub struct Screen {
    exchange: Arc<str>,
    layout: Layout,
    evaluate: Evaluate,
    gaps: Gaps,
    rules: Vec<JudgedRule>,
}

#[derive(Clone, Debug)]
struct JudgedRule {
    name: Arc<str>,
    version: Arc<str>,
    timeframe: Window,
    cooldown: i64,
    program: Program,
    quote_volume: Option<Slot>,
    change: Option<Slot>,
    vcp: Option<Slot>,
    evidence: Vec<(Metric, Option<Slot>)>,
}

impl JudgedRule {
    fn of(rule: &Rule, compiled: CompiledRule, layout: &Layout) -> Self {
        let told = |kind: Windowed| layout.slot(Metric::Windowed(kind, rule.timeframe));
        let named = compiled.named.into_iter();
        Self {
            name: rule.name.as_str().into(),
            version: compiled.version.into(),
            timeframe: rule.timeframe,
            cooldown: rule.cooldown,
            program: compiled.program,
            quote_volume: told(Windowed::QuoteVolume),
            change: told(Windowed::Change),
            vcp: told(Windowed::Vcp),
            evidence: named.map(|metric| (metric, layout.slot(metric))).collect(),
        }
    }
}

/// What one worker needs again and again while it feeds candles.
#[derive(Clone, Debug)]
pub struct Bench {
    /// A row of metrics.
    values: Vec<f64>,
    /// What was raised.
    pub alerts: Vec<Alert>,
    /// What was counted.
    pub stats: Stats,
}

impl Bench {
    /// The metrics of the candle that was judged last, in the layout's order.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

impl Screen {
    /// The rules against a layout of the default windows, `more` ones, and those they name.
    ///
    /// # Errors
    /// Never for a set of rules: the windows it names are followed.
    pub fn new(
        rules: &RuleSet,
        more: &[Window],
        exchange: Arc<str>,
        evaluate: Evaluate,
        gaps: Gaps,
    ) -> Result<Self, NotFollowed> {
        let layout = Layout::new(more.iter().copied().chain(rules.windows()));
        let compiled = rules.rules().iter().zip(rules.compile(&layout)?);
        let rules = compiled.map(|(rule, compiled)| JudgedRule::of(rule, compiled, &layout));
        Ok(Self { rules: rules.collect(), exchange, layout, evaluate, gaps })
    }

    /// The windows followed.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A worker's place.
    #[must_use]
    pub fn bench(&self) -> Bench {
        Bench { values: self.layout.row(), alerts: Vec::new(), stats: Stats::default() }
    }

    /// Takes a valid candle; judges the rules if `judging`.
    #[inline]
    pub fn feed(&self, tracked: &mut Tracked, candle: &Candle, judging: bool, bench: &mut Bench) {
        if tracked.symbol.is_overtaken_by(candle) {
            tracked.symbol.close_by_force();
            if judging {
                self.judge(tracked, Verdict::CLOSED, bench);
            }
        }
        let applied = tracked.symbol.apply(candle, self.gaps, self.layout.windows());
        bench.stats.count(&applied);
        if judging {
            self.judge_after(tracked, applied.judge, bench);
        }
    }

    #[inline]
    fn judge_after(&self, tracked: &mut Tracked, judge: Judge, bench: &mut Bench) {
        match judge {
            Judge::Nothing => {}
            Judge::Closed => self.judge(tracked, Verdict::CLOSED, bench),
            Judge::Settle => self.judge(tracked, Verdict::SETTLED, bench),
            Judge::Running(event_time) if self.evaluate == Evaluate::Update => {
                self.judge(tracked, Verdict::running(event_time), bench);
            }
            Judge::Running(_) => {}
            Judge::BeforeRunning => {
                let Tracked { name, symbol, gate } = tracked;
                let judging = Judging { screen: self, name, gate };
                symbol.before_running(|symbol| judging.judge(symbol, Verdict::LATE, bench));
            }
        }
    }

    #[inline]
    fn judge(&self, tracked: &mut Tracked, verdict: Verdict, bench: &mut Bench) {
        let Tracked { name, symbol, gate } = tracked;
        Judging { screen: self, name, gate }.judge(symbol, verdict, bench);
    }
}

/// What kind of moment rules are judged at.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    /// Whether what is provisional is to be confirmed or withdrawn.
    settles: bool,
    /// Whether new alerts may be raised.
    raises: bool,
    /// Time of the update, when the minute is still running.
    running: Option<i64>,
}

impl Verdict {
    /// The newest minute has closed.
    const CLOSED: Self = Self { settles: true, raises: true, running: None };
    /// It has closed without a real candle.
    const SETTLED: Self = Self { settles: true, raises: false, running: None };
    /// It was corrected while the next one is running; what is provisional belongs to that one.
    const LATE: Self = Self { settles: false, raises: true, running: None };

    /// It is still running.
    const fn running(event_time: i64) -> Self {
        Self { settles: false, raises: true, running: Some(event_time) }
    }
}

/// The rules of one symbol, about to be judged.
struct Judging<'a> {
    screen: &'a Screen,
    name: &'a Arc<str>,
    gate: &'a mut Gate,
}

/// When rules are judged, and at what price.
#[derive(Clone, Copy, Debug)]
struct Moment {
    time: i64,
    price: f64,
    /// Newest minutes of which none is pending.
    settled: i64,
}

impl Judging<'_> {
    fn judge(mut self, symbol: &mut Symbol, verdict: Verdict, bench: &mut Bench) {
        let Some(reading) = symbol.read() else { return };
        reading.fill(&mut bench.values);
        let newest = reading.ring.newest();
        let moment = Moment {
            time: verdict.running.unwrap_or(close_time(newest)),
            price: reading.ring.newest_row().close,
            settled: newest - reading.ring.marks().pending,
        };
        if verdict.settles && self.gate.has_provisional() {
            self.settle(verdict, moment, bench);
        } else if verdict.raises {
            self.raise(verdict, moment, &[], bench);
        }
    }

    /// Confirms or withdraws what is provisional, and raises what else holds.
    #[cold]
    fn settle(&mut self, verdict: Verdict, moment: Moment, bench: &mut Bench) {
        let provisional = self.gate.settle();
        for (name, at) in &provisional {
            let Some(rule) = self.screen.rules.iter().find(|rule| *rule.name == **name) else {
                continue;
            };
            let holds = rule.program.holds(&bench.values, moment.settled);
            let state = if holds { State::Confirmed } else { State::Withdrawn };
            self.tell(rule, Moment { time: *at, ..moment }, state, bench);
        }
        if verdict.raises {
            self.raise(verdict, moment, &provisional, bench);
        }
    }

    /// Raises every rule that holds, but for those that have just been settled.
    fn raise(
        &mut self,
        verdict: Verdict,
        moment: Moment,
        settled: &[(String, i64)],
        bench: &mut Bench,
    ) {
        for rule in &self.screen.rules {
            if rule.program.holds(&bench.values, moment.settled)
                && self.gate.is_open(&rule.name, moment.time, rule.cooldown)
                && !settled.iter().any(|(name, _)| *rule.name == **name)
            {
                self.fire(rule, verdict, moment, bench);
            }
        }
    }

    #[cold]
    fn fire(&mut self, rule: &JudgedRule, verdict: Verdict, moment: Moment, bench: &mut Bench) {
        self.gate.fire(&rule.name, moment.time);
        let state = match verdict.running {
            Some(_) => {
                self.gate.hold(&rule.name, moment.time);
                State::Provisional
            }
            None => State::Confirmed,
        };
        self.tell(rule, moment, state, bench);
    }

    fn tell(&self, rule: &JudgedRule, moment: Moment, state: State, bench: &mut Bench) {
        bench.alerts.push(self.screen.alert(rule, self.name, moment, &bench.values, state));
    }
}

impl Screen {
    fn alert(
        &self,
        rule: &JudgedRule,
        symbol: &Arc<str>,
        moment: Moment,
        values: &[f64],
        state: State,
    ) -> Alert {
        let Moment { time: triggered_at, price, .. } = moment;
        let value = |slot: Option<Slot>| slot.map(|slot| slot.of(values)).filter(|v| !v.is_nan());
        Alert {
            id: alert_id(&self.exchange, symbol, &rule.name, triggered_at),
            triggered_at,
            exchange: Arc::clone(&self.exchange),
            symbol: Arc::clone(symbol),
            rule: Arc::clone(&rule.name),
            timeframe: rule.timeframe,
            price,
            quote_volume: value(rule.quote_volume),
            change: value(rule.change),
            vcp: value(rule.vcp),
            state,
            rule_version: Arc::clone(&rule.version),
            evidence: rule.evidence.iter().map(|(metric, slot)| (*metric, value(*slot))).collect(),
        }
    }
}
