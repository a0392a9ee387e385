//! Rules as TOML that reads back to the same.

use super::super::manner::{Manner, Trigger};
use super::super::{Override, Rule};
use super::fields::{write_length, write_moment};

/// A rule as TOML, its overrides after it.
pub(in crate::rule) fn write(rule: &Rule) -> String {
    let mut lines = vec![
        "[[rule]]".to_owned(),
        format!("name = {}", quoted(&rule.name)),
        format!("title = {}", quoted(&rule.title)),
        format!("timeframe = \"{}\"", rule.timeframe),
        format!("direction = \"{}\"", rule.direction.name()),
    ];
    let base = settings(rule);
    let said = base.iter().filter(|setting| !setting.is_default);
    lines.extend(said.map(Setting::line));
    for Override { symbols, rule } in &rule.overrides {
        let symbols: Vec<String> = symbols.iter().map(|one| quoted(&one.to_string())).collect();
        lines.push(String::new());
        lines.push("[[rule.override]]".to_owned());
        lines.push(format!("symbols = [{}]", symbols.join(", ")));
        let own = settings(rule);
        lines.extend(own.iter().filter(|setting| !base.contains(setting)).map(Setting::line));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A field that an override may change.
#[derive(PartialEq)]
struct Setting {
    key: &'static str,
    /// As TOML.
    value: String,
    /// Whether a rule has it that does not say.
    is_default: bool,
}

impl Setting {
    fn line(&self) -> String {
        format!("{} = {}", self.key, self.value)
    }
}

/// The fields an override may change; without those that only say that something is not there,
/// which no override can say.
fn settings(rule: &Rule) -> Vec<Setting> {
    let Manner { hold, trigger, clear_when, repeat, expires, quiet_hours, max_per_hour } =
        &rule.manner;
    let length = |ms: i64| format!("\"{}\"", write_length(ms));
    let hours: Vec<String> = quiet_hours.iter().map(|hours| format!("\"{hours}\"")).collect();
    let is_edge = *trigger == Trigger::Edge;
    let said = |value: String| Some((value, false));
    let known = |value: String, is_default: bool| Some((value, is_default));
    [
        ("severity", said(format!("\"{}\"", rule.severity.name()))),
        ("cooldown", said(length(rule.cooldown))),
        ("when", said(quoted(&rule.when.to_string()))),
        ("floor", rule.floor.as_ref().and_then(|floor| said(quoted(&floor.to_string())))),
        ("hold", known(length(*hold), *hold == 0)),
        ("trigger", known(format!("\"{}\"", trigger.name()), !is_edge)),
        ("clear_when", clear_when.as_ref().and_then(|clear| said(quoted(&clear.to_string())))),
        ("repeat", repeat.map(length).and_then(said)),
        ("expires", expires.map(write_moment).and_then(said)),
        ("quiet_hours", known(format!("[{}]", hours.join(", ")), hours.is_empty())),
        ("max_per_hour", max_per_hour.and_then(|most| said(most.to_string()))),
        ("enabled", known(rule.enabled.to_string(), rule.enabled)),
        ("shadow", known(rule.shadow.to_string(), !rule.shadow)),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|(value, is_default)| Setting { key, value, is_default }))
    .collect()
}
