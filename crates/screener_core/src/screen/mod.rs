//! One candle of one symbol: placed, and its symbol's rules judged (SPEC 5.3).

pub mod crowd;
mod judge;
mod stats;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::candle::Candle;
use crate::gate::Gate;
use crate::metrics::{Metric, Slot, Windowed};
use crate::past::{Lookback, Past};
use crate::rule::bindings::{Bindings, NotFollowed};
use crate::rule::compile::Program;
use crate::rule::manner::Manner;
use crate::rule::term::Term;
use crate::rule::{CompiledRule, Rule, RuleSet};
use crate::symbol::{Gaps, Judge, Symbol};
use crate::time::Window;

use crowd::{Question, Seat};
use judge::{Judging, Verdict};
pub use stats::Stats;

/// When rules are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evaluate {
    /// When a candle closes.
    #[default]
    Close,
    /// At every update of the running minute too.
    Update,
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
    /// What its metrics were, as far as rules ask.
    pub past: Past,
    /// Its place among all symbols at the minute that was judged last: what the rules ask of it.
    pub among: Vec<f64>,
    /// Which rules are its own, if not all symbols have the same.
    own: Option<Box<Own>>,
}

/// The rules of a symbol, as places in the lists of a screen.
#[derive(Clone, Debug)]
struct Own {
    alone: Vec<usize>,
    among: Vec<usize>,
}

/// The rules against the windows followed: all that judging a symbol needs besides the symbol.
#[derive(Clone, Debug)]
pub struct Screen {
    exchange: Arc<str>,
    bindings: Bindings,
    evaluate: Evaluate,
    gaps: Gaps,
    /// The rules that one symbol is enough for.
    alone: Vec<JudgedRule>,
    /// Those that ask something of all symbols.
    among: Vec<JudgedRule>,
    lookback: Lookback,
    question: Question,
    /// Whether some rules are off, or others for some symbols.
    varied: bool,
    /// Whether rules have to be judged while warming up, to know since when they hold.
    remembers: bool,
    rules: RuleSet,
}

#[derive(Clone, Debug)]
struct JudgedRule {
    /// Which rule of the set, and which of its variants.
    place: (usize, usize),
    name: Arc<str>,
    version: Arc<str>,
    timeframe: Window,
    cooldown: i64,
    program: Program,
    clear: Option<Program>,
    /// How it is told, if that takes more than its cooldown.
    manner: Option<Box<Manner>>,
    quote_volume: Option<Slot>,
    change: Option<Slot>,
    vcp: Option<Slot>,
    evidence: Vec<(Term, Slot)>,
}

