//! Candles, bars and past alerts out of a frame. A frame is validated whole before it is used.

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, Float64Array, Int64Array};
use arrow_buffer::ScalarBuffer;
use rayon::prelude::*;

use super::column::{self, Frame, FrameError, Texts, Times};
use crate::alert::State;
use crate::candle::{
    Candle, Fault, InvalidCandle, Source, Value, fault_of_number, validate_symbol,
};
use crate::engine::{PastAlert, PastBar, Rows, check_event_time};
use crate::screen::Evaluate;
use crate::time::{MINUTE_MS, Window, in_range};

/// What cannot be taken of a frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InputError {
    /// Its columns.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A row of it.
    #[error(transparent)]
    Row(#[from] Box<InvalidRow>),
}

/// A row that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("row {row}: {invalid}")]
pub struct InvalidRow {
    /// Its number, from 0.
    pub row: usize,
    /// Its symbol, if it has one.
    pub symbol: Option<String>,
    /// Its open time, if it has one.
    pub open_time: Option<i64>,
    /// What is wrong with it.
    pub invalid: InvalidCandle,
}

const NEEDED: &str = "give a column for each of symbol, open_time, open, high, low, close, volume \
                      and quote_volume (screener.read_klines makes such a frame)";
const NO_QUOTE_VOLUME: &str = "read the files with screener.read_klines(..., \
                               quote_volume=\"typical\"), which takes volume * (high + low + close) / 3";

/// Valid candles in columns; numbers are read where Arrow has them.
#[derive(Clone, Debug)]
pub struct CandleFrame {
    symbols: Texts,
    open_time: ScalarBuffer<i64>,
    open: ScalarBuffer<f64>,
    high: ScalarBuffer<f64>,
    low: ScalarBuffer<f64>,
    close: ScalarBuffer<f64>,
    volume: ScalarBuffer<f64>,
    quote_volume: ScalarBuffer<f64>,
    trades: Option<Float64Array>,
    taker_buy_volume: Option<Float64Array>,
    taker_buy_quote_volume: Option<Float64Array>,
    closed: Option<BooleanArray>,
    event_time: Option<Int64Array>,
    source: Option<Vec<Source>>,
}

impl CandleFrame {
    /// The candles of a frame (SPEC 1). Unknown columns are ignored, missing optional ones unknown.
    ///
    /// # Errors
    /// A column that is missing or of a wrong type, or the first row that is not valid.
    pub fn read(frame: &Frame, evaluate: Evaluate) -> Result<Self, InputError> {
        let symbols = column::texts("symbol", frame.need("symbol", NEEDED)?)?;
        let open_time = column::times("open_time", frame.need("open_time", NEEDED)?)?;
        let required = |name, remedy| column::floats(name, frame.need(name, remedy)?);
        let numbers = [
            ("open", required("open", NEEDED)?),
            ("high", required("high", NEEDED)?),
            ("low", required("low", NEEDED)?),
            ("close", required("close", NEEDED)?),
            ("volume", required("volume", NEEDED)?),
            ("quote_volume", required("quote_volume", NO_QUOTE_VOLUME)?),
        ];
        let event_time = frame.optional("event_time", column::times)?;
        let sources = frame.optional("source", column::texts)?;

        let mut faults = Faults::default();
        faults.symbols(&symbols);
        faults.times("open_time", &open_time, true);
        if let Some(times) = &event_time {
            faults.times("event_time", times, false);
        }
        for (name, numbers) in &numbers {
            faults.nulls(name, numbers);
        }
        let source = sources.map(|texts| faults.sources(&texts));

        let [open, high, low, close, volume, quote_volume] =
            numbers.map(|(_, column)| column.values().clone());
        let candles = Self {
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            trades: frame.optional("trades", column::floats)?,
            taker_buy_volume: frame.optional("taker_buy_volume", column::floats)?,
            taker_buy_quote_volume: frame.optional("taker_buy_quote_volume", column::floats)?,
            closed: frame.optional("closed", column::truths)?,
            event_time: event_time.map(|times| times.ms),
            source,
            open_time: open_time.ms.values().clone(),
            symbols,
        };
        faults.0.extend(candles.first_invalid(evaluate));
        faults.result(&candles.symbols, &open_time.ms)?;
        Ok(candles)
    }

