//! Why a rule holds or does not: every clause with its two values.

use std::fmt;

use super::bindings::{Bindings, NotFollowed};
use super::compile::Code;
use super::expr::{Comparison, Expr};
use super::term::Term;
use super::{CompiledRule, Rule, RuleSet};
use crate::time::Minute;

/// One clause of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// The clause, canonical.
    pub text: String,
    /// `when` or `floor`.
    pub part: &'static str,
    /// For a comparison: left value, operator, right value; a value is `None` while a metric in it
    /// is not ready, or when it is not finite.
    pub values: Option<(Option<f64>, Comparison, Option<f64>)>,
    /// Whether it holds; `None` when that cannot be said.
    pub held: Option<bool>,
}

/// A rule's truth table for one row of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The rule's name.
    pub rule: String,
    /// Whether the rule holds.
    pub holds: bool,
    /// The clauses that are read, `when` first.
    pub clauses: Vec<Clause>,
    /// What the rule needs and that is not ready.
    pub not_ready: Vec<Term>,
}

impl RuleSet {
    /// The rules that hold for metrics looked up by name, in the order of the set, as they are for
    /// `symbol` if one is given. Minutes that are pending are the engine's to know; here metrics
    /// are taken as they are, and for how long a rule has held is not asked.
    #[must_use]
    pub fn evaluate(
        &self,
        symbol: Option<&str>,
        lookup: impl Fn(&Term) -> Option<f64>,
    ) -> Vec<&str> {
        let values = self.row_of(lookup);
        let rules = self.rules.iter().zip(&self.compiled);
        let holding = rules.filter(|(rule, compiled)| {
            let (rule, compiled) = variant(rule, compiled, symbol);
            rule.enabled && compiled.is_some_and(|one| one.program.holds(&values, Minute::MAX))
        });
        holding.map(|(rule, _)| rule.name.as_str()).collect()
    }

    /// The truth table of the rule called `name` for metrics looked up by name, as it is for
    /// `symbol` if one is given; `None` when the set has no such rule.
    #[must_use]
    pub fn explain(
        &self,
        name: &str,
        symbol: Option<&str>,
        lookup: impl Fn(&Term) -> Option<f64>,
    ) -> Option<Explanation> {
        let index = self.rules.iter().position(|rule| rule.name == name)?;
        let (rule, compiled) = variant(self.rules.get(index)?, self.compiled.get(index)?, symbol);
        let values = self.row_of(lookup);
        let mut clauses = Vec::new();
        for (part, condition) in ["when", "floor"].into_iter().zip(rule.conditions(self.floors)) {
            for clause in condition.clauses() {
                clauses.push(explain_clause(part, clause, &self.bindings, &values).ok()?);
            }
        }
        let missing =
            |term: &Term| self.bindings.slot(term).map_or(true, |slot| slot.of(&values).is_nan());
        Some(Explanation {
            rule: rule.name.clone(),
            holds: compiled?.program.holds(&values, Minute::MAX),
            clauses,
            not_ready: rule.needed(self.floors).into_iter().filter(missing).collect(),
        })
    }

    /// A row of the values that the rules name; what is missing or not finite is not ready.
    fn row_of(&self, lookup: impl Fn(&Term) -> Option<f64>) -> Vec<f64> {
        let mut values = self.bindings.row();
        for term in self.compiled.iter().flatten().flat_map(|rule| &rule.named) {
            let value = lookup(term).filter(|value| value.is_finite());
            if let (Ok(slot), Some(value)) = (self.bindings.slot(term), value) {
                slot.put(value, &mut values);
            }
        }
        values
    }
}

/// A rule as it is for a symbol, and what was compiled of it.
fn variant<'a>(
    rule: &'a Rule,
    compiled: &'a [CompiledRule],
    symbol: Option<&str>,
) -> (&'a Rule, Option<&'a CompiledRule>) {
    let place = symbol.map_or(0, |symbol| rule.variant_for(symbol));
    (rule.variants().nth(place).unwrap_or(rule), compiled.get(place))
}

fn explain_clause(
    part: &'static str,
    clause: &Expr,
    bindings: &Bindings,
    values: &[f64],
) -> Result<Clause, NotFollowed> {
    let value = |expr: &Expr| Code::compile(expr, bindings).map(|code| code.run(values));
    let sides = match clause {
        Expr::Compare(comparison, left, right) => Some((value(left)?, *comparison, value(right)?)),
        _ => None,
    };
    let held = value(clause)?.map(|truth| truth != 0.0);
    Ok(Clause { text: clause.to_string(), part, values: sides, held })
}

/// A number as short as it can be told apart at a glance: six significant digits.
struct Short(Option<f64>);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0 else { return f.pad("not ready") };
        let whole_digits = value.abs().max(1.0).log10().floor() as usize + 1;
        let decimals = 6_usize.saturating_sub(whole_digits);
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        f.pad(text)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "holds" } else { "does not hold" };
        writeln!(f, "{}: {verdict}", self.rule)?;
        let width =
            self.clauses.iter().map(|clause| clause.text.chars().count()).max().unwrap_or(0);
        for clause in &self.clauses {
            let mark = match clause.held {
                Some(true) => "yes",
                Some(false) => "no",
                None => "?",
            };
            write!(f, "  {mark:<4}{:<6}{:<width$}", clause.part, clause.text)?;
            if let Some((left, comparison, right)) = &clause.values {
                let (left, right) = (Short(*left), Short(*right));
                write!(f, "  {left:>12} {:<2} {right}", comparison.symbol())?;
            }
            writeln!(f)?;
        }
        if !self.not_ready.is_empty() {
            let names: Vec<String> = self.not_ready.iter().map(Term::to_string).collect();
            writeln!(f, "  not ready: {}", names.join(", "))?;
        }
        Ok(())
    }
}
