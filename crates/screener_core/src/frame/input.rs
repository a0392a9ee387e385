//! Candles, bars and past alerts out of a frame. A frame is validated whole before it is used.

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, Float64Array, Int64Array};
use arrow_buffer::ScalarBuffer;
use rayon::prelude::*;

use super::column::{self, Frame, FrameError, Texts};
use crate::alert::State;
use crate::candle::{Candle, Fault, InvalidCandle, Source, Value, validate_symbol};
use crate::engine::{PastAlert, PastBar, Rows, check_event_time};
use crate::num::is_amount;
use crate::screen::Evaluate;
use crate::time::in_range;

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

        let row_of = |row: usize| RowAt { row, symbols: &symbols, open_time: &open_time.ms };
        check_symbols(&symbols, row_of)?;
        if let Some(row) = first_null(&open_time.ms) {
            return Err(row_of(row).missing("open_time"));
        }
        if let Some((row, time)) = open_time.fractional {
            return Err(row_of(row).error(InvalidCandle::new(
                "open_time",
                time,
                Fault::Misaligned,
            )));
        }
        let nulls = numbers.iter().filter_map(|(name, column)| Some((first_null(column)?, *name)));
        if let Some((row, name)) = nulls.min() {
            return Err(row_of(row).missing(name));
        }
        let source = sources.map(|texts| read_sources(&texts, row_of)).transpose()?;

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
        candles.check(evaluate)?;
        Ok(candles)
    }

    fn check(&self, evaluate: Evaluate) -> Result<(), InputError> {
        let check = |row: usize| {
            let candle = self.candle(row);
            let checked = candle.validate().and_then(|()| check_event_time(&candle, evaluate));
            checked.err().map(|invalid| (row, invalid))
        };
        let first =
            (0..self.len()).into_par_iter().with_min_len(ROWS_PER_TASK).find_map_first(check);
        first.map_or(Ok(()), |(row, invalid)| {
            let symbol = self.symbols.get(row).map(|symbol| symbol.to_string());
            let open_time = self.open_time.get(row).copied();
            Err(Box::new(InvalidRow { row, symbol, open_time, invalid }).into())
        })
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
    fn candle(&self, row: usize) -> Candle {
        let known = |column: &Option<Float64Array>| {
            column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
        };
        let closed =
            self.closed.as_ref().is_none_or(|closed| closed.is_null(row) || closed.value(row));
        let event_time = self.event_time.as_ref().filter(|times| times.is_valid(row));
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
            event_time: event_time.map(|times| times.value(row)),
            source: self.source.as_ref().map_or(Source::Stream, |source| source[row]),
        }
    }
}

/// A row, to say what is wrong with it.
#[derive(Clone, Copy)]
struct RowAt<'a> {
    row: usize,
    symbols: &'a Texts,
    open_time: &'a Int64Array,
}

impl RowAt<'_> {
    fn error(self, invalid: InvalidCandle) -> InputError {
        let open_time = self.open_time.is_valid(self.row).then(|| self.open_time.value(self.row));
        let symbol = self.symbols.get(self.row).map(|symbol| symbol.to_string());
        Box::new(InvalidRow { row: self.row, symbol, open_time, invalid }).into()
    }

    fn missing(self, field: &'static str) -> InputError {
        self.error(InvalidCandle { field, value: Value::Missing, fault: Fault::Missing })
    }
}

fn first_null(array: &dyn Array) -> Option<usize> {
    if array.null_count() == 0 {
        return None;
    }
    (0..array.len()).find(|row| array.is_null(*row))
}

fn check_symbols<'a>(texts: &Texts, row_of: impl Fn(usize) -> RowAt<'a>) -> Result<(), InputError> {
    let row_with = |number: u32| texts.numbers.iter().position(|other| *other == number);
    if let Some(row) = row_with(Texts::NULL) {
        return Err(row_of(row).missing("symbol"));
    }
    for (number, symbol) in texts.distinct.iter().enumerate() {
        if let Err(invalid) = validate_symbol(symbol) {
            return Err(row_of(row_with(number as u32).unwrap_or(0)).error(invalid));
        }
    }
    Ok(())
}

