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
    lines.extend(settings(rule).into_iter().map(|(key, value)| format!("{key} = {value}")));
    let base = settings(rule);
    for Override { symbols, rule } in &rule.overrides {
        let symbols: Vec<String> = symbols.iter().map(|one| quoted(&one.to_string())).collect();
        lines.push(String::new());
        lines.push("[[rule.override]]".to_owned());
        lines.push(format!("symbols = [{}]", symbols.join(", ")));
        let changed = settings(rule).into_iter().filter(|setting| !base.contains(setting));
        lines.extend(changed.map(|(key, value)| format!("{key} = {value}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The fields an override may change, with their values as TOML; those that say nothing are left
/// out, unless they are always written.
fn settings(rule: &Rule) -> Vec<(&'static str, String)> {
    let Manner { hold, trigger, clear_when, repeat, expires, quiet_hours, max_per_hour } =
        &rule.manner;
    let length = |ms: i64| format!("\"{}\"", write_length(ms));
    let hours: Vec<String> = quiet_hours.iter().map(|hours| format!("\"{hours}\"")).collect();
    let always = [
        ("severity", Some(format!("\"{}\"", rule.severity.name()))),
        ("cooldown", Some(length(rule.cooldown))),
        ("when", Some(quoted(&rule.when.to_string()))),
    ];
    let sometimes = [
        ("floor", rule.floor.as_ref().map(|floor| quoted(&floor.to_string()))),
        ("hold", (*hold > 0).then(|| length(*hold))),
        ("trigger", (*trigger == Trigger::Edge).then(|| "\"edge\"".to_owned())),
        ("clear_when", clear_when.as_ref().map(|clear| quoted(&clear.to_string()))),
        ("repeat", repeat.map(length)),
        ("expires", expires.map(write_moment)),
        ("quiet_hours", (!hours.is_empty()).then(|| format!("[{}]", hours.join(", ")))),
        ("max_per_hour", max_per_hour.map(|most| most.to_string())),
        ("enabled", (!rule.enabled).then(|| "false".to_owned())),
        ("shadow", rule.shadow.then(|| "true".to_owned())),
    ];
    let settings = always.into_iter().chain(sometimes);
    settings.filter_map(|(key, value)| value.map(|value| (key, value))).collect()
}
