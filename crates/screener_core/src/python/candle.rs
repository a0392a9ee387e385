//! `screener.Candle`, and candles out of mappings.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyString};

use super::errors;
use crate::candle::{self, Fault, Source};
use crate::time::MINUTE_MS;

/// One minute of one symbol (SPEC 1).
#[pyclass(frozen, eq, module = "screener", from_py_object)]
#[derive(Clone, PartialEq)]
pub(super) struct Candle {
    pub(super) symbol: String,
    pub(super) inner: candle::Candle,
}

#[pymethods]
impl Candle {
    #[new]
    #[pyo3(signature = (
        symbol, open_time, open, high, low, close, volume, quote_volume, *, trades=None,
        taker_buy_volume=None, taker_buy_quote_volume=None, closed=true, event_time=None,
        source="stream"
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        symbol: String,
        open_time: i64,
        open: f64,
        high: f64,
        low: f64,
        close: f64,
        volume: f64,
        quote_volume: f64,
        trades: Option<f64>,
        taker_buy_volume: Option<f64>,
        taker_buy_quote_volume: Option<f64>,
        closed: bool,
        event_time: Option<i64>,
        source: &str,
    ) -> PyResult<Self> {
        let source = Source::parse(source).ok_or_else(|| {
            let reason = Fault::UnknownSource.to_string();
            let value = PyString::new(py, source).into_any().unbind();
            errors::candle_error(
                py,
                &reason,
                Some(0),
                Some(&symbol),
                Some(open_time),
                "source",
                value,
            )
        })?;
        let inner = candle::Candle {
            open_time,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            trades,
            taker_buy_volume,
            taker_buy_quote_volume,
            closed,
            event_time,
            source,
        };
        Ok(Self { symbol, inner })
    }

    /// The symbol.
    #[getter]
    fn symbol(&self) -> &str {
        &self.symbol
    }

    /// Start of the minute, ms since the epoch, UTC.
    #[getter]
    fn open_time(&self) -> i64 {
        self.inner.open_time
    }

    /// End of the minute, ms since the epoch, UTC.
    #[getter]
    fn close_time(&self) -> i64 {
        self.inner.open_time.saturating_add(MINUTE_MS)
    }

    /// First price.
    #[getter]
    fn open(&self) -> f64 {
        self.inner.open
    }

    /// Highest price.
    #[getter]
    fn high(&self) -> f64 {
        self.inner.high
    }

    /// Lowest price.
    #[getter]
    fn low(&self) -> f64 {
        self.inner.low
    }

    /// Last price.
    #[getter]
    fn close(&self) -> f64 {
        self.inner.close
    }

    /// Traded amount of the base asset.
    #[getter]
    fn volume(&self) -> f64 {
        self.inner.volume
    }

    /// Traded amount of the quote asset.
    #[getter]
    fn quote_volume(&self) -> f64 {
        self.inner.quote_volume
    }

    /// Number of trades, if known.
    #[getter]
    fn trades(&self) -> Option<f64> {
        self.inner.trades
    }

    /// Base volume bought by takers, if known.
    #[getter]
    fn taker_buy_volume(&self) -> Option<f64> {
        self.inner.taker_buy_volume
    }

    /// Quote volume bought by takers, if known.
    #[getter]
    fn taker_buy_quote_volume(&self) -> Option<f64> {
        self.inner.taker_buy_quote_volume
    }

    /// Whether the minute is over.
    #[getter]
    fn closed(&self) -> bool {
        self.inner.closed
    }

    /// When the exchange made this version, ms since the epoch, if known.
    #[getter]
    fn event_time(&self) -> Option<i64> {
        self.inner.event_time
    }

    /// `stream`, `rest`, `archive` or `synthetic`.
    #[getter]
    fn source(&self) -> &'static str {
        self.inner.source.name()
    }

    fn __repr__(&self) -> String {
        let candle::Candle { open_time, open, high, low, close, volume, .. } = self.inner;
        format!(
            "Candle({:?}, open_time={open_time}, open={open:?}, high={high:?}, low={low:?}, \
             close={close:?}, volume={volume:?}, closed={})",
            self.symbol,
            if self.inner.closed { "True" } else { "False" },
        )
    }
}

