//! What became of the candles.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::symbol::{Applied, Counted};

/// How many candles were counted as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Minutes the ring did not have.
    pub appended: u64,
    /// Versions of the running minute.
    pub updated: u64,
    /// Candles that were there already.
    pub duplicate: u64,
    /// Better versions of a minute.
    pub corrected: u64,
    /// Different versions from a source that ranks lower.
    pub outranked: u64,
    /// Open versions of a closed minute, or older ones.
    pub stale: u64,
    /// Candles older than the ring.
    pub too_old: u64,
    /// Minutes filled.
    pub filled: u64,
    /// Fresh starts after a hole longer than the ring.
    pub restarted: u64,
}

impl Stats {
    /// The counters by name.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("appended", self.appended),
            ("updated", self.updated),
            ("duplicate", self.duplicate),
            ("corrected", self.corrected),
            ("outranked", self.outranked),
            ("stale", self.stale),
            ("too_old", self.too_old),
            ("filled", self.filled),
            ("restarted", self.restarted),
        ]
    }

    /// Counts what came of one candle.
    #[inline]
    pub const fn count(&mut self, applied: &Applied) {
        let counter = match applied.counted {
            Counted::Appended => &mut self.appended,
            Counted::Updated => &mut self.updated,
            Counted::Duplicate => &mut self.duplicate,
            Counted::Corrected => &mut self.corrected,
            Counted::Outranked => &mut self.outranked,
            Counted::Stale => &mut self.stale,
            Counted::TooOld => &mut self.too_old,
        };
        *counter += 1;
        self.filled += applied.filled;
        self.restarted += applied.restarted as u64;
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.appended += other.appended;
        self.updated += other.updated;
        self.duplicate += other.duplicate;
        self.corrected += other.corrected;
        self.outranked += other.outranked;
        self.stale += other.stale;
        self.too_old += other.too_old;
        self.filled += other.filled;
        self.restarted += other.restarted;
    }
}
