//! Alerts and their identity.

use std::sync::{Arc, LazyLock};

use uuid::Uuid;

use crate::rule::term::Term;
use crate::time::Window;

/// Whether an alert may still be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The minute it was raised in has closed, and the rule held.
    Confirmed,
    /// Raised in the running minute.
    Provisional,
    /// The minute has closed, and the rule did not hold.
    Withdrawn,
}

impl State {
    /// The name in frames and stores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Provisional => "provisional",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Provisional, Self::Withdrawn].into_iter().find(|s| s.name() == name)
    }
}

/// A rule that held (SPEC 5.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// See [`alert_id`].
    pub id: Uuid,
    /// Close time of the judged candle, or the update's time, ms.
    pub triggered_at: i64,
    /// The exchange the engine follows.
    pub exchange: Arc<str>,
    /// The symbol.
    pub symbol: Arc<str>,
    /// The rule's name.
    pub rule: Arc<str>,
    /// The rule's timeframe.
    pub timeframe: Window,
    /// Last close.
    pub price: f64,
    /// Quote volume over the timeframe, when it is ready.
    pub quote_volume: Option<f64>,
    /// Change over the timeframe in %, when it is ready.
    pub change: Option<f64>,
    /// Volume-weighted close position over the timeframe, when it is ready.
    pub vcp: Option<f64>,
    /// Whether it may still be taken back.
    pub state: State,
    /// The version of the rule.
    pub rule_version: Arc<str>,
    /// All that the rule names, with its value.
    pub evidence: Vec<(Term, Option<f64>)>,
    /// Of which symbols it was told, for a rule that asks something of all.
    pub among: Option<Arc<Members>>,
}

/// The symbols a minute was judged over by the rules that ask something of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// How many had closed their minute in time.
    pub count: usize,
    /// Those that were followed and had not, sorted.
    pub absent: Vec<Arc<str>>,
}

/// Namespace of alert ids: `uuid5(NAMESPACE_URL, "screener")`.
static NAMESPACE: LazyLock<Uuid> =
    LazyLock::new(|| Uuid::new_v5(&Uuid::NAMESPACE_URL, b"screener"));

/// The id of an alert: UUIDv5 of `"{exchange}:{symbol}:{rule}:{triggered_at}"`.
#[must_use]
pub fn alert_id(exchange: &str, symbol: &str, rule: &str, triggered_at: i64) -> Uuid {
    let name = format!("{exchange}:{symbol}:{rule}:{triggered_at}");
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_id() {
        assert_eq!(NAMESPACE.to_string(), "d3de780a-41ca-5956-b203-0040e0eaaee3");
        let id = alert_id("binance", "BTCUSDT", "pioneer_bull", 1_763_683_260_000);
        assert_eq!(id.to_string(), "6fe10e9c-49a0-5541-9a4b-d17090a24a6c");
    }
}