/// A candle out of a mapping with the names of SPEC 1.
pub(super) fn of_mapping<'py>(
    given: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyString>, candle::Candle)> {
    let py = given.py();
    if given.cast::<PyDict>().is_err() && !given.hasattr(intern!(py, "keys"))? {
        let value = given.clone().unbind();
        let reason = "is neither a screener.Candle nor a mapping with a candle's fields";
        return Err(errors::candle_error(py, reason, Some(0), None, None, "candle", value));
    }
    let mut fields = Fields { given, symbol: None, open_time: None };
    let symbol = fields.need("symbol", intern!(py, "symbol"))?;
    let symbol = symbol
        .cast_into::<PyString>()
        .map_err(|e| fields.wrong_type("symbol", e.into_inner(), "a string"))?;
    fields.symbol = symbol.to_str().map(str::to_owned).ok();
    if fields.symbol.is_none() {
        return Err(fields.wrong_type("symbol", symbol.into_any(), "text that UTF-8 can hold"));
    }
    let open_time = fields.need("open_time", intern!(py, "open_time"))?;
    let open_time = fields.integer("open_time", open_time)?;
    fields.open_time = Some(open_time);
    let number =
        |name: &'static str, key| fields.need(name, key).and_then(|v| fields.number(name, v));
    let maybe = |name: &'static str, key| {
        fields.find(key)?.map(|value| fields.number(name, value)).transpose()
    };
    let candle = candle::Candle {
        open_time,
        open: number("open", intern!(py, "open"))?,
        high: number("high", intern!(py, "high"))?,
        low: number("low", intern!(py, "low"))?,
        close: number("close", intern!(py, "close"))?,
        volume: number("volume", intern!(py, "volume"))?,
        quote_volume: number("quote_volume", intern!(py, "quote_volume"))?,
        trades: maybe("trades", intern!(py, "trades"))?,
        taker_buy_volume: maybe("taker_buy_volume", intern!(py, "taker_buy_volume"))?,
        taker_buy_quote_volume: maybe(
            "taker_buy_quote_volume",
            intern!(py, "taker_buy_quote_volume"),
        )?,
        closed: fields
            .find(intern!(py, "closed"))?
            .map_or(Ok(true), |v| fields.truth("closed", v))?,
        event_time: fields
            .find(intern!(py, "event_time"))?
            .map(|value| fields.integer("event_time", value))
            .transpose()?,
        source: fields
            .find(intern!(py, "source"))?
            .map_or(Ok(Source::Stream), |value| fields.source(value))?,
    };
    Ok((symbol, candle))
}

/// The fields of a mapping, read one by one.
struct Fields<'a, 'py> {
    given: &'a Bound<'py, PyAny>,
    symbol: Option<String>,
    open_time: Option<i64>,
}

impl<'py> Fields<'_, 'py> {
    /// A field's value; `None` when it is not there or is `None`.
    fn find(&self, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let found = match self.given.cast::<PyDict>() {
            Ok(dict) => dict.get_item(key)?,
            Err(_) => match self.given.get_item(key) {
                Err(error) if error.is_instance_of::<pyo3::exceptions::PyKeyError>(key.py()) => {
                    None
                }
                found => Some(found?),
            },
        };
        Ok(found.filter(|value| !value.is_none()))
    }

    fn need(&self, name: &'static str, key: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.find(key)?.ok_or_else(|| {
            let py = self.given.py();
            let mut reason = Fault::Missing.to_string();
            if name == "quote_volume" {
                reason += ": where it is not known give volume * (high + low + close) / 3";
            }
            self.error(&reason, name, py.None())
        })
    }

    fn number(&self, name: &'static str, value: Bound<'py, PyAny>) -> PyResult<f64> {
        if let Ok(float) = value.cast::<PyFloat>() {
            return Ok(float.value());
        }
        let number = if is_truth(&value)? { None } else { value.extract::<f64>().ok() };
        number.ok_or_else(|| self.wrong_type(name, value, "a number"))
    }

    fn integer(&self, name: &'static str, value: Bound<'py, PyAny>) -> PyResult<i64> {
        const EXPECTED: &str = "a whole number of milliseconds since 1970, UTC";
        let number = if is_truth(&value)? { None } else { value.extract::<i64>().ok() };
        number.ok_or_else(|| self.wrong_type(name, value, EXPECTED))
    }

    fn truth(&self, name: &'static str, value: Bound<'py, PyAny>) -> PyResult<bool> {
        match value.cast::<PyBool>() {
            Ok(truth) => Ok(truth.is_true()),
            Err(_) => {
                value.extract::<bool>().map_err(|_| self.wrong_type(name, value, "True or False"))
            }
        }
    }

    fn source(&self, value: Bound<'py, PyAny>) -> PyResult<Source> {
        let name = value.extract::<String>().unwrap_or_default();
        Source::parse(&name)
            .ok_or_else(|| self.error(&Fault::UnknownSource.to_string(), "source", value.unbind()))
    }

    fn wrong_type(&self, name: &str, value: Bound<'py, PyAny>, expected: &'static str) -> PyErr {
        self.error(&Fault::WrongType { expected }.to_string(), name, value.unbind())
    }

    fn error(&self, reason: &str, field: &str, value: Py<PyAny>) -> PyErr {
        let (py, symbol) = (self.given.py(), self.symbol.as_deref());
        errors::candle_error(py, reason, Some(0), symbol, self.open_time, field, value)
    }
}

/// Whether a value is true or false, which Python would take for 1 or 0 (numpy's too).
fn is_truth(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.cast::<PyBool>().is_ok() {
        return Ok(true);
    }
    let name = value.get_type().name()?;
    Ok(name == "bool" || name == "bool_")
}