    /// The first row whose candle is not valid, nulls taken for whatever lies under them.
    fn first_invalid(&self, evaluate: Evaluate) -> Option<(usize, InvalidCandle)> {
        let check = |row: usize| {
            let candle = self.candle(row);
            let checked = candle.validate().and_then(|()| check_event_time(&candle, evaluate));
            checked.err().map(|invalid| (row, invalid))
        };
        if self.len() <= ROWS_PER_TASK {
            // Waking another thread would take longer.
            return (0..self.len()).find_map(check);
        }
        (0..self.len()).into_par_iter().with_min_len(ROWS_PER_TASK).find_map_first(check)
    }
}

/// Fewer rows than this are not worth handing to another thread.
const ROWS_PER_TASK: usize = 8192;

impl Rows for CandleFrame {
    fn len(&self) -> usize {
        self.open_time.len()
    }

    fn symbols(&self) -> &[Arc<str>] {
        &self.symbols.distinct
    }

    #[inline]
    fn symbol(&self, row: usize) -> u32 {
        self.symbols.numbers[row]
    }

    #[inline]
    fn open_time(&self, row: usize) -> i64 {
        self.open_time[row]
    }

    #[inline]
    fn event_time(&self, row: usize) -> Option<i64> {
        let given = self.event_time.as_ref().filter(|times| times.is_valid(row));
        given.map(|times| times.value(row))
    }

    #[inline(always)]
    fn candle(&self, row: usize) -> Candle {
        let known = |column: &Option<Float64Array>| {
            column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
        };
        let closed =
            self.closed.as_ref().is_none_or(|closed| closed.is_null(row) || closed.value(row));
        Candle {
            open_time: self.open_time[row],
            open: self.open[row],
            high: self.high[row],
            low: self.low[row],
            close: self.close[row],
            volume: self.volume[row],
            quote_volume: self.quote_volume[row],
            trades: known(&self.trades),
            taker_buy_volume: known(&self.taker_buy_volume),
            taker_buy_quote_volume: known(&self.taker_buy_quote_volume),
            closed,
            event_time: self.event_time(row),
            source: self.source.as_ref().map_or(Source::Stream, |source| source[row]),
        }
    }
}

/// What is wrong with a frame: the first fault of each kind, with its row.
#[derive(Default)]
struct Faults(Vec<(usize, InvalidCandle)>);

impl Faults {
    fn missing(&mut self, row: usize, field: &'static str) {
        self.0.push((row, InvalidCandle { field, value: Value::Missing, fault: Fault::Missing }));
    }

    fn nulls(&mut self, field: &'static str, array: &dyn Array) {
        if array.null_count() > 0 {
            let first = (0..array.len()).find(|row| array.is_null(*row));
            first.into_iter().for_each(|row| self.missing(row, field));
        }
    }

    fn symbols(&mut self, texts: &Texts) {
        let row_with = |number: u32| texts.numbers.iter().position(|other| *other == number);
        row_with(Texts::NULL).into_iter().for_each(|row| self.missing(row, "symbol"));
        let invalid = texts.distinct.iter().enumerate().filter_map(|(number, symbol)| {
            let invalid = validate_symbol(symbol).err()?;
            Some((row_with(number as u32)?, invalid))
        });
        self.0.extend(invalid);
    }

    fn times(&mut self, field: &'static str, times: &Times, needed: bool) {
        if let Some((row, time)) = times.beyond {
            let value = Value::Unsigned(time);
            self.0.push((row, InvalidCandle { field, value, fault: Fault::OutsideYears }));
        }
        if needed {
            self.nulls(field, &times.ms);
            let fractional = times.fractional;
            self.0.extend(
                fractional
                    .map(|(row, time)| (row, InvalidCandle::new(field, time, Fault::Misaligned))),
            );
        }
    }

    /// The sources of all rows; those that are none are told as faults.
    fn sources(&mut self, texts: &Texts) -> Vec<Source> {
        let known: Vec<_> = texts.distinct.iter().map(|name| Source::parse(name)).collect();
        let unknown = texts
            .numbers
            .iter()
            .position(|number| known.get(*number as usize).is_some_and(Option::is_none));
        if let Some(row) = unknown {
            let name = texts.get(row).map(ToString::to_string).unwrap_or_default();
            let (value, fault) = (Value::Text(name), Fault::UnknownSource);
            self.0.push((row, InvalidCandle { field: "source", value, fault }));
        }
        let source = |number: &u32| known.get(*number as usize).copied().flatten();
        texts.numbers.iter().map(|number| source(number).unwrap_or_default()).collect()
    }

