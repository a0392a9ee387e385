//! Alerts, their identity, and the gate that keeps a rule from repeating itself.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metrics::Metric;
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
    /// Every metric the rule names, with its value.
    pub evidence: Vec<(Metric, Option<f64>)>,
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

/// What a symbol's rules have raised: when each fired last, and what is still provisional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    fired: BTreeMap<String, i64>,
    provisional: Vec<(String, i64)>,
}

impl Gate {
    /// Whether `rule` may fire at `time`: never twice at one time, and not within `cooldown` ms.
    #[must_use]
    pub fn is_open(&self, rule: &str, time: i64, cooldown: i64) -> bool {
        self.fired
            .get(rule)
            .is_none_or(|last| time > *last && time.saturating_sub(*last) >= cooldown)
    }

    /// Remembers that `rule` fired at `time`, unless it has fired later.
    pub fn fire(&mut self, rule: &str, time: i64) {
        match self.fired.get_mut(rule) {
            Some(last) => *last = time.max(*last),
            None => _ = self.fired.insert(rule.to_owned(), time),
        }
    }

    /// Remembers that the alert of `rule` at `time` is provisional.
    pub fn hold(&mut self, rule: &str, time: i64) {
        if !self.provisional.iter().any(|(held, at)| held == rule && *at == time) {
            self.provisional.push((rule.to_owned(), time));
        }
    }

    /// Whether something is provisional.
    #[must_use]
    pub fn has_provisional(&self) -> bool {
        !self.provisional.is_empty()
    }

    /// Takes out what is provisional, to be confirmed or withdrawn.
    pub fn settle(&mut self) -> Vec<(String, i64)> {
        std::mem::take(&mut self.provisional)
    }

    /// The alert of `rule` at `time` is no longer provisional.
    pub fn release(&mut self, rule: &str, time: i64) {
        self.provisional.retain(|(held, at)| held != rule || *at != time);
    }
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

    #[test]
    fn a_rule_fires_again_after_its_cooldown() {
        let mut gate = Gate::default();
        assert!(gate.is_open("r", 60_000, 300_000));
        gate.fire("r", 60_000);
        assert!(!gate.is_open("r", 60_000, 0), "never twice at one time");
        assert!(!gate.is_open("r", 359_999, 300_000));
        assert!(gate.is_open("r", 360_000, 300_000));
        assert!(gate.is_open("other", 60_000, 300_000));
        gate.fire("r", 0);
        assert!(!gate.is_open("r", 300_000, 300_000), "an older alert does not shorten it");
    }
}
