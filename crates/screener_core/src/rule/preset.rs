//! The rules that come with the package: the only place that names them.

use super::{InvalidRules, RuleSet};

/// Names of the presets, the default first.
pub const NAMES: [&str; 3] = ["futures", "classic", "quiet"];

/// The text of the preset called `name`.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    match name {
        "futures" => Some(include_str!("futures.toml")),
        "classic" => Some(include_str!("classic.toml")),
        "quiet" => Some(include_str!("quiet.toml")),
        _ => None,
    }
}

/// The preset called `name`; `None` when there is none.
///
/// # Errors
/// Never for a preset of this crate: its tests read them all.
pub fn load(name: &str, floors: bool) -> Option<Result<RuleSet, InvalidRules>> {
    text(name).map(|text| RuleSet::parse(text, floors))
}
