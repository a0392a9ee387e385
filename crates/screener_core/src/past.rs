//! What metrics were some minutes ago, as rules that name `change_5m[15m]` ask.
//!
//! What is kept is what the metric was when its minute closed: a candle that comes late corrects
//! the metrics from then on, not what they have been.

use serde::{Deserialize, Serialize};

use crate::metrics::{Metric, Slot};
use crate::rule::bindings::{Bindings, NotFollowed};
use crate::rule::term::Term;
use crate::time::{MINUTE_MS, Minute, in_range};

/// Which metrics are kept for how long, and where they are read.
#[derive(Clone, Debug, Default)]
pub struct Lookback {
    kept: Vec<Kept>,
    read: Vec<Read>,
}

#[derive(Clone, Debug)]
struct Kept {
    metric: Metric,
    slot: Slot,
    reach: i64,
    /// Minutes kept: the longest time ago that is asked for, and the newest.
    minutes: i64,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    kept: usize,
    ago: i64,
    slot: Slot,
}

impl Lookback {
    /// What `bindings` ask of the past.
    ///
    /// # Errors
    /// Never for what a set of rules binds: it follows what it names.
    pub fn new(bindings: &Bindings) -> Result<Self, NotFollowed> {
        let mut lookback = Self::default();
        for (metric, ago) in bindings.lagged() {
            let minutes = ago.span() + 1;
            let known = lookback.kept.iter().position(|kept| kept.metric == *metric);
            let kept = match known {
                Some(kept) => kept,
                None => {
                    let slot = bindings.slot(&Term::Now(*metric))?;
                    let reach = metric.reach();
                    lookback.kept.push(Kept { metric: *metric, slot, reach, minutes });
                    lookback.kept.len() - 1
                }
            };
            if let Some(kept) = lookback.kept.get_mut(kept) {
                kept.minutes = kept.minutes.max(minutes);
            }
            let slot = bindings.slot(&Term::Then(*metric, *ago))?;
            lookback.read.push(Read { kept, ago: ago.span(), slot });
        }
        Ok(lookback)
    }

    /// Whether nothing of the past is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }
}

/// What one symbol's metrics were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    newest: Minute,
    columns: Vec<Column>,
}

/// A metric, each minute in the place that is its number modulo how many there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Column {
    metric: String,
    values: Vec<f64>,
}

impl Past {
    /// Nothing known yet of what is asked for.
    #[must_use]
    pub fn new(lookback: &Lookback) -> Self {
        let column = |kept: &Kept| Column {
            metric: kept.metric.to_string(),
            values: vec![f64::NAN; kept.minutes as usize],
        };
        Self { newest: 0, columns: lookback.kept.iter().map(column).collect() }
    }

    /// Whether it is of the kind that is asked for.
    #[must_use]
    pub fn fits(&self, lookback: &Lookback) -> bool {
        let same = |(column, kept): (&Column, &Kept)| {
            column.metric == kept.metric.to_string() && column.values.len() as i64 == kept.minutes
        };
        let possible = self.newest == 0 || self.newest.checked_mul(MINUTE_MS).is_some_and(in_range);
        possible
            && self.columns.len() == lookback.kept.len()
            && self.columns.iter().zip(&lookback.kept).all(same)
    }

    /// Puts into `values` what was before `minute`.
    pub fn recall(&self, lookback: &Lookback, minute: Minute, values: &mut [f64]) {
        for Read { kept, ago, slot } in &lookback.read {
            let column = self.columns.get(*kept);
            let known = column.and_then(|column| self.value(column, minute - ago));
            slot.put(known.unwrap_or(f64::NAN), values);
        }
    }

    fn value(&self, column: &Column, minute: Minute) -> Option<f64> {
        let length = column.values.len() as i64;
        let held = minute <= self.newest && minute > self.newest - length;
        held.then(|| column.values.get(minute.rem_euclid(length) as usize).copied()).flatten()
    }

    /// Remembers what `values` are of `minute`, which has closed with no pending minute among its
    /// newest `settled` ones.
    pub fn record(&mut self, lookback: &Lookback, minute: Minute, values: &[f64], settled: i64) {
        for (column, kept) in self.columns.iter_mut().zip(&lookback.kept) {
            let length = kept.minutes;
            for skipped in (self.newest + 1).max(minute - length + 1)..minute {
                column.put(skipped, f64::NAN);
            }
            if minute > self.newest - length {
                let known = settled >= kept.reach;
                column.put(minute, if known { kept.slot.of(values) } else { f64::NAN });
            }
        }
        self.newest = self.newest.max(minute);
    }

    /// The same of windows only: what is known of a minute that is looked back at does not tell what
    /// indicators were.
    pub fn record_windows(
        &mut self,
        lookback: &Lookback,
        minute: Minute,
        values: &[f64],
        settled: i64,
    ) {
        self.record(lookback, minute, values, settled);
        for (column, kept) in self.columns.iter_mut().zip(&lookback.kept) {
            if matches!(kept.metric, Metric::Barred(..)) {
                column.put(minute, f64::NAN);
            }
        }
    }

    /// Takes over what `other` knows of the same metrics.
    pub fn take_over(&mut self, other: &Self) {
        let newest = self.newest.max(other.newest);
        let joined = |column: &Column| {
            let known = other.columns.iter().find(|known| known.metric == column.metric);
            let length = column.values.len() as i64;
            let mut joined = column.clone();
            for minute in newest - length + 1..=newest {
                let kept = known.and_then(|known| other.value(known, minute));
                let kept = kept.filter(|value| !value.is_nan());
                joined.put(minute, kept.or_else(|| self.value(column, minute)).unwrap_or(f64::NAN));
            }
            joined
        };
        self.columns = self.columns.iter().map(joined).collect();
        self.newest = newest;
    }
}

impl Column {
    fn put(&mut self, minute: Minute, value: f64) {
        let length = self.values.len() as i64;
        if let Some(place) = self.values.get_mut(minute.rem_euclid(length) as usize) {
            *place = value;
        }
    }
}
