//! `screener.RuleSet`, its rules and explanations.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::{errors, look};
use crate::metrics::Metric;
use crate::rule::{self, explain, preset as presets_of};

/// Rules that are judged together.
#[pyclass(frozen, eq, module = "screener", from_py_object)]
#[derive(Clone, PartialEq)]
pub(super) struct RuleSet(pub(super) rule::RuleSet);

/// The names of the rule sets that come with the package.
#[pyfunction]
pub(super) fn presets() -> Vec<&'static str> {
    presets_of::NAMES.to_vec()
}

/// The TOML text of the preset called `name`.
#[pyfunction]
pub(super) fn preset(py: Python<'_>, name: &str) -> PyResult<&'static str> {
    presets_of::text(name).ok_or_else(|| unknown_preset(py, name))
}

fn unknown_preset(py: Python<'_>, name: &str) -> PyErr {
    let names = presets_of::NAMES.map(str::to_owned);
    let suggestion = rule::parse::nearest(name, names);
    let reason = format!(
        "there is no rule set {name:?}: use one of {}, or a path that ends with .toml",
        presets_of::NAMES.join(", ")
    );
    errors::rule_error(py, &reason, None, suggestion.as_deref())
}

/// Rules as a caller may name them: a rule set, a preset or a path.
pub(super) fn resolve(
    py: Python<'_>,
    given: &Bound<'_, PyAny>,
    floors: bool,
) -> PyResult<rule::RuleSet> {
    if let Ok(rules) = given.cast::<RuleSet>() {
        if floors && !rules.get().0.floors() {
            let reason = "floors=True has no effect on a RuleSet: load it with floors=True";
            return Err(errors::rule_error(py, reason, None, None));
        }
        return Ok(rules.get().0.clone());
    }
    load(py, given, floors)
}

fn load(py: Python<'_>, given: &Bound<'_, PyAny>, floors: bool) -> PyResult<rule::RuleSet> {
    let path = given.extract::<PathBuf>().map_err(|_| {
        let reason = "rules are a RuleSet, the name of a preset, or the path of a .toml file";
        errors::rule_error(py, reason, None, None)
    })?;
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if !is_toml {
        let name = path.to_string_lossy();
        let text = presets_of::text(&name).ok_or_else(|| unknown_preset(py, &name))?;
        return parse(py, text, floors);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let reason = format!("the rules of {} cannot be read: {error}", path.display());
        errors::rule_error(py, &reason, None, None)
    })?;
    parse(py, &text, floors)
}

fn parse(py: Python<'_>, text: &str, floors: bool) -> PyResult<rule::RuleSet> {
    let parsed = errors::calmly(py, || rule::RuleSet::parse(text, floors))?;
    parsed.map_err(|error| errors::invalid_rules(py, &error))
}

#[pymethods]
impl RuleSet {
    /// The rules of a preset (`futures`, `classic`) or of a `.toml` file.
    #[staticmethod]
    #[pyo3(name = "load", signature = (rules, *, floors=false))]
    fn load_rules(rules: &Bound<'_, PyAny>, floors: bool) -> PyResult<Self> {
        load(rules.py(), rules, floors).map(Self)
    }

    /// The rules of a TOML text.
    #[staticmethod]
    #[pyo3(name = "parse", signature = (text, *, floors=false))]
    fn parse_text(text: &Bound<'_, PyString>, floors: bool) -> PyResult<Self> {
        let py = text.py();
        let Ok(text) = text.to_str() else {
            return Err(errors::rule_error(
                py,
                "the text has characters UTF-8 cannot hold",
                None,
                None,
            ));
        };
        parse(py, text, floors).map(Self)
    }

    /// Whether floors are on.
    #[getter]
    fn floors(&self) -> bool {
        self.0.floors()
    }

    /// The rules' names, in their order.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.0.rules().iter().map(|rule| rule.name.as_str()).collect()
    }

    /// The names of the rules that hold for a mapping of metrics.
    fn evaluate(&self, metrics: &Bound<'_, PyAny>) -> PyResult<Vec<&str>> {
        let values = Values::read(metrics)?;
        Ok(self.0.evaluate(|metric| values.get(metric)))
    }

    /// Each clause of a rule with its two values for a mapping of metrics, and whether it holds.
    fn explain(&self, rule: &str, metrics: &Bound<'_, PyAny>) -> PyResult<Explanation> {
        let py = metrics.py();
        let values = Values::read(metrics)?;
        let explained = self.0.explain(rule, |metric| values.get(metric));
        explained.map(Explanation).ok_or_else(|| self.unknown(py, rule))
    }

    /// The rules as TOML.
    fn to_toml(&self) -> String {
        self.0.to_string()
    }

    fn __getitem__(&self, py: Python<'_>, name: &str) -> PyResult<Rule> {
        let rule = self.0.get(name).ok_or_else(|| self.unknown(py, name))?;
        Ok(Rule { rule: rule.clone(), floors: self.0.floors() })
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<String>().is_ok_and(|name| self.0.get(&name).is_some())
    }

    fn __len__(&self) -> usize {
        self.0.rules().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let floors = self.0.floors();
        let rules = self.0.rules().iter().map(|rule| Rule { rule: rule.clone(), floors });
        let rules = rules.map(|rule| Py::new(py, rule)).collect::<PyResult<Vec<_>>>()?;
        Ok(rules.into_pyobject(py)?.try_iter()?.into_any())
    }

    fn __repr__(&self) -> String {
        let floors = if self.0.floors() { "on" } else { "off" };
        format!("RuleSet({}; floors {floors})", self.names().join(", "))
    }

    /// The same for a notebook.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        look::call(slf.py(), "rules_html", (slf,))
    }
}

