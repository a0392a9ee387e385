//! `screener.Engine`, `replay` and `windows`.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyMappingProxy, PyString};
use pyo3_arrow::PyTable;

use super::alert::{Alert, value_of};
use super::candle::{self, Candle};
use super::{errors, frame, look, rules};
use crate::candle::validate_symbol;
use crate::engine::{self, Config, Judged, Order};
use crate::frame::column::Frame;
use crate::frame::input::{self, CandleFrame};
use crate::frame::output;
use crate::guard::Guarded;
use crate::metrics::Layout;
use crate::num::is_amount;
use crate::rule::parse::{InvalidExpr, nearest, parse_term};
use crate::rule::term::Term;
use crate::screen::{Evaluate, Stats};
use crate::symbol::Gaps;
use crate::time::{TIMEFRAMES, Window};
use crate::{alert, replay as history};

/// Screens any number of symbols with one set of rules; may be shared by threads.
#[pyclass(frozen, module = "screener")]
pub(super) struct Engine(Mutex<Guarded<engine::Engine>>);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (
        rules=None, *, floors=false, evaluate="close", exchange="binance", gaps="pending",
        windows=None
    ))]
    fn new(
        py: Python<'_>,
        rules: Option<&Bound<'_, PyAny>>,
        floors: bool,
        evaluate: &str,
        exchange: &str,
        gaps: &str,
        windows: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let rules = rules_or_default(py, rules, floors)?;
        let config = Config {
            evaluate: read_evaluate(evaluate)?,
            exchange: exchange.into(),
            gaps: read_gaps(gaps)?,
            windows: windows.map_or_else(|| Ok(Vec::new()), read_windows)?,
        };
        let engine =
            engine::Engine::new(config, &rules).map_err(|error| not_followed(py, &error))?;
        Ok(Self::of(engine))
    }

    /// Takes one candle: a `Candle` or a mapping with its fields.
    fn update(&self, py: Python<'_>, candle: &Bound<'_, PyAny>) -> PyResult<Vec<Alert>> {
        let alerts = match candle.cast::<Candle>() {
            Ok(known) => {
                let Candle { symbol, inner } = known.get();
                self.update_one(py, symbol, inner)
            }
            Err(_) => {
                let (symbol, inner) = candle::of_mapping(candle)?;
                self.update_one(py, symbol.to_str()?, &inner)
            }
        };
        Ok(alerts?.into_iter().map(Alert).collect())
    }

    /// Takes the rows of a frame in their order.
    fn update_many(&self, frame: &Bound<'_, PyAny>) -> PyResult<Vec<Alert>> {
        let alerts = self.take(frame, Order::Given, Judged::ALL)?;
        Ok(alerts.into_iter().map(Alert).collect())
    }

    /// Takes the rows of a frame by time and raises no alert.
    fn warm_up(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        self.take(frame, Order::Known, Judged::Nothing).map(drop)
    }

    /// Takes closed bars of one timeframe that are older than the minutes.
    fn warm_up_bars(&self, frame: &Bound<'_, PyAny>, timeframe: &str) -> PyResult<()> {
        let py = frame.py();
        let window = Window::parse(timeframe).ok();
        let index =
            TIMEFRAMES.iter().position(|known| Some(*known) == window).ok_or_else(|| {
                let names = TIMEFRAMES.map(|known| known.to_string());
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                errors::not_a_choice("timeframe", timeframe, &names)
            })?;
        let frame = frame::read(frame)?;
        let taken = self.detached(py, move |engine| {
            let bars = input::read_bars(&frame, TIMEFRAMES[index])?;
            engine.warm_up_bars(&bars, index);
            Ok(())
        })?;
        taken.map_err(|error| errors::input_error(py, &error))
    }

    /// Judges what rules ask of all symbols of minutes whose time is up at `now`, ms.
    fn advance(&self, py: Python<'_>, now: i64) -> PyResult<Vec<Alert>> {
        let alerts = self.with(py, |engine| engine.advance(now))?;
        Ok(alerts.into_iter().map(Alert).collect())
    }

    /// Restores cooldowns from alerts already raised.
    fn restore_alerts(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = frame.py();
        let frame = frame::read(frame)?;
        let taken = self.detached(py, move |engine| {
            input::read_alerts(&frame).map(|alerts| engine.restore_alerts(&alerts))
        })?;
        taken.map_err(|error| errors::input_error(py, &error))
    }

    /// Takes other rules; windows stay warm.
    #[pyo3(signature = (rules, *, floors=false))]
    fn set_rules(&self, rules: &Bound<'_, PyAny>, floors: bool) -> PyResult<()> {
        let py = rules.py();
        let rules = rules::resolve(py, rules, floors)?;
        self.detached(py, |engine| engine.set_rules(&rules))?
            .map_err(|error| not_followed(py, &error))
    }

    /// Forgets a symbol and gives its memory back; whether it was there.
    fn remove(&self, py: Python<'_>, symbol: &str) -> PyResult<bool> {
        self.with(py, |engine| engine.remove(symbol))
    }

    /// Sets the metric `market_cap` of a symbol; `None` takes it away.
    fn set_market_cap(&self, py: Python<'_>, symbol: &str, value: Option<f64>) -> PyResult<()> {
        let invalid = |invalid| errors::invalid_candle(py, &invalid, None, Some(symbol), None);
        validate_symbol(symbol).map_err(invalid)?;
        if value.is_some_and(|value| !is_amount(value)) {
            let reason = "a market capitalisation is a finite number of 0 or more";
            return Err(errors::data_error(py, reason, Some("market_cap"), None));
        }
        self.with(py, |engine| engine.set_market_cap(symbol, value))
    }

    /// Every metric of a symbol by name: a read-only mapping.
    fn metrics<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Bound<'py, PyMappingProxy>> {
        let read = self.with(py, |engine| {
            let values = engine.values(symbol)?;
            Some((engine.screen().bindings().clone(), values))
        })?;
        let (bindings, values) = read.ok_or_else(|| self.unknown(py, symbol))?;
        let metrics = PyDict::new(py);
        let followed = bindings.layout().metrics().map(Term::Now);
        for term in followed.chain(bindings.beyond()) {
            let value = bindings.slot(&term).map(|slot| slot.of(&values)).ok();
            metrics.set_item(term.to_string(), value_of(py, term.is_count(), value)?)?;
        }
        Ok(PyMappingProxy::new(py, metrics.cast::<PyMapping>()?))
    }

    /// One row a symbol, one column a metric.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let table = self.detached(py, |engine| {
            let layout = engine.screen().bindings().layout().clone();
            let mut rows: Vec<_> = engine
                .live_symbols()
                .filter_map(|(name, symbol)| {
                    let reading = symbol.read()?;
                    let mut values = layout.row();
                    reading.fill(&mut values);
                    let newest = crate::time::open_time(reading.ring.newest());
                    Some((Arc::clone(name), newest, values))
                })
                .collect();
            rows.sort_by(|(a, ..), (b, ..)| a.cmp(b));
            output::snapshot(&rows, &layout)
        })?;
        frame::polars(py, table.map_err(|error| arrow_failed(py, &error))?)
    }

    /// The newest `n` minutes of a symbol (all of them by default), oldest first.
    #[pyo3(signature = (symbol, n=None))]
    fn candles<'py>(
        &self,
        py: Python<'py>,
        symbol: &str,
        n: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let count = n.map_or(Ok(usize::MAX), |n| usize::try_from(n.max(-1)));
        let count = count.map_err(|_| {
            pyo3::exceptions::PyValueError::new_err("n is a number of minutes, 0 or more")
        })?;
        let held = self.with(py, |engine| {
            let ring = engine.symbol(symbol)?.ring()?;
            Some(ring.candles(count).collect::<Vec<_>>())
        })?;
        let held = held.ok_or_else(|| self.unknown(py, symbol))?;
        let table = output::candles(symbol, &held).map_err(|error| arrow_failed(py, &error))?;
        frame::polars(py, table)
    }

    /// The symbols that have candles, sorted.
    #[getter]
    fn symbols(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let names = self.with(py, |engine| {
            engine.live_symbols().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
        });
        names.map(|mut names| {
            names.sort_unstable();
            names
        })
    }

    /// What its candles were counted as.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.with(py, |engine| engine.stats())?;
        stats_dict(py, stats)
    }

    /// The rules it judges.
    #[getter]
    fn rules(&self, py: Python<'_>) -> PyResult<rules::RuleSet> {
        self.with(py, |engine| rules::RuleSet(engine.rules().clone()))
    }

    /// The windows it follows, shortest first.
    #[getter]
    fn windows(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |engine| {
            engine.screen().bindings().layout().windows().iter().map(Window::to_string).collect()
        })
    }

    /// The whole state as bytes.
    fn save<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let blob = self.detached(py, |engine| engine.save())?;
        let blob = blob.map_err(|error| errors::state_error(py, &error))?;
        Ok(PyBytes::new(py, &blob))
    }

    /// The engine that was saved; it goes on exactly as that one would have.
    #[staticmethod]
    fn load(py: Python<'_>, blob: &[u8]) -> PyResult<Self> {
        let engine = py.detach(|| std::panic::catch_unwind(|| engine::Engine::load(blob)));
        let engine =
            errors::calmly(py, || engine.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        engine.map(Self::of).map_err(|error| errors::state_error(py, &error))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |engine| {
            let exchange = Arc::clone(&engine.config().exchange);
            let (symbols, rules) = (engine.live_symbols().count(), engine.rules().rules().len());
            format!("Engine({exchange}: {symbols} symbols, {rules} rules)")
        })
    }

    /// The minutes of a symbol as a figure.
    #[pyo3(signature = (symbol, alerts=None, *, minutes=None, bar=None))]
    fn plot<'py>(
        slf: &Bound<'py, Self>,
        symbol: &str,
        alerts: Option<&Bound<'py, PyAny>>,
        minutes: Option<i64>,
        bar: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        look::call(slf.py(), "plot_engine", (slf, symbol, alerts, minutes, bar))
    }
}

