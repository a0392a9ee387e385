//! History through the very same engine: alerts it would have raised, metrics it would have had.

use std::sync::Arc;

use rayon::prelude::*;

use crate::alert::Alert;
use crate::candle::Candle;
use crate::engine::{Config, Engine, Judged, Order, Rows, group};
use crate::metrics::{Layout, Metric, Slot};
use crate::rule::RuleSet;
use crate::rule::compile::NotFollowed;
use crate::screen::Stats;
use crate::symbol::{Gaps, Symbol};
use crate::time::open_time;

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
    rules: RuleSet,
    start: Option<i64>,
) -> Result<Replay, NotFollowed> {
    let mut engine = Engine::new(config, rules)?;
    let judged = start.map_or(Judged::ALL, Judged::From);
    let alerts = engine.update_many(rows, Order::Known, judged);
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
pub fn features(rows: &impl Rows, metrics: &[Metric], gaps: Gaps) -> Vec<Features> {
    let layout = Layout::new(metrics.iter().filter_map(|metric| metric.window()));
    let slots: Vec<Slot> = metrics.iter().filter_map(|metric| layout.slot(*metric)).collect();
    let (numbers, ends) = group(rows);
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let parts: Vec<_> = rows.symbols().iter().zip(begins.zip(&ends)).collect();
    let of_symbol = |(symbol, (begin, end)): (&Arc<str>, (usize, &usize))| {
        let mut taking = Taking::new(symbol, &layout, &slots, gaps);
        Order::Minute.walk(rows, &numbers[begin..*end], |candle| taking.take(candle));
        taking.finish()
    };
    parts.into_par_iter().map(of_symbol).collect()
}

/// A symbol's candles being turned into features.
struct Taking<'a> {
    layout: &'a Layout,
    slots: &'a [Slot],
    gaps: Gaps,
    symbol: Symbol,
    values: Vec<f64>,
    features: Features,
}

impl<'a> Taking<'a> {
    fn new(name: &Arc<str>, layout: &'a Layout, slots: &'a [Slot], gaps: Gaps) -> Self {
        let columns = vec![Vec::new(); slots.len()];
        let features = Features { symbol: Arc::clone(name), open_times: Vec::new(), columns };
        Self { layout, slots, gaps, symbol: Symbol::default(), values: layout.row(), features }
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
        self.features
    }

    fn write(&mut self) {
        let Some(reading) = self.symbol.read() else { return };
        reading.fill(&mut self.values);
        self.features.open_times.push(open_time(reading.ring.newest()));
        for (slot, column) in self.slots.iter().zip(&mut self.features.columns) {
            column.push(slot.of(&self.values));
        }
    }
}