    /// The fault of the first row, if there is one; of several the one found first.
    fn result(self, symbols: &Texts, open_time: &Int64Array) -> Result<(), InputError> {
        let Some((row, invalid)) = self.0.into_iter().min_by_key(|(row, _)| *row) else {
            return Ok(());
        };
        let symbol = symbols.get(row).map(ToString::to_string);
        let open_time = open_time.is_valid(row).then(|| open_time.value(row));
        Err(Box::new(InvalidRow { row, symbol, open_time, invalid }).into())
    }
}

/// The closed bars of a frame, each of `length`: columns symbol, open_time, close.
///
/// # Errors
/// A column that is missing or of a wrong type, or the first row that is not valid.
pub fn read_bars(frame: &Frame, length: Window) -> Result<Vec<PastBar>, InputError> {
    const NEEDED: &str = "give a column for each of symbol, open_time and close";
    let symbols = column::texts("symbol", frame.need("symbol", NEEDED)?)?;
    let times = column::times("open_time", frame.need("open_time", NEEDED)?)?;
    let closes = column::floats("close", frame.need("close", NEEDED)?)?;
    let mut faults = Faults::default();
    faults.symbols(&symbols);
    faults.times("open_time", &times, true);
    faults.nulls("close", &closes);
    let invalid = |row: usize| {
        let (open_time, close) = (times.ms.value(row), closes.value(row));
        if !in_range(open_time) {
            Some(InvalidCandle::new("open_time", open_time, Fault::OutsideYears))
        } else if open_time % (length.span() * MINUTE_MS) != 0 {
            let fault = Fault::MisalignedBar { minutes: length.minutes() };
            Some(InvalidCandle::new("open_time", open_time, fault))
        } else {
            fault_of_number(close, true).map(|fault| InvalidCandle::new("close", close, fault))
        }
    };
    faults.0.extend((0..frame.len()).find_map(|row| Some((row, invalid(row)?))));
    faults.result(&symbols, &times.ms)?;
    let bars = (0..frame.len()).filter_map(|row| {
        let symbol = symbols.get(row).cloned()?;
        Some(PastBar { symbol, open_time: times.ms.value(row), close: closes.value(row) })
    });
    Ok(bars.collect())
}

/// Alerts raised before: columns symbol, rule (or alert_type), triggered_at and optionally state.
///
/// # Errors
/// A column that is missing or of a wrong type, or the first row that is not valid.
pub fn read_alerts(frame: &Frame) -> Result<Vec<PastAlert>, InputError> {
    const NEEDED: &str = "give a column for each of symbol, rule (or alert_type) and triggered_at";
    let symbols = column::texts("symbol", frame.need("symbol", NEEDED)?)?;
    let rules = match frame.get("rule") {
        Some(rules) => column::texts("rule", rules)?,
        None => column::texts("alert_type", frame.need("alert_type", NEEDED)?)?,
    };
    let times = column::times("triggered_at", frame.need("triggered_at", NEEDED)?)?;
    let states = frame.optional("state", column::texts)?;
    let state = |row: usize| match states.as_ref().and_then(|states| states.get(row)) {
        None => Ok(State::Confirmed),
        Some(name) => State::parse(name).ok_or_else(|| Value::Text(name.to_string())),
    };
    let mut faults = Faults::default();
    faults.symbols(&symbols);
    faults.nulls("triggered_at", &times.ms);
    faults.times("triggered_at", &times, false);
    let invalid = |row: usize| {
        let time = times.ms.value(row);
        if rules.get(row).is_none() {
            Some(InvalidCandle { field: "rule", value: Value::Missing, fault: Fault::Missing })
        } else if !in_range(time) {
            Some(InvalidCandle::new("triggered_at", time, Fault::OutsideYears))
        } else {
            let value = state(row).err()?;
            Some(InvalidCandle { field: "state", value, fault: Fault::UnknownState })
        }
    };
    faults.0.extend((0..frame.len()).find_map(|row| Some((row, invalid(row)?))));
    faults.result(&symbols, &times.ms)?;
    let alerts = (0..frame.len()).filter_map(|row| {
        let (symbol, rule) = (symbols.get(row).cloned()?, rules.get(row)?.to_string());
        let triggered_at = times.ms.value(row);
        Some(PastAlert { symbol, rule, triggered_at, state: state(row).ok()? })
    });
    Ok(alerts.collect())
}
