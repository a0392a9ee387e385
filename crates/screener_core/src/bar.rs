//! Clock-aligned bars of six lengths, and the indicators on them.
//!
//! An indicator reads nothing of a bar but its close, and that is the close of the minute that ends
//! it. So a length keeps two states: `base`, the bars that ended in minutes that have left the
//! ring, and `head`, all closed bars. A correction inside of the ring builds `head` anew from
//! `base` and the minutes held; the running bar is looked at without being pushed, four lengths at
//! a time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use fearless_simd::{Simd, f64x4};

use crate::indicator::{
    Bands, Bollinger, BollingerLanes, Indicator, Macd, MacdLanes, MacdValue, Rsi, RsiLanes,
};
use crate::lanes::LANES;
use crate::num::is_amount;
use crate::ring::Ring;
use crate::time::{MINUTE_MS, Minute, RING_MINUTES, TIMEFRAMES, Window, in_range};

/// The indicators of one length of bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Study {
    rsi: Rsi,
    macd: Macd,
    bollinger: Bollinger,
}

impl Indicator for Study {
    fn push(&mut self, close: f64) {
        self.rsi.push(close);
        self.macd.push(close);
        self.bollinger.push(close);
    }
}

/// The indicators of four lengths, to look at with the running bars at their current close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudyLanes {
    rsi: RsiLanes,
    macd: MacdLanes,
    bollinger: BollingerLanes,
}

/// What the indicators of four lengths tell; `NaN` where one is not ready.
#[derive(Clone, Copy, Debug)]
pub struct StudyValue<V> {
    /// Relative strength index, 0 to 100.
    pub rsi: V,
    /// MACD, signal and histogram.
    pub macd: MacdValue<V>,
    /// Bollinger bands.
    pub bands: Bands<V>,
}

impl StudyLanes {
    const UNKNOWN: Self = Self {
        rsi: RsiLanes::UNKNOWN,
        macd: MacdLanes::UNKNOWN,
        bollinger: BollingerLanes::UNKNOWN,
    };

    fn set(&mut self, lane: usize, study: &Study) {
        self.rsi.set(lane, &study.rsi);
        self.macd.set(lane, &study.macd);
        self.bollinger.set(lane, &study.bollinger);
    }

    /// The values if the running bars closed here.
    #[inline(always)]
    pub fn peek<S: Simd>(&self, simd: S, close: f64x4<S>) -> StudyValue<f64x4<S>> {
        StudyValue {
            rsi: self.rsi.peek(simd, close),
            macd: self.macd.peek(simd, close),
            bands: self.bollinger.peek(simd, close),
        }
    }
}

/// One length of bars.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    base: Study,
    head: Study,
    /// Bars count that open at this minute or later: the first one followed from its first minute.
    from: Minute,
    given: Option<Given>,
}

/// Closed bars that were given, older than the minutes. Those that a candle arriving late cannot
/// uncover any more are folded into `folded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    folded: Study,
    /// Last minute of the first bar in `closes`.
    first_end: Minute,
    closes: VecDeque<f64>,
}

/// Most closed bars of one length that are kept of those given; older ones no longer tell.
pub const MOST_GIVEN: usize = 2000;

impl Given {
    /// Bars of `length` as (first minute, close), sorted by time, each minute once. A hole of up
    /// to a day is filled flat as the ring would fill it; a longer one drops what came before.
    #[must_use]
    pub fn new(length: Window, bars: &[(Minute, f64)]) -> Option<Self> {
        let mut given: Option<Self> = None;
        for (open, close) in bars {
            let end = open + length.span() - 1;
            given = given.and_then(|given| given.filled_until(*open, length));
            let bars = given.get_or_insert_with(|| Self {
                folded: Study::default(),
                first_end: end,
                closes: VecDeque::new(),
            });
            bars.closes.push_back(*close);
            while bars.closes.len() > MOST_GIVEN {
                bars.fold_first(length);
            }
        }
        given
    }

    fn is_plausible(&self, length: Window) -> bool {
        let is_close = |close: &f64| *close > 0.0 && is_amount(*close);
        (1..=MOST_GIVEN).contains(&self.closes.len())
            && self.closes.iter().all(is_close)
            && self.first_end.checked_mul(MINUTE_MS).is_some_and(in_range)
            && (self.first_end + 1) % length.span() == 0
    }

    fn last_end(&self, length: Window) -> Minute {
        self.first_end + (self.closes.len() as Minute - 1) * length.span()
    }

    /// Adds flat bars for those missing before `minute`; `None` when it lies too far ahead.
    fn filled_until(mut self, minute: Minute, length: Window) -> Option<Self> {
        let close = *self.closes.back()?;
        if minute > self.last_end(length) + RING_MINUTES as Minute {
            return None;
        }
        while self.last_end(length) + length.span() < minute {
            self.closes.push_back(close);
        }
        Some(self)
    }

    fn fold_first(&mut self, length: Window) {
        if let Some(close) = self.closes.pop_front() {
            self.folded.push(close);
            self.first_end += length.span();
        }
    }

    /// The state of the bars that end before `oldest`, if they lead up to it.
    fn leading_to(&mut self, oldest: Minute, newest: Minute, length: Window) -> Option<Study> {
        while self.closes.len() > 1 && self.last_end(length) >= oldest {
            self.closes.pop_back();
        }
        while self.closes.len() > 1 && self.first_end <= newest - RING_MINUTES as Minute {
            self.fold_first(length);
        }
        if self.last_end(length) >= oldest {
            return None;
        }
        let filled = self.clone().filled_until(oldest, length)?;
        let mut study = filled.folded;
        filled.closes.iter().for_each(|close| study.push(*close));
        Some(study)
    }
}

