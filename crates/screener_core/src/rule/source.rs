//! Rules as TOML: reading with positions, and writing back.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::expr::Expr;
use super::parse::{ExprFault, parse_condition};
use super::{Direction, Rule, Severity};
use crate::time::Window;

/// Cooldown of a rule that names none, ms.
const DEFAULT_COOLDOWN: i64 = 300_000;

/// Longest cooldown, ms: a year.
const LONGEST_COOLDOWN: i64 = 366 * 86_400_000;

/// Rules that cannot be, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{fault}")]
pub struct InvalidRules {
    /// What is wrong.
    pub fault: RulesFault,
    /// The rule, when its name is known.
    pub rule: Option<String>,
    /// The field.
    pub field: Option<&'static str>,
    /// Characters of the expression before the fault, when the fault is inside of one.
    pub position: Option<usize>,
    /// Line of the text, from 1.
    pub line: usize,
    /// Column of that line in characters, from 1.
    pub column: usize,
}

/// What can be wrong with rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RulesFault {
    /// The text is no TOML, or has keys that rules do not have.
    #[error("{message}")]
    Toml {
        /// What the reader says.
        message: String,
    },
    /// An expression is wrong.
    #[error("{0}")]
    Expr(ExprFault),
    /// A name with other characters than letters, digits, `_`, `-`.
    #[error("{name:?} is no name: use letters, digits, _ and -, at most 64")]
    Name {
        /// The name as written.
        name: String,
    },
    /// Two rules with one name.
    #[error("there are two rules called {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// A timeframe that is no window.
    #[error("{0}")]
    Timeframe(#[from] crate::time::InvalidWindow),
    /// A cooldown that is no duration.
    #[error("{given:?} is no duration: write a whole number and ms, s, m, h or d, such as 5m")]
    Duration {
        /// What was given.
        given: String,
    },
    /// A rule reads a window that its own set does not follow (never: sets follow what they name).
    #[error("{0}")]
    NotFollowed(#[from] super::compile::NotFollowed),
    /// A rule whose conditions name no metric.
    #[error("the rule names no metric, so it would hold always or never")]
    NoMetric,
    /// A text without rules.
    #[error("there are no rules: begin each with [[rule]]")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    title: Option<String>,
    timeframe: Spanned<String>,
    when: Spanned<String>,
    floor: Option<Spanned<String>>,
    cooldown: Option<Spanned<String>>,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    direction: Direction,
}

/// Reads the rules of a TOML text.
pub(super) fn read(text: &str) -> Result<Vec<Rule>, InvalidRules> {
    let file: File = toml::from_str(text).map_err(|error| {
        let fault = RulesFault::Toml { message: error.message().to_owned() };
        Text(text).error(fault, error.span().unwrap_or(0..0).start)
    })?;
    if file.rule.is_empty() {
        return Err(Text(text).error(RulesFault::Empty, text.len()));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
    for entry in file.rule {
        let name = entry.get_ref().name.clone();
        let rule = Text(text)
            .rule(entry.into_inner())
            .map_err(|error| InvalidRules { rule: Some(name.get_ref().clone()), ..error })?;
        if rules.iter().any(|other| other.name == rule.name) {
            let error = Text(text).error(RulesFault::Twice { name: rule.name }, name.span().start);
            return Err(InvalidRules {
                rule: Some(name.into_inner()),
                field: Some("name"),
                ..error
            });
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// The text that is read, to say where in it something stands.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl From<super::compile::NotFollowed> for InvalidRules {
    fn from(fault: super::compile::NotFollowed) -> Self {
        Text("").error(fault.into(), 0)
    }
}

impl Text<'_> {
    fn rule(self, entry: Entry) -> Result<Rule, InvalidRules> {
        let Entry { name, title, timeframe, when, floor, cooldown, severity, direction } = entry;
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let length = name.get_ref().chars().count();
        if !(1..=64).contains(&length) || !name.get_ref().chars().all(plain) {
            let fault = RulesFault::Name { name: name.get_ref().clone() };
            return Err(self.field_error("name", fault, name.span()));
        }
        let window = Window::parse(timeframe.get_ref());
        let window = window
            .map_err(|fault| self.field_error("timeframe", fault.into(), timeframe.span()))?;
        let cooldown =
            cooldown.map_or(Ok(DEFAULT_COOLDOWN), |cooldown| self.cooldown(&cooldown))?;
        let name = name.into_inner();
        let rule = Rule {
            title: title.unwrap_or_else(|| name.clone()),
            name,
            timeframe: window,
            when: self.condition("when", &when)?,
            floor: floor.map(|floor| self.condition("floor", &floor)).transpose()?,
            cooldown,
            severity,
            direction,
        };
        if rule.metrics(false).is_empty() {
            return Err(self.field_error("when", RulesFault::NoMetric, when.span()));
        }
        Ok(rule)
    }

    fn cooldown(self, given: &Spanned<String>) -> Result<i64, InvalidRules> {
        let text = given.get_ref();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        let length = text[..digits].parse::<i64>().ok().and_then(|count| count.checked_mul(unit));
        match length {
            Some(length) if unit > 0 && length <= LONGEST_COOLDOWN => Ok(length),
            _ => {
                let fault = RulesFault::Duration { given: text.clone() };
                Err(self.field_error("cooldown", fault, given.span()))
            }
        }
    }

    fn condition(self, field: &'static str, given: &Spanned<String>) -> Result<Expr, InvalidRules> {
        let expression = given.get_ref();
        parse_condition(expression).map_err(|error| {
            let begins = self.begin_of(expression, given.span());
            let place = begins.map_or(given.span().start, |begins| begins + error.position);
            let before = expression.get(..error.position).unwrap_or(expression);
            InvalidRules {
                position: Some(before.chars().count()),
                ..self.field_error(field, RulesFault::Expr(error.fault), place..place)
            }
        })
    }

    /// Where a string's value begins in the text, if it stands there as it is (no escapes).
    fn begin_of(self, value: &str, span: Range<usize>) -> Option<usize> {
        let written = self.0.get(span.clone())?;
        written.find(value).map(|offset| span.start + offset)
    }

    fn field_error(
        self,
        field: &'static str,
        fault: RulesFault,
        span: Range<usize>,
    ) -> InvalidRules {
        InvalidRules { field: Some(field), ..self.error(fault, span.start) }
    }

    fn error(self, fault: RulesFault, place: usize) -> InvalidRules {
        let before = self.0.get(..place).unwrap_or(self.0);
        let line_begins = before.rfind('\n').map_or(0, |newline| newline + 1);
        InvalidRules {
            fault,
            rule: None,
            field: None,
            position: None,
            line: before.matches('\n').count() + 1,
            column: before[line_begins..].chars().count() + 1,
        }
    }
}

/// A rule as TOML.
pub(super) fn write(rule: &Rule) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = vec![
        "[[rule]]".to_owned(),
        format!("name = {}", quoted(&rule.name)),
        format!("title = {}", quoted(&rule.title)),
        format!("timeframe = \"{}\"", rule.timeframe),
        format!("direction = \"{}\"", rule.direction.name()),
        format!("severity = \"{}\"", rule.severity.name()),
        format!("cooldown = \"{}\"", duration(rule.cooldown)),
        format!("when = \"{}\"", rule.when),
    ];
    lines.extend(rule.floor.as_ref().map(|floor| format!("floor = \"{floor}\"")));
    lines.push(String::new());
    lines.join("\n")
}

fn duration(ms: i64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.into_iter().find(|(_, length)| ms > 0 && ms % length == 0);
    whole.map_or_else(|| format!("{ms}ms"), |(unit, length)| format!("{}{unit}", ms / length))
}
