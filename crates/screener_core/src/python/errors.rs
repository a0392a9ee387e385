//! The one mapping of the core's errors to Python's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::candle::{InvalidCandle, Value};
use crate::frame::column::FrameError;
use crate::frame::input::{InputError, InvalidRow};
use crate::guard::Poisoned;
use crate::rule::InvalidRules;
use crate::state::StateError;

/// An error class of `screener.errors`, called with keyword arguments.
fn raise<'py>(py: Python<'py>, class: &str, fields: &Bound<'py, PyDict>) -> PyErr {
    let made = py
        .import("screener.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| Ok(class.cast_into::<PyType>()?))
        .and_then(|class| class.call((), Some(fields)));
    made.map_or_else(|error| error, PyErr::from_value)
}

macro_rules! fields {
    ($py:expr, $($name:ident = $value:expr),+ $(,)?) => {{
        let fields = PyDict::new($py);
        // A dictionary with string keys takes any value; a failure would surface in the call.
        $(let _ = fields.set_item(stringify!($name), $value);)+
        fields
    }};
}

fn value_of(py: Python<'_>, value: &Value) -> PyResult<Py<PyAny>> {
    Ok(match value {
        Value::Missing => py.None(),
        Value::Integer(value) => value.into_pyobject(py)?.into_any().unbind(),
        Value::Unsigned(value) => value.into_pyobject(py)?.into_any().unbind(),
        Value::Number(value) => value.into_pyobject(py)?.into_any().unbind(),
        Value::Text(value) => value.into_pyobject(py)?.into_any().unbind(),
    })
}

/// `CandleError` for a row of a frame.
pub(super) fn invalid_row(py: Python<'_>, error: &InvalidRow) -> PyErr {
    let InvalidRow { row, symbol, open_time, invalid } = error;
    invalid_candle(py, invalid, Some(*row), symbol.as_deref(), *open_time)
}

/// `CandleError` for a candle.
pub(super) fn invalid_candle(
    py: Python<'_>,
    invalid: &InvalidCandle,
    row: Option<usize>,
    symbol: Option<&str>,
    open_time: Option<i64>,
) -> PyErr {
    let InvalidCandle { field, value, fault } = invalid;
    let value = match value_of(py, value) {
        Ok(value) => value,
        Err(error) => return error,
    };
    candle_error(py, &fault.to_string(), row, symbol, open_time, field, value)
}

/// `CandleError` about a value that may be any object.
pub(super) fn candle_error(
    py: Python<'_>,
    reason: &str,
    row: Option<usize>,
    symbol: Option<&str>,
    open_time: Option<i64>,
    field: &str,
    value: Py<PyAny>,
) -> PyErr {
    let fields = fields!(
        py,
        reason = reason,
        row = row,
        symbol = symbol,
        open_time = open_time,
        field = field,
        value = value
    );
    raise(py, "CandleError", &fields)
}

/// `DataError`.
pub(super) fn data_error(
    py: Python<'_>,
    reason: &str,
    column: Option<&str>,
    remedy: Option<&str>,
) -> PyErr {
    raise(py, "DataError", &fields!(py, reason = reason, column = column, remedy = remedy))
}

/// `UnknownSymbolError`.
pub(super) fn unknown_symbol(py: Python<'_>, symbol: &str, suggestion: Option<&str>) -> PyErr {
    raise(py, "UnknownSymbolError", &fields!(py, symbol = symbol, suggestion = suggestion))
}

/// What cannot be taken of a frame.
pub(super) fn input_error(py: Python<'_>, error: &InputError) -> PyErr {
    let frame = match error {
        InputError::Row(row) => return invalid_row(py, row),
        InputError::Frame(frame) => frame,
    };
    let (column, remedy) = match frame {
        FrameError::MissingColumn { column, remedy } => (Some(*column), Some(*remedy)),
        FrameError::ColumnType { column, .. } => (Some(*column), None),
        FrameError::TooManyRows { .. } | FrameError::Arrow { .. } => (None, None),
    };
    data_error(py, &frame.to_string(), column, remedy)
}

/// `RuleError`.
pub(super) fn invalid_rules(py: Python<'_>, error: &InvalidRules) -> PyErr {
    let fields = fields!(
        py,
        reason = error.fault.to_string(),
        rule = error.rule.as_deref(),
        field = error.field,
        position = error.position,
        line = error.line,
        column = error.column,
        suggestion = error.fault.suggestion()
    );
    raise(py, "RuleError", &fields)
}

/// `RuleError` about a set of rules rather than a place in a text.
pub(super) fn rule_error(
    py: Python<'_>,
    reason: &str,
    rule: Option<&str>,
    suggestion: Option<&str>,
) -> PyErr {
    raise(py, "RuleError", &fields!(py, reason = reason, rule = rule, suggestion = suggestion))
}

/// `StateError` for a blob.
pub(super) fn state_error(py: Python<'_>, error: &StateError) -> PyErr {
    let remedy = match error {
        StateError::Foreign => "give the bytes that Engine.save() returned",
        StateError::Version { .. } => {
            "start a new engine and warm it up from candles, or load it with the version that saved it"
        }
        _ => "start a new engine and warm it up from candles",
    };
    raise(py, "StateError", &fields!(py, reason = error.to_string(), remedy = remedy))
}

/// `StateError` for an engine that a panic has interrupted.
pub(super) fn poisoned(py: Python<'_>, error: Poisoned) -> PyErr {
    let remedy =
        "load the last saved state or start a new engine; please report what was given to it";
    raise(py, "StateError", &fields!(py, reason = error.to_string(), remedy = remedy))
}

/// Runs what has no state to lose; a panic becomes an ordinary exception.
pub(super) fn calmly<T>(py: Python<'_>, action: impl FnOnce() -> T) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|_| {
        let remedy = "please report what was given to it";
        let reason = "an internal error interrupted this call";
        raise(py, "StateError", &fields!(py, reason = reason, remedy = remedy))
    })
}

/// `ValueError` for an argument that is none of the words it can be.
pub(super) fn not_a_choice(argument: &str, given: &str, choices: &[&str]) -> PyErr {
    let choices: Vec<String> = choices.iter().map(|choice| format!("{choice:?}")).collect();
    let choices = choices.join(" or ");
    pyo3::exceptions::PyValueError::new_err(format!("{argument}={given:?}: use {choices}"))
}
