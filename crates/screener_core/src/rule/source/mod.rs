//! Rules as TOML: reading with positions, and writing back.

mod fault;
mod fields;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::expr::Expr;
use super::manner::{HOUR_MS, Manner, QuietHours, Trigger};
use super::parse::{nearest, parse_condition};
use super::{Direction, Override, Rule, Severity};
use crate::time::Window;

pub use fault::{InvalidRules, RulesFault};
pub use fields::Pattern;
use fields::{LONGEST, nearest_length, read_length, read_moment};
pub(super) use write::write;

/// Cooldown of a rule that names none, ms.
const DEFAULT_COOLDOWN: i64 = 300_000;

/// Longest time a rule may have to hold, ms.
const LONGEST_HOLD: i64 = 24 * HOUR_MS;

/// Most overrides of one rule.
const MOST_OVERRIDES: usize = 256;

/// What may be told in an hour, at most one alert a minute.
const MOST_PER_HOUR: i64 = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    groups: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    rule: Vec<Spanned<Entry>>,
}

/// A table of a file: its own fields, and those that a rule and an override of it both have.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($(#[$own:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($(#[$own])* $field: $type,)*
            floor: Option<Spanned<String>>,
            cooldown: Option<Spanned<String>>,
            severity: Option<Severity>,
            hold: Option<Spanned<String>>,
            trigger: Option<Spanned<Trigger>>,
            clear_when: Option<Spanned<String>>,
            repeat: Option<Spanned<String>>,
            expires: Option<Spanned<toml::Value>>,
            quiet_hours: Option<Spanned<toml::Value>>,
            max_per_hour: Option<Spanned<i64>>,
            enabled: Option<bool>,
            shadow: Option<bool>,
        }

        impl $name {
            /// What a rule and an override have in common.
            fn settings(&self) -> Settings<'_> {
                Settings {
                    floor: self.floor.as_ref(),
                    cooldown: self.cooldown.as_ref(),
                    severity: self.severity,
                    hold: self.hold.as_ref(),
                    trigger: self.trigger.as_ref(),
                    clear_when: self.clear_when.as_ref(),
                    repeat: self.repeat.as_ref(),
                    expires: self.expires.as_ref(),
                    quiet_hours: self.quiet_hours.as_ref(),
                    max_per_hour: self.max_per_hour.as_ref(),
                    enabled: self.enabled,
                    shadow: self.shadow,
                }
            }
        }
    };
}

table! {
    /// `[[rule]]`
    Entry {
        name: Spanned<String>,
        title: Option<String>,
        timeframe: Spanned<String>,
        when: Spanned<String>,
        #[serde(default)]
        direction: Direction,
        #[serde(default, rename = "override")]
        overrides: Vec<Spanned<Exception>>,
    }
}

table! {
    /// `[[rule.override]]`
    Exception {
        #[serde(default)]
        symbols: Vec<Spanned<String>>,
        #[serde(default)]
        groups: Vec<Spanned<String>>,
        when: Option<Spanned<String>>,
    }
}

struct Settings<'a> {
    floor: Option<&'a Spanned<String>>,
    cooldown: Option<&'a Spanned<String>>,
    severity: Option<Severity>,
    hold: Option<&'a Spanned<String>>,
    trigger: Option<&'a Spanned<Trigger>>,
    clear_when: Option<&'a Spanned<String>>,
    repeat: Option<&'a Spanned<String>>,
    expires: Option<&'a Spanned<toml::Value>>,
    quiet_hours: Option<&'a Spanned<toml::Value>>,
    max_per_hour: Option<&'a Spanned<i64>>,
    enabled: Option<bool>,
    shadow: Option<bool>,
}

/// Reads the rules of a TOML text.
pub(super) fn read(text: &str) -> Result<Vec<Rule>, InvalidRules> {
    let file: File = toml::from_str(text).map_err(|error| {
        let fault = RulesFault::toml(error.message());
        Text(text).error(fault, error.span().unwrap_or(0..0).start)
    })?;
    if file.rule.is_empty() {
        return Err(Text(text).error(RulesFault::Empty, text.len()));
    }
    let groups = Text(text).groups(&file.groups)?;
    let mut rules: Vec<Rule> = Vec::with_capacity(file.rule.len());
    for entry in &file.rule {
        let name = &entry.get_ref().name;
        let of_rule =
            |error: InvalidRules| InvalidRules { rule: Some(name.get_ref().clone()), ..error };
        let rule = Text(text).rule(entry.get_ref(), &groups).map_err(of_rule)?;
        if rules.iter().any(|other| other.name == rule.name) {
            let fault = RulesFault::Twice { name: rule.name };
            return Err(of_rule(Text(text).field_error("name", fault, name.span())));
        }
        rules.push(rule);
    }
    Ok(rules)
}