/// Groups of four lengths; the lanes of the last one are not all used.
pub const GROUPS: usize = TIMEFRAMES.len().div_ceil(LANES);

/// The bars of all six lengths of one symbol.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    series: [Series; TIMEFRAMES.len()],
    /// Every head in its lane.
    lanes: [StudyLanes; GROUPS],
    /// Newest minute that `base` includes, once minutes have left the ring.
    folded: Option<Minute>,
}

/// What of [`Bars`] cannot be computed from the ring: all that has to be saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedBars {
    series: Vec<(Study, Minute, Option<Given>)>,
    folded: Option<Minute>,
}

impl Default for Bars {
    fn default() -> Self {
        let empty = Series { base: Study::default(), head: Study::default(), from: 0, given: None };
        let series = std::array::from_fn(|_| empty.clone());
        Self { series, lanes: [StudyLanes::UNKNOWN; GROUPS], folded: None }
    }
}

impl Bars {
    /// Takes closed bars of `TIMEFRAMES[index]` older than the minutes; `ring` if there are any.
    pub fn give(&mut self, index: usize, given: Option<Given>, ring: Option<&Ring>) {
        self.series[index].given = given;
        if let Some(ring) = ring {
            self.rebuild(ring);
        }
    }

    /// Slides on by the minute `ring` has just appended.
    #[inline]
    pub fn advance(&mut self, ring: &Ring) {
        let newest = ring.newest();
        if newest % TIMEFRAMES[0].span() == 0 {
            let close = ring.row(ring.slot_back(1)).close;
            for (index, length) in TIMEFRAMES.into_iter().enumerate() {
                let series = &mut self.series[index];
                if series.closes_at(newest - 1, length) {
                    series.head.push(close);
                    self.lanes[index / LANES].set(index % LANES, &series.head);
                }
            }
        }
        if ring.followed() > RING_MINUTES as Minute {
            self.fold(ring);
        }
    }

    /// Takes the minute that has just left the ring into the bases.
    #[inline]
    fn fold(&mut self, ring: &Ring) {
        let left = ring.newest() - RING_MINUTES as Minute;
        if self.folded.is_some_and(|folded| folded >= left) {
            return;
        }
        self.folded = Some(left);
        if (left + 1) % TIMEFRAMES[0].span() == 0 {
            let close = ring.row(ring.slot_back(RING_MINUTES)).close;
            for (series, length) in self.series.iter_mut().zip(TIMEFRAMES) {
                series.given = None;
                if series.closes_at(left, length) {
                    series.base.push(close);
                }
            }
        }
    }

    /// Builds every head anew from what the ring holds.
    pub fn rebuild(&mut self, ring: &Ring) {
        let (oldest, newest) = (ring.oldest(), ring.newest());
        for (index, length) in TIMEFRAMES.into_iter().enumerate() {
            let series = &mut self.series[index];
            series.found(oldest, newest, length, self.folded.is_some());
            series.head = series.base;
            let first = self.folded.map_or(oldest, |folded| oldest.max(folded + 1));
            let mut end = next_end(first, length);
            while end < newest {
                if series.closes_at(end, length) {
                    series.head.push(ring.row(ring.slot_back((newest - end) as usize)).close);
                }
                end += length.span();
            }
            self.lanes[index / LANES].set(index % LANES, &series.head);
        }
    }

    /// The indicators of four lengths each, closed bars only.
    #[inline]
    #[must_use]
    pub const fn lanes(&self) -> &[StudyLanes; GROUPS] {
        &self.lanes
    }

    /// What has to be saved.
    #[must_use]
    pub fn save(&self) -> SavedBars {
        let part = |series: &Series| (series.base, series.from, series.given.clone());
        SavedBars { series: self.series.iter().map(part).collect(), folded: self.folded }
    }

    /// The bars that were saved; `None` when they do not fit the ring.
    #[must_use]
    pub fn load(saved: SavedBars, ring: Option<&Ring>) -> Option<Self> {
        let turned_over = ring.filter(|ring| ring.followed() > RING_MINUTES as Minute);
        let folded = turned_over.map(|ring| ring.newest() - RING_MINUTES as Minute);
        let mut bars = Self { folded: saved.folded, ..Self::default() };
        if saved.folded != folded || saved.series.len() != bars.series.len() {
            return None;
        }
        let parts = bars.series.iter_mut().zip(TIMEFRAMES).zip(saved.series);
        for ((series, length), (base, from, given)) in parts {
            if given.as_ref().is_some_and(|given| !given.is_plausible(length)) {
                return None;
            }
            *series = Series { base, head: base, from, given };
        }
        if let Some(ring) = ring {
            bars.rebuild(ring);
        }
        Some(bars)
    }
}

impl Series {
    /// Lays the base for minutes from `oldest` on: bars given, or none; kept once minutes left.
    fn found(&mut self, oldest: Minute, newest: Minute, length: Window, turned_over: bool) {
        let led = self.given.as_mut().and_then(|given| given.leading_to(oldest, newest, length));
        if let Some(base) = led {
            (self.base, self.from) = (base, Minute::MIN);
        } else if !turned_over {
            (self.base, self.from) = (Study::default(), next_open(oldest, length));
        }
    }

    #[inline]
    fn closes_at(&self, minute: Minute, length: Window) -> bool {
        (minute + 1) % length.span() == 0 && minute + 1 - length.span() >= self.from
    }
}

/// First minute at or after `minute` with which a bar opens.
fn next_open(minute: Minute, length: Window) -> Minute {
    (minute + length.span() - 1) / length.span() * length.span()
}

/// First minute at or after `minute` with which a bar ends.
fn next_end(minute: Minute, length: Window) -> Minute {
    next_open(minute + 1, length) - 1
}
