//! `screener.RuleSet`, its rules and explanations.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::{errors, look};
use crate::rule::term::Term;
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

    /// The names of the rules that hold for a mapping of metrics, as they are for `symbol`.
    #[pyo3(signature = (metrics, *, symbol=None))]
    fn evaluate(&self, metrics: &Bound<'_, PyAny>, symbol: Option<&str>) -> PyResult<Vec<&str>> {
        let values = Values::read(metrics)?;
        Ok(self.0.evaluate(symbol, |term| values.get(term)))
    }

    /// Each clause of a rule with its two values for a mapping of metrics, and whether it holds, as
    /// the rule is for `symbol`.
    #[pyo3(signature = (rule, metrics, *, symbol=None))]
    fn explain(
        &self,
        rule: &str,
        metrics: &Bound<'_, PyAny>,
        symbol: Option<&str>,
    ) -> PyResult<Explanation> {
        let py = metrics.py();
        let values = Values::read(metrics)?;
        let explained = self.0.explain(rule, symbol, |term| values.get(term));
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
struct Values(Vec<(Term, f64)>);

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
            let Some(term) = Term::parse(&name) else { continue };
            let value = value.extract::<f64>().map_err(|_| {
                let reason = format!("metric {name:?} is not a number");
                errors::data_error(py, &reason, Some(&name), None)
            })?;
            values.push((term, value));
        }
        Ok(Self(values))
    }

    fn get(&self, term: &Term) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == term).map(|(_, value)| *value)
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

    /// Every metric that is read, and what else is, each once.
    #[getter]
    fn metrics(&self) -> Vec<String> {
        self.rule.terms(self.floors).iter().map(Term::to_string).collect()
    }

    /// So long it has to have held, ms.
    #[getter]
    fn hold(&self) -> i64 {
        self.rule.manner.hold
    }

    /// `cooldown`: at every moment it holds; `edge`: once each time it begins to hold.
    #[getter]
    fn trigger(&self) -> &'static str {
        self.rule.manner.trigger.name()
    }

    /// With an edge: what ends it, canonical.
    #[getter]
    fn clear_when(&self) -> Option<String> {
        self.rule.manner.clear_when.as_ref().map(ToString::to_string)
    }

    /// With an edge: told again after so long, ms.
    #[getter]
    fn repeat(&self) -> Option<i64> {
        self.rule.manner.repeat
    }

    /// Not told from this time on, ms since the epoch.
    #[getter]
    fn expires(&self) -> Option<i64> {
        self.rule.manner.expires
    }

    /// Parts of the day at which it is not told.
    #[getter]
    fn quiet_hours(&self) -> Vec<String> {
        self.rule.manner.quiet_hours.iter().map(ToString::to_string).collect()
    }

    /// Most alerts of one symbol in any hour.
    #[getter]
    fn max_per_hour(&self) -> Option<u16> {
        self.rule.manner.max_per_hour
    }

    /// Whether it is judged at all.
    #[getter]
    fn enabled(&self) -> bool {
        self.rule.enabled
    }

    /// Whether its alerts are only kept and scored.
    #[getter]
    fn shadow(&self) -> bool {
        self.rule.shadow
    }

    /// Whether it asks something of all symbols.
    #[getter]
    fn among_all(&self) -> bool {
        self.rule.is_among(self.floors)
    }

    /// For which symbols it is another rule, as patterns; the last that matches a symbol counts.
    #[getter]
    fn overrides(&self) -> Vec<(Vec<String>, Self)> {
        let of = |other: &rule::Override| {
            let symbols = other.symbols.iter().map(ToString::to_string).collect();
            (symbols, Self { rule: other.rule.clone(), floors: self.floors })
        };
        self.rule.overrides.iter().map(of).collect()
    }

    /// The rule as it is for a symbol.
    fn for_symbol(&self, symbol: &str) -> Self {
        Self { rule: self.rule.for_symbol(symbol).clone(), floors: self.floors }
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
        self.0.not_ready.iter().map(Term::to_string).collect()
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
