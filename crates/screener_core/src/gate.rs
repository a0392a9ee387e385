//! The gate that keeps a rule from repeating itself: what a symbol's rules have raised, and which of
//! them hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rule::manner::{HOUR_MS, Manner, Trigger};
use crate::time::MINUTE_MS;

/// What a symbol's rules have raised: when each fired last, what is still provisional, and since
/// when those hold that are told in a manner of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    fired: BTreeMap<String, Fired>,
    provisional: Vec<(String, i64)>,
    episodes: Vec<(String, Episode)>,
}

/// When a rule fired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Fired {
    last: i64,
    /// Those of the hour before the last, and the last.
    recent: Vec<i64>,
}

/// A rule that holds, or has been told and has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Episode {
    /// Since when it holds, at every minute.
    since: Option<i64>,
    /// When it was last seen to hold.
    seen: i64,
    /// Whether it has been told.
    told: bool,
}

/// What was seen of a rule at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It holds.
    Holds,
    /// It does not.
    Fails {
        /// Whether that ends what was told of it.
        ends: bool,
    },
    /// It cannot be said: something it names is not ready, or a minute is pending.
    Unknown,
}

impl Gate {
    /// Whether `rule` may fire at `time`: never twice at one time, and not within `cooldown` ms.
    #[must_use]
    pub fn is_open(&self, rule: &str, time: i64, cooldown: i64) -> bool {
        self.fired
            .get(rule)
            .is_none_or(|fired| time > fired.last && time.saturating_sub(fired.last) >= cooldown)
    }

    /// Whether `rule` has fired less than `most` times in the hour up to `time`.
    #[must_use]
    pub fn has_room(&self, rule: &str, time: i64, most: u16) -> bool {
        let in_hour = |at: &&i64| time.saturating_sub(**at) < HOUR_MS;
        self.fired
            .get(rule)
            .is_none_or(|fired| fired.recent.iter().filter(in_hour).count() < usize::from(most))
    }

    /// Remembers that `rule` fired at `time`, unless it has fired later.
    pub fn fire(&mut self, rule: &str, time: i64) {
        if !self.fired.contains_key(rule) {
            self.fired.insert(rule.to_owned(), Fired { last: time, recent: Vec::new() });
        }
        if let Some(fired) = self.fired.get_mut(rule) {
            fired.last = time.max(fired.last);
            let hour = fired.last.saturating_sub(HOUR_MS);
            fired.recent.retain(|at| *at > hour);
            if time > hour && !fired.recent.contains(&time) {
                fired.recent.push(time);
            }
        }
    }

    /// Whether no rule holds, nor has been told without having ended.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.episodes.is_empty()
    }

    /// Remembers what was seen of `rule` at `time`; whether it is due to be told.
    pub fn observe(&mut self, rule: &str, time: i64, seen: Seen, manner: &Manner) -> bool {
        let place = self.episodes.iter().position(|(name, _)| name == rule);
        let Some((_, episode)) = place.and_then(|place| self.episodes.get_mut(place)) else {
            if seen != Seen::Holds {
                return false;
            }
            let episode = Episode { since: Some(time), seen: time, told: false };
            self.episodes.push((rule.to_owned(), episode));
            return manner.hold == 0;
        };
        match seen {
            Seen::Holds => {
                // Not seen for more than a minute, it may not have held between.
                let unbroken = time.saturating_sub(episode.seen) <= MINUTE_MS;
                let since = episode.since.filter(|_| unbroken).unwrap_or(time);
                *episode = Episode { since: Some(since), seen: time, ..*episode };
                let told = episode.told;
                time.saturating_sub(since) >= manner.hold
                    && (!told || self.is_due_again(rule, time, manner))
            }
            Seen::Fails { .. } | Seen::Unknown => {
                episode.since = None;
                episode.told &= seen != Seen::Fails { ends: true };
                if !episode.told {
                    self.episodes.retain(|(name, _)| name != rule);
                }
                false
            }
        }
    }

    fn is_due_again(&self, rule: &str, time: i64, manner: &Manner) -> bool {
        let last = self.fired.get(rule).map(|fired| fired.last);
        manner.trigger == Trigger::Cooldown
            || manner
                .repeat
                .is_some_and(|repeat| last.is_none_or(|last| time.saturating_sub(last) >= repeat))
    }

    /// Remembers whether what holds of `rule` has been told.
    pub fn tell(&mut self, rule: &str, told: bool) {
        if let Some((_, episode)) = self.episodes.iter_mut().find(|(name, _)| name == rule) {
            episode.told = told;
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

    const MINUTE: i64 = MINUTE_MS;

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

    #[test]
    fn so_many_an_hour() {
        let mut gate = Gate::default();
        for minute in [0, 10, 20] {
            assert!(gate.has_room("r", minute * MINUTE, 3));
            gate.fire("r", minute * MINUTE);
        }
        assert!(!gate.has_room("r", 59 * MINUTE, 3));
        assert!(gate.has_room("r", 60 * MINUTE, 3), "the first is an hour ago");
    }

    fn told(gate: &mut Gate, minute: i64, seen: Seen, manner: &Manner) -> bool {
        let due = gate.observe("r", minute * MINUTE, seen, manner);
        if due {
            gate.fire("r", minute * MINUTE);
            gate.tell("r", true);
        }
        due
    }

    #[test]
    fn an_edge_is_told_once_until_it_ends() {
        let manner = Manner { trigger: Trigger::Edge, ..Manner::default() };
        let mut gate = Gate::default();
        let seen = [
            (Seen::Holds, true),
            (Seen::Holds, false),
            (Seen::Unknown, false),
            (Seen::Holds, false),
            (Seen::Fails { ends: false }, false),
            (Seen::Holds, false),
            (Seen::Fails { ends: true }, false),
            (Seen::Holds, true),
        ];
        for (minute, (seen, expected)) in (0..).zip(seen) {
            assert_eq!(told(&mut gate, minute, seen, &manner), expected, "{minute}");
        }
        told(&mut gate, 20, Seen::Fails { ends: true }, &manner);
        assert!(gate.is_calm());
    }

    #[test]
    fn it_has_to_hold_for_so_long_without_a_break() {
        let manner = Manner { hold: 2 * MINUTE, ..Manner::default() };
        let mut gate = Gate::default();
        let holds = |gate: &mut Gate, minute| told(gate, minute, Seen::Holds, &manner);
        assert_eq!([0, 1, 2, 3].map(|minute| holds(&mut gate, minute)), [false, false, true, true]);
        assert!(!holds(&mut gate, 5), "minute 4 was not seen");
        assert_eq!([6, 7].map(|minute| holds(&mut gate, minute)), [false, true]);
        told(&mut gate, 8, Seen::Unknown, &manner);
        assert!(!holds(&mut gate, 9));
    }

    #[test]
    fn it_is_told_again_after_so_long() {
        let repeat = Some(3 * MINUTE);
        let manner = Manner { trigger: Trigger::Edge, repeat, ..Manner::default() };
        let mut gate = Gate::default();
        let told: Vec<bool> =
            (0..8).map(|minute| told(&mut gate, minute, Seen::Holds, &manner)).collect();
        assert_eq!(told, [true, false, false, true, false, false, true, false]);
    }
}
