//! `screener.Alert`.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::look;
use crate::alert;

/// A rule that held (SPEC 5.4).
#[pyclass(frozen, eq, module = "screener")]
#[derive(PartialEq)]
pub(super) struct Alert(pub(super) alert::Alert);

/// A value as Python has it: counts are integers, what is not ready is `None`.
pub(super) fn value_of<'py>(
    py: Python<'py>,
    is_count: bool,
    value: Option<f64>,
) -> PyResult<Bound<'py, PyAny>> {
    match value.filter(|value| !value.is_nan()) {
        None => Ok(py.None().into_bound(py)),
        Some(count) if is_count => Ok((count as i64).into_pyobject(py)?.into_any()),
        Some(number) => Ok(number.into_pyobject(py)?.into_any()),
    }
}

#[pymethods]
impl Alert {
    /// UUIDv5 of exchange, symbol, rule and time.
    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    /// Close time of the judged candle, or the update's time, ms since the epoch, UTC.
    #[getter]
    fn triggered_at(&self) -> i64 {
        self.0.triggered_at
    }

    /// The exchange.
    #[getter]
    fn exchange(&self) -> &str {
        &self.0.exchange
    }

    /// The symbol.
    #[getter]
    fn symbol(&self) -> &str {
        &self.0.symbol
    }

    /// The rule's name.
    #[getter]
    fn rule(&self) -> &str {
        &self.0.rule
    }

    /// The rule's timeframe, such as `5m`.
    #[getter]
    fn timeframe(&self) -> String {
        self.0.timeframe.to_string()
    }

    /// Last close.
    #[getter]
    fn price(&self) -> f64 {
        self.0.price
    }

    /// Quote volume over the timeframe.
    #[getter]
    fn quote_volume(&self) -> Option<f64> {
        self.0.quote_volume
    }

    /// Change over the timeframe in %.
    #[getter]
    fn change(&self) -> Option<f64> {
        self.0.change
    }

    /// Volume-weighted close position over the timeframe.
    #[getter]
    fn vcp(&self) -> Option<f64> {
        self.0.vcp
    }

    /// `confirmed`, `provisional` or `withdrawn`.
    #[getter]
    fn state(&self) -> &'static str {
        self.0.state.name()
    }

    /// First 16 hex digits of SHA-256 over the rule's canonical text.
    #[getter]
    fn rule_version(&self) -> &str {
        &self.0.rule_version
    }

    /// All that the rule names, with its value; for a rule that asks something of all symbols also
    /// how many `members` there were.
    #[getter]
    fn evidence<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let evidence = PyDict::new(py);
        for (term, value) in &self.0.evidence {
            evidence.set_item(term.to_string(), value_of(py, term.is_count(), *value)?)?;
        }
        if let Some(among) = &self.0.among {
            evidence.set_item("members", among.count)?;
        }
        Ok(evidence)
    }

    /// For a rule that asks something of all symbols: those that had not closed the minute in time.
    #[getter]
    fn absent(&self) -> Vec<&str> {
        let absent = self.0.among.iter().flat_map(|among| &among.absent);
        absent.map(|name| &**name).collect()
    }

    /// All fields by name.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("id", self.id())?;
        fields.set_item("triggered_at", self.triggered_at())?;
        fields.set_item("exchange", self.exchange())?;
        fields.set_item("symbol", self.symbol())?;
        fields.set_item("rule", self.rule())?;
        fields.set_item("timeframe", self.timeframe())?;
        fields.set_item("price", self.price())?;
        fields.set_item("quote_volume", self.quote_volume())?;
        fields.set_item("change", self.change())?;
        fields.set_item("vcp", self.vcp())?;
        fields.set_item("state", self.state())?;
        fields.set_item("rule_version", self.rule_version())?;
        fields.set_item("evidence", self.evidence(py)?)?;
        Ok(fields)
    }

    fn __repr__(&self) -> String {
        let alert::Alert { symbol, rule, triggered_at, price, state, .. } = &self.0;
        let state = state.name();
        format!("Alert({symbol} {rule} at {triggered_at}, price={price:?}, {state})")
    }

    fn __hash__(&self) -> u64 {
        self.0.id.as_u64_pair().0
    }

    /// The same for a notebook.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        look::call(slf.py(), "alert_html", (slf,))
    }
}