impl Engine {
    fn of(engine: engine::Engine) -> Self {
        Self(Mutex::new(Guarded::new(engine)))
    }

    /// Uses the engine for something short, without letting go of the interpreter unless another
    /// thread is using it.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        action: impl FnOnce(&mut engine::Engine) -> T + Send,
    ) -> PyResult<T> {
        let mut guarded = match self.0.try_lock() {
            Ok(guarded) => guarded,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return self.detached(py, action),
        };
        let done = guarded.run(action);
        drop(guarded);
        done.map_err(|poisoned| errors::poisoned(py, poisoned))
    }

    /// Uses the engine with the interpreter let go of.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        action: impl FnOnce(&mut engine::Engine) -> T + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| {
            let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            guarded.run(action)
        });
        done.map_err(|poisoned| errors::poisoned(py, poisoned))
    }

    fn update_one(
        &self,
        py: Python<'_>,
        symbol: &str,
        candle: &crate::candle::Candle,
    ) -> PyResult<Vec<alert::Alert>> {
        self.with(py, |engine| engine.update(symbol, candle))?.map_err(|invalid| {
            errors::invalid_candle(py, &invalid, Some(0), Some(symbol), Some(candle.open_time))
        })
    }

    fn take(
        &self,
        given: &Bound<'_, PyAny>,
        order: Order,
        judged: Judged,
    ) -> PyResult<Vec<alert::Alert>> {
        let py = given.py();
        let frame = frame::read(given)?;
        let taken = self.detached(py, move |engine| {
            let candles = CandleFrame::read(&frame, engine.config().evaluate)?;
            Ok(engine.update_many(&candles, order, judged))
        })?;
        taken.map_err(|error| errors::input_error(py, &error))
    }

    fn unknown(&self, py: Python<'_>, symbol: &str) -> PyErr {
        match self.symbols(py) {
            Ok(names) => errors::unknown_symbol(py, symbol, nearest(symbol, names).as_deref()),
            Err(error) => error,
        }
    }
}

