//! What a condition reads: a metric now, a metric some minutes ago, or a symbol's place among all.

use std::fmt;
use std::sync::Arc;

use super::expr::Expr;
use crate::metrics::Metric;
use crate::time::Window;

/// One thing a condition reads of a symbol.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A metric at the minute that is judged.
    Now(Metric),
    /// `metric[15m]`: what the metric was when the minute so long before closed.
    Then(Metric, Window),
    /// A number that takes all symbols of the minute to tell.
    Among(Arc<Among>),
}

/// A symbol among all symbols that are followed, at one minute.
#[derive(Clone, Debug, PartialEq)]
pub enum Among {
    /// `rank(x)`: 1 for the largest; equal ones share the better rank.
    Rank(Expr),
    /// `pct_rank(x)`: part of the other symbols whose value is smaller, 0 to 1.
    PctRank(Expr),
    /// `breadth(condition)`: part of the symbols for which the condition holds, 0 to 1.
    Breadth(Expr),
    /// `vs("BTCUSDT", x)`: the symbol's value less that of the one named.
    Versus(Arc<str>, Expr),
}

impl Among {
    /// Names of the functions, as they are written.
    pub const NAMES: [&str; 4] = ["rank", "pct_rank", "breadth", "vs"];

    /// What is computed of every symbol.
    #[must_use]
    pub const fn argument(&self) -> &Expr {
        match self {
            Self::Rank(expr) | Self::PctRank(expr) | Self::Breadth(expr) => expr,
            Self::Versus(_, expr) => expr,
        }
    }
}

impl Term {
    /// Calls `see` with every metric that has to be followed for it.
    pub fn visit_metrics(&self, see: &mut impl FnMut(Metric)) {
        match self {
            Self::Now(metric) | Self::Then(metric, _) => see(*metric),
            Self::Among(among) => {
                among.argument().visit_terms(&mut |term, _| match term {
                    Self::Now(metric) | Self::Then(metric, _) => see(*metric),
                    // The parser refuses one inside of another.
                    Self::Among(_) => {}
                });
            }
        }
    }

    /// Newest minutes of the symbol none of which may be pending for it to be known. What a metric
    /// was is known or not since then, and a place among all is asked of every symbol by itself.
    #[must_use]
    pub fn reach(&self) -> i64 {
        match self {
            Self::Now(metric) => metric.reach(),
            Self::Then(..) | Self::Among(_) => 0,
        }
    }

    /// Whether its values are whole numbers.
    #[must_use]
    pub fn is_count(&self) -> bool {
        match self {
            Self::Now(metric) | Self::Then(metric, _) => metric.is_count(),
            Self::Among(among) => matches!(**among, Among::Rank(_)),
        }
    }

    /// Whether it takes all symbols of a minute to tell.
    #[must_use]
    pub const fn is_among(&self) -> bool {
        matches!(self, Self::Among(_))
    }

    /// The term of this name: a metric, `metric[15m]`, or a function of all symbols.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Metric::parse(name).map(Self::Now).or_else(|| super::parse::parse_term(name).ok())
    }
}

impl From<Metric> for Term {
    fn from(metric: Metric) -> Self {
        Self::Now(metric)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(metric) => metric.fmt(f),
            Self::Then(metric, ago) => write!(f, "{metric}[{ago}]"),
            Self::Among(among) => among.fmt(f),
        }
    }
}

impl fmt::Display for Among {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rank(x) => write!(f, "rank({x})"),
            Self::PctRank(x) => write!(f, "pct_rank({x})"),
            Self::Breadth(condition) => write!(f, "breadth({condition})"),
            Self::Versus(symbol, x) => write!(f, "vs(\"{symbol}\", {x})"),
        }
    }
}