type Groups = BTreeMap<String, Vec<Pattern>>;

/// The text that is read, to say where in it something stands.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl From<super::bindings::NotFollowed> for InvalidRules {
    fn from(fault: super::bindings::NotFollowed) -> Self {
        Text("").error(fault.into(), 0)
    }
}

impl Text<'_> {
    fn groups(
        self,
        given: &BTreeMap<String, Vec<Spanned<String>>>,
    ) -> Result<Groups, InvalidRules> {
        let read = |(name, symbols): (&String, &Vec<Spanned<String>>)| {
            let patterns = symbols.iter().map(|symbol| self.pattern("groups", symbol));
            Ok((name.clone(), patterns.collect::<Result<_, InvalidRules>>()?))
        };
        given.iter().map(read).collect()
    }

    fn rule(self, entry: &Entry, groups: &Groups) -> Result<Rule, InvalidRules> {
        let Entry { name, title, timeframe, when, direction, overrides, .. } = entry;
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let length = name.get_ref().chars().count();
        if !(1..=64).contains(&length) || !name.get_ref().chars().all(plain) {
            let fault = RulesFault::Name { name: name.get_ref().clone() };
            return Err(self.field_error("name", fault, name.span()));
        }
        let window = Window::parse(timeframe.get_ref());
        let window = window
            .map_err(|fault| self.field_error("timeframe", fault.into(), timeframe.span()))?;
        let name = name.get_ref().clone();
        let mut rule = Rule {
            title: title.clone().unwrap_or_else(|| name.clone()),
            name,
            timeframe: window,
            when: self.condition("when", when)?,
            floor: None,
            cooldown: DEFAULT_COOLDOWN,
            severity: Severity::default(),
            direction: *direction,
            manner: Manner::default(),
            enabled: true,
            shadow: false,
            overrides: Vec::new(),
        };
        self.settle(&mut rule, &entry.settings())?;
        self.check_metrics(&rule, when)?;
        if overrides.len() > MOST_OVERRIDES {
            let fault = RulesFault::TooMany { what: "overrides of a rule", most: MOST_OVERRIDES };
            return Err(self.field_error("override", fault, overrides[MOST_OVERRIDES].span()));
        }
        let overrides = overrides.iter().map(|given| self.exception(&rule, given, groups));
        rule.overrides = overrides.collect::<Result<_, _>>()?;
        Ok(rule)
    }

    /// An override of `rule`.
    fn exception(
        self,
        rule: &Rule,
        given: &Spanned<Exception>,
        groups: &Groups,
    ) -> Result<Override, InvalidRules> {
        let Exception { symbols, groups: named, when, .. } = given.get_ref();
        let mut patterns = Vec::new();
        for symbol in symbols {
            patterns.push(self.pattern("symbols", symbol)?);
        }
        for name in named {
            let Some(group) = groups.get(name.get_ref()) else {
                let suggestion = nearest(name.get_ref(), groups.keys().cloned());
                let fault = RulesFault::Group { name: name.get_ref().clone(), suggestion };
                return Err(self.field_error("groups", fault, name.span()));
            };
            patterns.extend(group.iter().cloned());
        }
        if patterns.is_empty() {
            return Err(self.field_error("symbols", RulesFault::Nobody, given.span()));
        }
        let mut own = rule.clone();
        if let Some(when) = when {
            own.when = self.condition("when", when)?;
            self.check_metrics(&own, when)?;
        }
        self.settle(&mut own, &given.get_ref().settings())?;
        Ok(Override { symbols: patterns, rule: own })
    }

    fn check_metrics(self, rule: &Rule, when: &Spanned<String>) -> Result<(), InvalidRules> {
        if rule.terms(false).is_empty() {
            return Err(self.field_error("when", RulesFault::NoMetric, when.span()));
        }
        Ok(())
    }

    /// Puts what is given onto a rule.
    fn settle(self, rule: &mut Rule, given: &Settings<'_>) -> Result<(), InvalidRules> {
        if let Some(floor) = given.floor {
            rule.floor = Some(self.condition("floor", floor)?);
        }
        if let Some(cooldown) = given.cooldown {
            rule.cooldown = self.length("cooldown", cooldown, LONGEST)?;
        }
        rule.severity = given.severity.unwrap_or(rule.severity);
        rule.enabled = given.enabled.unwrap_or(rule.enabled);
        rule.shadow = given.shadow.unwrap_or(rule.shadow);
        self.settle_manner(&mut rule.manner, given)
    }

    fn settle_manner(self, manner: &mut Manner, given: &Settings<'_>) -> Result<(), InvalidRules> {
        if let Some(hold) = given.hold {
            manner.hold = self.length("hold", hold, LONGEST_HOLD)?;
        }
        if let Some(clear) = given.clear_when {
            manner.clear_when = Some(self.condition("clear_when", clear)?);
        }
        if let Some(repeat) = given.repeat {
            manner.repeat = Some(self.length("repeat", repeat, LONGEST)?);
        }
        if let Some(expires) = given.expires {
            manner.expires = Some(self.moment(expires)?);
        }
        if let Some(hours) = given.quiet_hours {
            manner.quiet_hours = self.quiet_hours(hours)?;
        }
        if let Some(most) = given.max_per_hour {
            let count = u16::try_from(*most.get_ref()).ok();
            let fits = count.filter(|_| (1..=MOST_PER_HOUR).contains(most.get_ref()));
            let Some(count) = fits else {
                let fault = RulesFault::PerHour { given: *most.get_ref(), most: MOST_PER_HOUR };
                return Err(self.field_error("max_per_hour", fault, most.span()));
            };
            manner.max_per_hour = Some(count);
        }
        self.settle_trigger(manner, given)
    }

    /// What ends a rule, or tells it again, makes sense only of one that is told once.
    fn settle_trigger(self, manner: &mut Manner, given: &Settings<'_>) -> Result<(), InvalidRules> {
        let lasting = manner.clear_when.is_some() || manner.repeat.is_some();
        match given.trigger {
            Some(trigger) if *trigger.get_ref() == Trigger::Cooldown && lasting => {
                Err(self.field_error("trigger", RulesFault::NotAnEdge, trigger.span()))
            }
            Some(trigger) => {
                manner.trigger = *trigger.get_ref();
                Ok(())
            }
            None => {
                if lasting {
                    manner.trigger = Trigger::Edge;
                }
                Ok(())
            }
        }
    }

    fn length(
        self,
        field: &'static str,
        given: &Spanned<String>,
        longest: i64,
    ) -> Result<i64, InvalidRules> {
        let text = given.get_ref();
        let fault = match read_length(text) {
            Some(length) if length <= longest => return Ok(length),
            Some(_) => RulesFault::TooLong { given: text.clone(), days: longest / (24 * HOUR_MS) },
            None => RulesFault::Duration { given: text.clone(), suggestion: nearest_length(text) },
        };
        Err(self.field_error(field, fault, given.span()))
    }

    fn moment(self, given: &Spanned<toml::Value>) -> Result<i64, InvalidRules> {
        let text = match given.get_ref() {
            toml::Value::Datetime(moment) => moment.to_string(),
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        read_moment(&text).ok_or_else(|| {
            self.field_error("expires", RulesFault::Moment { given: text }, given.span())
        })
    }

    fn quiet_hours(self, given: &Spanned<toml::Value>) -> Result<Vec<QuietHours>, InvalidRules> {
        let read = |value: &toml::Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            QuietHours::parse(&text).ok_or_else(|| {
                self.field_error("quiet_hours", RulesFault::Hours { given: text }, given.span())
            })
        };
        match given.get_ref() {
            toml::Value::Array(several) => several.iter().map(read).collect(),
            one => Ok(vec![read(one)?]),
        }
    }

    fn pattern(
        self,
        field: &'static str,
        given: &Spanned<String>,
    ) -> Result<Pattern, InvalidRules> {
        Pattern::new(given.get_ref()).ok_or_else(|| {
            let fault = RulesFault::Symbols { given: given.get_ref().clone() };
            self.field_error(field, fault, given.span())
        })
    }

    fn condition(self, field: &'static str, given: &Spanned<String>) -> Result<Expr, InvalidRules> {
        let expression = given.get_ref();
        parse_condition(expression).map_err(|error| {
            let place = self.place_in(expression, given.span(), error.position);
            let before = expression.get(..error.position).unwrap_or(expression);
            InvalidRules {
                position: Some(before.chars().count()),
                ..self.field_error(field, RulesFault::Expr(error.fault), place..place)
            }
        })
    }

    /// Where a byte of a string's value stands in the text.
    fn place_in(self, value: &str, span: Range<usize>, position: usize) -> usize {
        let written = self.0.get(span.clone()).unwrap_or("");
        if let Some(offset) = written.find(value) {
            return span.start + offset + position;
        }
        // Where only quotes are escaped each character of the value is one of the text, or two.
        if written.replace("\\\"", "").contains('\\') {
            return span.start;
        }
        let mut rest = written.trim_start_matches(['"', '\n']);
        for wanted in value.get(..position).unwrap_or("").chars() {
            let escaped = rest.strip_prefix('\\').and_then(|after| after.get(1..));
            let plain = rest.strip_prefix(wanted);
            match plain.or(escaped) {
                Some(after) => rest = after,
                None => return span.start,
            }
        }
        span.end.saturating_sub(rest.len())
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