/// Replays a frame's candles by time: a table of alerts, and the counters.
#[pyfunction]
#[pyo3(signature = (frame, rules, *, floors, evaluate, exchange, gaps, start))]
#[allow(clippy::too_many_arguments)]
pub(super) fn replay<'py>(
    frame: &Bound<'py, PyAny>,
    rules: &Bound<'py, PyAny>,
    floors: bool,
    evaluate: &str,
    exchange: &str,
    gaps: &str,
    start: Option<i64>,
) -> PyResult<(PyTable, Bound<'py, PyDict>)> {
    let py = frame.py();
    let rules = rules::resolve(py, rules, floors)?;
    let named = named_terms(&rules);
    let config = Config {
        evaluate: read_evaluate(evaluate)?,
        exchange: exchange.into(),
        gaps: read_gaps(gaps)?,
        windows: Vec::new(),
    };
    let replayed = with_candles(frame, config.evaluate, |candles| {
        history::replay(candles, config, &rules, start)
    })?;
    let replayed = replayed.map_err(|error| not_followed(py, &error))?;
    let table =
        output::alerts(&replayed.alerts, &named).map_err(|error| arrow_failed(py, &error))?;
    Ok((frame::table(table)?, stats_dict(py, replayed.stats)?))
}

/// Every minute's metrics of a frame's candles, as a table.
#[pyfunction]
#[pyo3(signature = (frame, metrics, *, gaps))]
pub(super) fn windows(
    frame: &Bound<'_, PyAny>,
    metrics: Option<Vec<String>>,
    gaps: &str,
) -> PyResult<PyTable> {
    let py = frame.py();
    let metrics: Vec<Term> = match metrics {
        Some(names) => names.iter().map(|name| read_metric(py, name)).collect::<PyResult<_>>()?,
        None => Layout::new([]).metrics().map(Term::Now).collect(),
    };
    let gaps = read_gaps(gaps)?;
    let features = with_candles(frame, Evaluate::Close, |candles| {
        output::features(history::features(candles, &metrics, gaps), &metrics)
    })?;
    frame::table(features.map_err(|error| arrow_failed(py, &error))?)
}