impl JudgedRule {
    fn of(
        rule: &Rule,
        place: (usize, usize),
        compiled: CompiledRule,
        bindings: &Bindings,
    ) -> Result<Self, NotFollowed> {
        let layout = bindings.layout();
        let told = |kind: Windowed| layout.slot(Metric::Windowed(kind, rule.timeframe));
        let evidence = compiled.named.into_iter().map(|term| {
            let slot = bindings.slot(&term)?;
            Ok((term, slot))
        });
        Ok(Self {
            place,
            name: rule.name.as_str().into(),
            version: compiled.version.into(),
            timeframe: rule.timeframe,
            cooldown: rule.cooldown,
            program: compiled.program,
            clear: compiled.clear,
            manner: (!rule.manner.is_plain()).then(|| Box::new(rule.manner.clone())),
            quote_volume: told(Windowed::QuoteVolume),
            change: told(Windowed::Change),
            vcp: told(Windowed::Vcp),
            evidence: evidence.collect::<Result<_, _>>()?,
        })
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
    /// Closed minutes to be judged among all symbols, when rules ask for that.
    pub seats: Vec<Seat>,
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
    /// Never for a set of rules: what it names is followed.
    pub fn new(
        rules: &RuleSet,
        more: &[Window],
        exchange: Arc<str>,
        evaluate: Evaluate,
        gaps: Gaps,
    ) -> Result<Self, NotFollowed> {
        let bindings = rules.bind(more);
        let compiled = rules.compile(&bindings)?;
        let (mut alone, mut among) = (Vec::new(), Vec::new());
        for (index, (rule, variants)) in rules.rules().iter().zip(compiled).enumerate() {
            for (place, (variant, compiled)) in rule.variants().zip(variants).enumerate() {
                let asks_all = variant.is_among(rules.floors());
                let judged = JudgedRule::of(variant, (index, place), compiled, &bindings)?;
                if asks_all { &mut among } else { &mut alone }.push(judged);
            }
        }
        let lookback = Lookback::new(&bindings)?;
        let varied = |rule: &Rule| !rule.enabled || !rule.overrides.is_empty();
        Ok(Self {
            exchange,
            evaluate,
            gaps,
            varied: rules.rules().iter().any(varied),
            remembers: alone.iter().any(|rule| rule.manner.is_some())
                || !lookback.is_empty()
                || !among.is_empty(),
            question: Question::new(&bindings, rules)?,
            lookback,
            alone,
            among,
            bindings,
            rules: rules.clone(),
        })
    }

    /// The rules.
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Where in a row of values everything lies.
    #[must_use]
    pub const fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// What the rules ask of the past.
    #[must_use]
    pub const fn lookback(&self) -> &Lookback {
        &self.lookback
    }

    /// What the rules ask of all symbols.
    #[must_use]
    pub const fn question(&self) -> &Question {
        &self.question
    }

    /// Whether some rules ask something of all symbols.
    #[must_use]
    pub fn asks_all(&self) -> bool {
        !self.among.is_empty()
    }

    /// A worker's place.
    #[must_use]
    pub fn bench(&self) -> Bench {
        Bench {
            values: self.bindings.row(),
            alerts: Vec::new(),
            stats: Stats::default(),
            seats: Vec::new(),
        }
    }

    /// A symbol nothing is known of yet.
    #[must_use]
    pub fn track(&self, name: &str) -> Tracked {
        Tracked {
            name: name.into(),
            symbol: Symbol::default(),
            gate: Gate::default(),
            past: Past::new(&self.lookback),
            among: vec![f64::NAN; self.bindings.among().len()],
            own: self.own(name),
        }
    }

    /// Takes over a symbol that another screen has followed; windows stay warm.
    pub fn take_over(&self, tracked: &mut Tracked) {
        tracked.own = self.own(&tracked.name);
        tracked.among = vec![f64::NAN; self.bindings.among().len()];
        if tracked.past.fits(&self.lookback) {
            return;
        }
        let mut past = Past::new(&self.lookback);
        let mut bench = self.bench();
        let windows = self.bindings.layout().windows();
        let running = tracked.symbol.ring().and_then(|ring| ring.running().map(|_| ring.newest()));
        tracked.symbol.walk(self.gaps, windows, |symbol| {
            let Some(reading) = symbol.read() else { return };
            let newest = reading.ring.newest();
            if running != Some(newest) {
                reading.fill(&mut bench.values);
                let settled = newest - reading.ring.marks().pending;
                past.record_windows(&self.lookback, newest, &bench.values, settled);
            }
        });
        past.take_over(&tracked.past);
        tracked.past = past;
    }

    /// The rules of the symbol called `name`, if not all have the same.
    fn own(&self, name: &str) -> Option<Box<Own>> {
        if !self.varied {
            return None;
        }
        let mut own = Own { alone: Vec::new(), among: Vec::new() };
        for (index, rule) in self.rules.rules().iter().enumerate() {
            let place = (index, rule.variant_for(name));
            if rule.for_symbol(name).enabled {
                let is_it = |judged: &JudgedRule| judged.place == place;
                own.alone.extend(self.alone.iter().position(is_it));
                own.among.extend(self.among.iter().position(is_it));
            }
        }
        Some(Box::new(own))
    }

    /// Takes a valid candle; judges the rules if `judging`.
    #[inline]
    pub fn feed(&self, tracked: &mut Tracked, candle: &Candle, judging: bool, bench: &mut Bench) {
        if tracked.symbol.is_overtaken_by(candle) {
            tracked.symbol.close_by_force();
            if judging || self.remembers {
                self.judge(tracked, Verdict::CLOSED.silent(!judging), bench);
            }
        }
        let applied = tracked.symbol.apply(candle, self.gaps, self.bindings.layout().windows());
        bench.stats.count(&applied);
        if judging || self.remembers {
            self.judge_after(tracked, applied.judge, !judging, bench);
        }
    }

    #[inline]
    fn judge_after(&self, tracked: &mut Tracked, judge: Judge, silent: bool, bench: &mut Bench) {
        match judge {
            Judge::Nothing => {}
            Judge::Closed => self.judge(tracked, Verdict::CLOSED.silent(silent), bench),
            Judge::Settle => self.judge(tracked, Verdict::SETTLED.silent(silent), bench),
            Judge::Running(event_time) if self.evaluate == Evaluate::Update => {
                self.judge(tracked, Verdict::running(event_time).silent(silent), bench);
            }
            Judge::Running(_) => {}
            Judge::BeforeRunning => {
                let (judging, symbol) = Judging::of(self, tracked);
                let verdict = Verdict::LATE.silent(silent);
                symbol.before_running(|symbol| judging.judge(symbol, verdict, bench));
            }
        }
    }

    #[inline]
    fn judge(&self, tracked: &mut Tracked, verdict: Verdict, bench: &mut Bench) {
        let (judging, symbol) = Judging::of(self, tracked);
        judging.judge(symbol, verdict, bench);
    }
}