fn read_sources<'a>(
    texts: &Texts,
    row_of: impl Fn(usize) -> RowAt<'a>,
) -> Result<Vec<Source>, InputError> {
    let known: Vec<Option<Source>> =
        texts.distinct.iter().map(|name| Source::parse(name)).collect();
    let rows = texts.numbers.iter().enumerate();
    rows.map(|(row, number)| match known.get(*number as usize) {
        None => Ok(Source::Stream),
        Some(Some(source)) => Ok(*source),
        Some(None) => {
            let name = texts.get(row).map(|name| name.to_string()).unwrap_or_default();
            let invalid = InvalidCandle {
                field: "source",
                value: Value::Text(name),
                fault: Fault::UnknownSource,
            };
            Err(row_of(row).error(invalid))
        }
    })
    .collect()
}

/// The closed bars of a frame: columns symbol, open_time, close.
///
/// # Errors
/// A column that is missing or of a wrong type, or the first row that is not valid.
pub fn read_bars(frame: &Frame) -> Result<Vec<PastBar>, InputError> {
    const NEEDED: &str = "give a column for each of symbol, open_time and close";
    let symbols = column::texts("symbol", frame.need("symbol", NEEDED)?)?;
    let times = column::times("open_time", frame.need("open_time", NEEDED)?)?;
    let closes = column::floats("close", frame.need("close", NEEDED)?)?;
    let row_of = |row: usize| RowAt { row, symbols: &symbols, open_time: &times.ms };
    check_symbols(&symbols, row_of)?;
    let read = |row: usize| {
        let symbol = symbols.get(row).cloned().ok_or_else(|| row_of(row).missing("symbol"))?;
        if times.ms.is_null(row) {
            return Err(row_of(row).missing("open_time"));
        }
        if closes.is_null(row) {
            return Err(row_of(row).missing("close"));
        }
        let (open_time, close) = (times.ms.value(row), closes.value(row));
        if !in_range(open_time) {
            let fault = Fault::OutsideYears;
            return Err(row_of(row).error(InvalidCandle::new("open_time", open_time, fault)));
        }
        if !(close > 0.0 && is_amount(close)) {
            let fault = if close <= 0.0 { Fault::NotPositive } else { Fault::OutsideMagnitude };
            return Err(row_of(row).error(InvalidCandle::new("close", close, fault)));
        }
        Ok(PastBar { symbol, open_time, close })
    };
    if let Some((row, time)) = times.fractional {
        return Err(row_of(row).error(InvalidCandle::new("open_time", time, Fault::Misaligned)));
    }
    (0..frame.len()).map(read).collect()
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
    let times = column::times("triggered_at", frame.need("triggered_at", NEEDED)?)?.ms;
    let states = frame.optional("state", column::texts)?;
    let row_of = |row: usize| RowAt { row, symbols: &symbols, open_time: &times };
    check_symbols(&symbols, row_of)?;
    let read = |row: usize| {
        let symbol = symbols.get(row).cloned().ok_or_else(|| row_of(row).missing("symbol"))?;
        let rule = rules.get(row).ok_or_else(|| row_of(row).missing("rule"))?.to_string();
        if times.is_null(row) {
            return Err(row_of(row).missing("triggered_at"));
        }
        let triggered_at = times.value(row);
        if !in_range(triggered_at) {
            let fault = Fault::OutsideYears;
            return Err(row_of(row).error(InvalidCandle::new("triggered_at", triggered_at, fault)));
        }
        let state = match states.as_ref().and_then(|states| states.get(row)) {
            None => State::Confirmed,
            Some(name) => State::parse(name).ok_or_else(|| {
                let value = Value::Text(name.to_string());
                row_of(row).error(InvalidCandle {
                    field: "state",
                    value,
                    fault: Fault::UnknownState,
                })
            })?,
        };
        Ok(PastAlert { symbol, rule, triggered_at, state })
    };
    (0..frame.len()).map(read).collect()
}
