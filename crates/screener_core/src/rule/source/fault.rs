//! What can be wrong with rules, where, and what to write instead.

use super::super::bindings::NotFollowed;
use super::super::parse::{ExprFault, nearest};
use crate::time::InvalidWindow;

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
        /// The nearest key or word there is.
        suggestion: Option<String>,
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
    Timeframe(#[from] InvalidWindow),
    /// A length of time that is none.
    #[error("{given:?} is no duration: write a whole number and ms, s, m, h or d, such as 5m")]
    Duration {
        /// What was given.
        given: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A length of time that is too long.
    #[error("{given:?} is no duration that can be: at most {days} days")]
    TooLong {
        /// What was given.
        given: String,
        /// The most there can be.
        days: i64,
    },
    /// A time that is none.
    #[error("{given:?} is no moment: write 2026-12-31 or 2026-12-31T18:00:00Z")]
    Moment {
        /// What was given.
        given: String,
    },
    /// Hours of the day that are none.
    #[error("{given:?} are no hours of the day: write 22:00-07:00, in UTC, or 22:00-07:00+02:00")]
    Hours {
        /// What was given.
        given: String,
    },
    /// A number of alerts an hour that cannot be.
    #[error("{given} alerts an hour cannot be: 1 to {most}, one for each minute")]
    PerHour {
        /// What was given.
        given: i64,
        /// The most there can be.
        most: i64,
    },
    /// A field that ends what is told once, of a rule that is told whenever it holds.
    #[error("clear_when and repeat are for a rule that is told once each time: trigger = \"edge\"")]
    NotAnEdge,
    /// A pattern that no symbol can match.
    #[error("{given:?} is no symbol, nor a pattern such as \"BTC*\"")]
    Symbols {
        /// What was given.
        given: String,
    },
    /// A group that the file does not have.
    #[error("there is no group {name:?}: list its symbols under [groups]")]
    Group {
        /// The name as written.
        name: String,
        /// The nearest there is.
        suggestion: Option<String>,
    },
    /// An override for no symbol.
    #[error("the override is for no symbol: give symbols = [...] or groups = [...]")]
    Nobody,
    /// More of something than there can be.
    #[error("too many {what}: at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most there can be.
        most: usize,
    },
    /// A rule reads a window that its own set does not follow (never: sets follow what they name).
    #[error("{0}")]
    NotFollowed(#[from] NotFollowed),
    /// A rule whose conditions name no metric.
    #[error("the rule names no metric, so it would hold always or never")]
    NoMetric,
    /// A text without rules.
    #[error("there are no rules: begin each with [[rule]]")]
    Empty,
}

impl RulesFault {
    /// What the reader of TOML says, with the nearest of the words it would have taken.
    pub(super) fn toml(message: &str) -> Self {
        // "unknown field `cooldwn`, expected one of `name`, `title`"
        let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let suggestion = match words.split_first() {
            Some((found, known)) if !known.is_empty() => {
                nearest(found, known.iter().map(|word| (*word).to_owned()))
            }
            _ => None,
        };
        Self::Toml { message: message.to_owned(), suggestion }
    }

    /// What to write instead, where that is known.
    #[must_use]
    pub fn suggestion(&self) -> Option<String> {
        match self {
            Self::Toml { suggestion, .. }
            | Self::Duration { suggestion, .. }
            | Self::Group { suggestion, .. } => suggestion.clone(),
            Self::Expr(fault) => fault.suggestion().map(str::to_owned),
            Self::Name { name } => {
                let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
                let plain: String = name.trim().chars().map(plain).take(64).collect();
                (!plain.is_empty()).then_some(plain)
            }
            Self::Twice { name } => Some(format!("{name}_2")),
            Self::TooLong { days, .. } => Some(format!("{days}d")),
            Self::PerHour { given, most } => Some((*given).clamp(1, *most).to_string()),
            Self::NotAnEdge => Some("edge".to_owned()),
            Self::Empty => Some("[[rule]]".to_owned()),
            _ => None,
        }
    }
}
