//! History through the very same engine: alerts it would have raised, metrics it would have had.

use std::sync::Arc;

use rayon::prelude::*;

use crate::alert::Alert;
use crate::candle::Candle;
use crate::engine::{Config, Engine, Judged, Order, Rows, group, sort_alerts};
use crate::metrics::{Layout, Slot};
use crate::rule::RuleSet;
use crate::rule::bindings::NotFollowed;
use crate::rule::term::Term;
use crate::screen::Stats;
use crate::symbol::{Gaps, Symbol};
use crate::time::{MINUTE_MS, open_time};

/// What a replay gives.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The alerts, ordered by time, symbol, rule.
    pub alerts: Vec<Alert>,
    /// What the candles were counted as.
    pub stats: Stats,
}

/// Replays candles by the time they could be known; those that open before `start` (ms) warm up.
///
/// # Errors
/// Never for a set of rules: the windows it names are followed.
pub fn replay(
    rows: &impl Rows,
    config: Config,
    rules: &RuleSet,
    start: Option<i64>,
) -> Result<Replay, NotFollowed> {
    let mut engine = Engine::new(config, rules)?;
    let judged = start.map_or(Judged::ALL, Judged::From);
    let mut alerts = engine.update_many(rows, Order::Known, judged);
    // Nothing more comes: what waits for others is judged with those that are there.
    alerts.extend(engine.advance(i64::MAX));
    sort_alerts(&mut alerts);
    Ok(Replay { alerts, stats: engine.stats() })
}

/// The metrics of one symbol, minute by minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The symbol.
    pub symbol: Arc<str>,
    /// Each minute, filled ones included, ms.
    pub open_times: Vec<i64>,
    /// For each metric asked for, its value at each minute; `NaN` while it is not ready.
    pub columns: Vec<Vec<f64>>,
}

/// Every minute's `metrics`, of the best version of each minute in `rows`. Symbols in their order
/// of appearance.
#[must_use]
pub fn features(rows: &impl Rows, metrics: &[Term], gaps: Gaps) -> Vec<Features> {
    let mut windows = Vec::new();
    for term in metrics {
        term.visit_metrics(&mut |metric| windows.extend(metric.window()));
    }
    let layout = Layout::new(windows);
    let asked: Vec<Asked> = metrics.iter().filter_map(|term| Asked::of(term, &layout)).collect();
    let symbols = (0..rows.len()).map(|row| rows.symbol(row));
    let (numbers, ends) = group(rows.symbols().len(), symbols);
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let parts: Vec<_> = rows.symbols().iter().zip(begins.zip(&ends)).collect();
    let of_symbol = |(symbol, (begin, end)): (&Arc<str>, (usize, &usize))| {
        let mut taking = Taking::new(symbol, &layout, &asked, gaps);
        Order::Minute.walk(rows, &numbers[begin..*end], |candle| taking.take(candle));
        taking.finish()
    };
    parts.into_par_iter().map(of_symbol).collect()
}

/// A metric that is asked for, and of how long ago.
struct Asked {
    slot: Slot,
    ago: usize,
}

impl Asked {
    fn of(term: &Term, layout: &Layout) -> Option<Self> {
        match term {
            Term::Now(metric) => Some(Self { slot: layout.slot(*metric)?, ago: 0 }),
            Term::Then(metric, ago) => {
                Some(Self { slot: layout.slot(*metric)?, ago: ago.minutes() })
            }
            Term::Among(_) => None,
        }
    }
}

/// A symbol's candles being turned into features.
struct Taking<'a> {
    layout: &'a Layout,
    asked: &'a [Asked],
    gaps: Gaps,
    symbol: Symbol,
    values: Vec<f64>,
    features: Features,
}

impl<'a> Taking<'a> {
    fn new(name: &Arc<str>, layout: &'a Layout, asked: &'a [Asked], gaps: Gaps) -> Self {
        let columns = vec![Vec::new(); asked.len()];
        let features = Features { symbol: Arc::clone(name), open_times: Vec::new(), columns };
        Self { layout, asked, gaps, symbol: Symbol::default(), values: layout.row(), features }
    }

    /// Takes the next candle by minute; a minute is written down when it cannot change any more.
    fn take(&mut self, candle: &Candle) {
        while self.symbol.ring().is_some_and(|ring| candle.minute() > ring.newest()) {
            self.write();
            if !self.symbol.fill_towards(candle, self.gaps) {
                break;
            }
        }
        self.symbol.apply(candle, self.gaps, self.layout.windows());
    }

    fn finish(mut self) -> Features {
        if self.symbol.ring().is_some() {
            self.write();
        }
        let Features { open_times, columns, .. } = &mut self.features;
        for (asked, column) in self.asked.iter().zip(columns).filter(|(asked, _)| asked.ago > 0) {
            *column = shifted(column, open_times, asked.ago);
        }
        self.features
    }

    fn write(&mut self) {
        let Some(reading) = self.symbol.read() else { return };
        reading.fill(&mut self.values);
        self.features.open_times.push(open_time(reading.ring.newest()));
        for (asked, column) in self.asked.iter().zip(&mut self.features.columns) {
            column.push(asked.slot.of(&self.values));
        }
    }
}

/// The values of `ago` minutes before each; `NaN` where that minute is not there.
fn shifted(column: &[f64], open_times: &[i64], ago: usize) -> Vec<f64> {
    let value = |row: usize| {
        let before = row.checked_sub(ago)?;
        let then = open_times.get(row)? - ago as i64 * MINUTE_MS;
        (open_times.get(before) == Some(&then)).then(|| column.get(before).copied()).flatten()
    };
    (0..column.len()).map(|row| value(row).unwrap_or(f64::NAN)).collect()
}