impl RuleSet {
    fn unknown(&self, py: Python<'_>, name: &str) -> PyErr {
        let reason = format!("there is no rule {name:?}");
        errors::rule_error(py, &reason, None, self.0.nearest(name).as_deref())
    }
}

/// The values of the metrics that rules name, out of any mapping.
struct Values(Vec<(Metric, f64)>);

impl Values {
    fn read(metrics: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = metrics.py();
        let dict = match metrics.cast::<PyDict>() {
            Ok(dict) => dict.clone(),
            Err(_) if metrics.cast::<PyMapping>().is_ok() => {
                let dict = PyDict::new(py);
                dict.update(metrics.cast::<PyMapping>()?)?;
                dict
            }
            Err(_) => {
                let reason =
                    "metrics are a mapping of names to values, such as engine.metrics(symbol)";
                return Err(errors::data_error(py, reason, None, None));
            }
        };
        let mut values = Vec::with_capacity(dict.len());
        for (name, value) in &dict {
            let name: String = name.extract()?;
            if value.is_none() {
                continue;
            }
            let Some(metric) = Metric::parse(&name) else { continue };
            let value = value.extract::<f64>().map_err(|_| {
                let reason = format!("metric {name:?} is not a number");
                errors::data_error(py, &reason, Some(&name), None)
            })?;
            values.push((metric, value));
        }
        Ok(Self(values))
    }

    fn get(&self, metric: Metric) -> Option<f64> {
        self.0.iter().find(|(known, _)| *known == metric).map(|(_, value)| *value)
    }
}

/// One rule.
#[pyclass(frozen, eq, module = "screener")]
#[derive(PartialEq)]
pub(super) struct Rule {
    rule: rule::Rule,
    floors: bool,
}

#[pymethods]
impl Rule {
    /// What it is called in alerts.
    #[getter]
    fn name(&self) -> &str {
        &self.rule.name
    }

    /// What people call it.
    #[getter]
    fn title(&self) -> &str {
        &self.rule.title
    }

    /// The window whose price, volume, change and position an alert tells.
    #[getter]
    fn timeframe(&self) -> String {
        self.rule.timeframe.to_string()
    }

    /// The rule itself, canonical.
    #[getter]
    fn when(&self) -> String {
        self.rule.when.to_string()
    }

    /// The guards, canonical, whether or not they are on.
    #[getter]
    fn floor(&self) -> Option<String> {
        self.rule.floor.as_ref().map(ToString::to_string)
    }

    /// Shortest time between two alerts of a symbol, ms.
    #[getter]
    fn cooldown(&self) -> i64 {
        self.rule.cooldown
    }

    /// `low`, `medium` or `high`.
    #[getter]
    fn severity(&self) -> &'static str {
        self.rule.severity.name()
    }

    /// `up`, `down` or `flat`.
    #[getter]
    fn direction(&self) -> &'static str {
        self.rule.direction.name()
    }

    /// Every metric that is read, each once.
    #[getter]
    fn metrics(&self) -> Vec<String> {
        self.rule.metrics(self.floors).iter().map(Metric::to_string).collect()
    }

    /// First 16 hex digits of SHA-256 over the canonical text.
    #[getter]
    fn version(&self) -> String {
        self.rule.version(self.floors)
    }

    /// The rule as TOML.
    fn to_toml(&self) -> String {
        self.rule.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Rule({}: {})", self.rule.name, self.rule.when)
    }

    /// The same for a notebook.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        look::call(slf.py(), "rule_html", (slf,))
    }
}

/// A rule's truth table.
#[pyclass(frozen, eq, module = "screener")]
#[derive(PartialEq)]
pub(super) struct Explanation(explain::Explanation);

#[pymethods]
impl Explanation {
    /// The rule's name.
    #[getter]
    fn rule(&self) -> &str {
        &self.0.rule
    }

    /// Whether the rule holds.
    #[getter]
    fn holds(&self) -> bool {
        self.0.holds
    }

    /// The clauses, `when` first.
    #[getter]
    fn clauses(&self) -> Vec<Clause> {
        self.0.clauses.iter().cloned().map(Clause).collect()
    }

    /// Metrics the rule needs and that are not ready.
    #[getter]
    fn not_ready(&self) -> Vec<String> {
        self.0.not_ready.iter().map(Metric::to_string).collect()
    }

    fn __str__(&self) -> String {
        self.0.to_string().trim_end().to_owned()
    }

    fn __repr__(&self) -> String {
        self.__str__()
    }

    /// The same for a notebook.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        look::call(slf.py(), "explanation_html", (slf,))
    }
}

/// One clause of a rule, with its values.
#[pyclass(frozen, eq, module = "screener")]
#[derive(PartialEq)]
pub(super) struct Clause(explain::Clause);

#[pymethods]
impl Clause {
    /// The clause, canonical.
    #[getter]
    fn text(&self) -> &str {
        &self.0.text
    }

    /// `when` or `floor`.
    #[getter]
    fn part(&self) -> &'static str {
        self.0.part
    }

    /// Left value of a comparison; `None` when it is not ready.
    #[getter]
    fn left(&self) -> Option<f64> {
        self.0.values.and_then(|(left, ..)| left)
    }

    /// Operator of a comparison; `None` for any other condition.
    #[getter]
    fn operator(&self) -> Option<&'static str> {
        self.0.values.map(|(_, comparison, _)| comparison.symbol())
    }

    /// Right value of a comparison; `None` when it is not ready.
    #[getter]
    fn right(&self) -> Option<f64> {
        self.0.values.and_then(|(.., right)| right)
    }

    /// Whether it holds; `None` when that cannot be said.
    #[getter]
    fn held(&self) -> Option<bool> {
        self.0.held
    }

    fn __repr__(&self) -> String {
        format!("Clause({}: {:?})", self.0.text, self.0.held)
    }
}