/// Reads a frame's candles and uses them, with the interpreter let go of.
fn with_candles<T: Send>(
    given: &Bound<'_, PyAny>,
    evaluate: Evaluate,
    action: impl FnOnce(&CandleFrame) -> T + Send,
) -> PyResult<T> {
    let py = given.py();
    let frame: Frame = frame::read(given)?;
    let done = py.detach(|| {
        let action = std::panic::AssertUnwindSafe(|| {
            CandleFrame::read(&frame, evaluate).map(|candles| action(&candles))
        });
        std::panic::catch_unwind(action)
    });
    let done =
        errors::calmly(py, || done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
    done.map_err(|error| errors::input_error(py, &error))
}

fn rules_or_default(
    py: Python<'_>,
    given: Option<&Bound<'_, PyAny>>,
    floors: bool,
) -> PyResult<crate::rule::RuleSet> {
    match given {
        Some(given) => rules::resolve(py, given, floors),
        None => {
            let default = PyString::new(py, crate::rule::preset::NAMES[0]);
            rules::resolve(py, default.as_any(), floors)
        }
    }
}

fn named_terms(rules: &crate::rule::RuleSet) -> Vec<Term> {
    let mut named = Vec::new();
    let variants = rules.rules().iter().flat_map(crate::rule::Rule::variants);
    for term in variants.flat_map(|rule| rule.terms(rules.floors())) {
        if !named.contains(&term) {
            named.push(term);
        }
    }
    named
}

fn read_evaluate(given: &str) -> PyResult<Evaluate> {
    match given {
        "close" => Ok(Evaluate::Close),
        "update" => Ok(Evaluate::Update),
        _ => Err(errors::not_a_choice("evaluate", given, &["close", "update"])),
    }
}

fn read_gaps(given: &str) -> PyResult<Gaps> {
    match given {
        "pending" => Ok(Gaps::Pending),
        "absent" => Ok(Gaps::Absent),
        _ => Err(errors::not_a_choice("gaps", given, &["pending", "absent"])),
    }
}

/// Windows: an iterable of them, or one by itself.
fn read_windows(given: &Bound<'_, PyAny>) -> PyResult<Vec<Window>> {
    if given.cast::<PyString>().is_ok() || given.extract::<i64>().is_ok() {
        return Ok(vec![read_window(given)?]);
    }
    given.try_iter()?.map(|window| read_window(&window?)).collect()
}

/// A window as minutes or by name.
fn read_window(given: &Bound<'_, PyAny>) -> PyResult<Window> {
    let window = match given.extract::<i64>() {
        Ok(minutes) => Window::new(minutes),
        Err(_) => Window::parse(&given.str()?.to_string()),
    };
    window.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}

/// A metric, now or some time ago.
fn read_metric(py: Python<'_>, name: &str) -> PyResult<Term> {
    let refused = |reason: &str, nearest: Option<&str>| {
        let remedy = nearest.map(|nearest| format!("did you mean {nearest:?}?"));
        errors::data_error(py, reason, Some(name), remedy.as_deref())
    };
    match parse_term(name) {
        Ok(term) if term.is_among() => {
            let reason = format!("{name} asks something of all symbols, which only rules can");
            Err(refused(&reason, None))
        }
        Ok(term) => Ok(term),
        Err(InvalidExpr { fault, .. }) => {
            let reason = format!("there is no metric {name:?}");
            Err(refused(&reason, fault.suggestion()))
        }
    }
}

fn stats_dict(py: Python<'_>, stats: Stats) -> PyResult<Bound<'_, PyDict>> {
    let counters = PyDict::new(py);
    for (name, count) in stats.named() {
        counters.set_item(name, count)?;
    }
    Ok(counters)
}

fn not_followed(py: Python<'_>, error: &crate::rule::bindings::NotFollowed) -> PyErr {
    errors::rule_error(py, &error.to_string(), None, None)
}

fn arrow_failed(py: Python<'_>, error: &arrow_schema::ArrowError) -> PyErr {
    errors::data_error(py, &format!("Arrow failed: {error}"), None, None)
}
