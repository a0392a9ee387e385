//! One symbol: its ring, and everything that is kept in step with it.

use fearless_simd::dispatch;

use crate::bar::{Bars, Given, SavedBars};
use crate::candle::Candle;
use crate::lanes::level;
use crate::metrics::Reading;
use crate::ring::{Entry, Placement, Ring, Row, Running};
use crate::time::{Minute, RING_MINUTES, Window};
use crate::window::Windows;

/// How holes between minutes are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Gaps {
    /// A missing minute may still come; until then rules over it do not hold.
    #[default]
    Pending,
    /// A missing minute never existed.
    Absent,
}

/// What an arriving candle was counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// A minute the ring did not have.
    Appended,
    /// A version of the running minute.
    Updated,
    /// What was there already.
    Duplicate,
    /// A better version of a minute.
    Corrected,
    /// A different version from a source that ranks lower.
    Outranked,
    /// An open version of a closed minute, or an older one.
    Stale,
    /// Older than the ring.
    TooOld,
}

/// Whether and how the rules are to be judged after a candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Nothing that is judged has changed.
    Nothing,
    /// The newest minute has closed, or its closed version was corrected.
    Closed,
    /// The newest minute has closed without a real candle: only what is provisional is settled.
    Settle,
    /// The running minute was updated at this time.
    Running(i64),
    /// The minute before the running one was corrected: it is the newest that is closed.
    BeforeRunning,
}

/// What came of an arriving candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What it was counted as.
    pub counted: Counted,
    /// Minutes filled for it.
    pub filled: u64,
    /// Whether the symbol started afresh.
    pub restarted: bool,
    /// What is to be judged.
    pub judge: Judge,
}

/// One symbol's state, a pure function of the candles it was given.
#[derive(Clone, Debug, Default)]
pub struct Symbol {
    live: Option<Live>,
    bars: Bars,
    market_cap: Option<f64>,
}

#[derive(Clone, Debug)]
struct Live {
    ring: Ring,
    windows: Windows,
    /// Consecutive minutes before the newest that rose (positive) or fell (negative).
    streak: i32,
    /// A minute inside the ring has changed: windows and bars have to be built anew. Put off until
    /// they are read, so that a batch of late candles costs one rebuild.
    outdated: bool,
}

/// Longest streak before the newest minute.
const LONGEST_STREAK: i32 = RING_MINUTES as i32 - 1;

impl Symbol {
    /// The minutes, when there are any.
    #[must_use]
    pub fn ring(&self) -> Option<&Ring> {
        self.live.as_ref().map(|live| &live.ring)
    }

    /// The value set by the caller.
    #[must_use]
    pub const fn market_cap(&self) -> Option<f64> {
        self.market_cap
    }

    /// Sets the metric `market_cap`.
    pub fn set_market_cap(&mut self, value: Option<f64>) {
        self.market_cap = value;
    }

    /// Takes closed bars of `TIMEFRAMES[index]` that are older than the minutes.
    pub fn give_bars(&mut self, index: usize, given: Option<Given>) {
        self.bars.give(index, given, self.live.as_ref().map(|live| &live.ring));
    }

    /// What of the bars has to be saved.
    #[must_use]
    pub fn saved_bars(&self) -> SavedBars {
        self.bars.save()
    }

    /// A symbol with what was saved of it; `None` when that does not fit together.
    #[must_use]
    pub fn load(
        ring: Option<Ring>,
        bars: SavedBars,
        market_cap: Option<f64>,
        lengths: &[Window],
    ) -> Option<Self> {
        let bars = Bars::load(bars, ring.as_ref())?;
        let live = ring.map(|ring| Live::new(ring, lengths));
        Some(Self { live, bars, market_cap })
    }

    /// Follows windows of other lengths, from what the ring holds.
    pub fn follow(&mut self, lengths: &[Window]) {
        if let Some(live) = &mut self.live {
            live.windows = Windows::new(lengths, &live.ring);
        }
    }

    /// Calls `see` with the symbol as it was at each minute the ring holds, as far as what came
    /// before them is not needed for that: windows that began earlier are not ready, and no bars
    /// from before are known.
    pub fn walk(&self, gaps: Gaps, lengths: &[Window], mut see: impl FnMut(&mut Self)) {
        let Some(ring) = self.ring() else { return };
        let mut again = Self { market_cap: self.market_cap, ..Self::default() };
        for held in ring.candles(RING_MINUTES).filter(|held| !held.pending) {
            again.apply(&held.candle, gaps, lengths);
            see(&mut again);
        }
    }

    /// Whether `candle` opens a later minute while the newest is still running.
    #[inline]
    #[must_use]
    pub fn is_overtaken_by(&self, candle: &Candle) -> bool {
        self.ring().is_some_and(|ring| ring.running().is_some() && candle.minute() > ring.newest())
    }

    /// Counts the running minute as closed with what is known of it.
    pub fn close_by_force(&mut self) {
        if let Some(live) = &mut self.live {
            live.ring.close_by_force();
        }
    }

    /// Fills the next minute if it is missing before `candle` and would be filled for it.
    pub fn fill_towards(&mut self, candle: &Candle, gaps: Gaps) -> bool {
        let Some(live) = &mut self.live else { return false };
        let placement = live.ring.place(candle);
        let missing = matches!(placement, Placement::Append { missing: 1.. });
        if missing {
            live.fill(gaps, &mut self.bars);
        }
        missing
    }

    /// Takes a valid candle (SPEC 2).
    #[inline]
    pub fn apply(&mut self, candle: &Candle, gaps: Gaps, lengths: &[Window]) -> Applied {
        let minute = candle.minute();
        let placement = self.live.as_ref().map_or(Placement::First, |live| live.ring.place(candle));
        let mut applied = Applied {
            counted: Counted::Appended,
            filled: 0,
            restarted: false,
            judge: Judge::Nothing,
        };
        match (&mut self.live, placement) {
            (Some(live), Placement::Append { missing }) => {
                for _ in 0..missing {
                    live.fill(gaps, &mut self.bars);
                }
                live.append(&Entry::of(candle), running(candle), &mut self.bars);
                applied.filled = missing as u64;
                applied.judge = judge_newest(candle);
            }
            (Some(live), Placement::Update) => {
                live.replace_newest(&Entry::of(candle), running(candle));
                applied.counted = Counted::Updated;
                applied.judge = judge_newest(candle);
            }
            (Some(live), Placement::Correct) => {
                live.ring.correct(minute, &Entry::of(candle));
                live.outdated = true;
                applied.counted = Counted::Corrected;
                applied.judge = live.judge_late(minute, candle);
            }
            (Some(live), Placement::Prepend) => {
                applied.filled = (live.ring.start() - minute - 1) as u64;
                live.ring.prepend(minute, &Entry::of(candle), gaps == Gaps::Pending);
                live.outdated = true;
                applied.judge = live.judge_late(minute, candle);
            }
            (Some(live), Placement::Confirm) => {
                live.ring.confirm(minute, candle.source);
                applied.counted = Counted::Duplicate;
            }
            (_, Placement::First | Placement::Restart) | (None, _) => {
                applied.restarted = placement == Placement::Restart;
                if applied.restarted {
                    self.bars = Bars::default();
                }
                let ring = Ring::new(minute, &Entry::of(candle), running(candle));
                self.bars.rebuild(&ring);
                self.live = Some(Live::new(ring, lengths));
                applied.judge = judge_newest(candle);
            }
            (_, Placement::Duplicate) => applied.counted = Counted::Duplicate,
            (_, Placement::Outranked) => applied.counted = Counted::Outranked,
            (_, Placement::Stale) => applied.counted = Counted::Stale,
            (_, Placement::TooOld) => applied.counted = Counted::TooOld,
        }
        applied
    }

    /// Brings windows and bars up to date with the ring, and gives what metrics are read from.
    #[inline]
    pub fn read(&mut self) -> Option<Reading<'_>> {
        let live = self.live.as_mut()?;
        live.refresh(&mut self.bars);
        Some(Reading {
            ring: &live.ring,
            windows: &live.windows,
            bars: &self.bars,
            streak: carried(live.streak, live.ring.newest_row(), LONGEST_STREAK + 1),
            market_cap: self.market_cap,
        })
    }

    /// Looks at the symbol as it was when the minute before the running one closed.
    pub fn before_running<T>(&mut self, look: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let live = self.live.as_mut()?;
        let (entry, running) = live.ring.set_running_aside()?;
        live.outdated = true;
        let seen = look(self);
        if let Some(live) = &mut self.live {
            live.ring.append(&entry, Some(running));
            live.outdated = true;
        }
        Some(seen)
    }
}

fn running(candle: &Candle) -> Option<Running> {
    (!candle.closed).then_some(Running { event_time: candle.event_time })
}

#[inline]
fn judge_newest(candle: &Candle) -> Judge {
    match (candle.closed, candle.event_time) {
        (true, _) if candle.source == crate::candle::Source::Synthetic => Judge::Settle,
        (true, _) => Judge::Closed,
        (false, Some(event_time)) => Judge::Running(event_time),
        (false, None) => Judge::Nothing,
    }
}

/// A streak carried on by one more minute.
#[inline]
fn carried(streak: i32, row: &Row, longest: i32) -> i32 {
    if row.close > row.open {
        (streak.max(0) + 1).min(longest)
    } else if row.close < row.open {
        (streak.min(0) - 1).max(-longest)
    } else {
        0
    }
}

impl Live {
    fn new(ring: Ring, lengths: &[Window]) -> Self {
        let windows = Windows::new(lengths, &ring);
        let streak = streak_before_newest(&ring);
        Self { ring, windows, streak, outdated: false }
    }

    #[inline]
    fn append(&mut self, entry: &Entry, running: Option<Running>, bars: &mut Bars) {
        self.refresh(bars);
        self.streak = carried(self.streak, self.ring.newest_row(), LONGEST_STREAK);
        self.ring.append(entry, running);
        dispatch!(level(), simd => self.windows.advance(simd, &self.ring));
        bars.advance(&self.ring);
    }

    fn fill(&mut self, gaps: Gaps, bars: &mut Bars) {
        let fill = Entry::fill(self.ring.newest_row().close, gaps == Gaps::Pending);
        self.append(&fill, None, bars);
    }

    fn replace_newest(&mut self, entry: &Entry, running: Option<Running>) {
        let before = self.ring.newest_row().amounts;
        let was_synthetic = self.ring.newest_flags().is_synthetic();
        self.ring.replace_newest(entry, running);
        if !self.outdated {
            self.windows.replace_newest(&before, was_synthetic, &self.ring);
        }
    }

    #[inline]
    fn refresh(&mut self, bars: &mut Bars) {
        if self.outdated {
            self.rebuild(bars);
        }
    }

    #[cold]
    fn rebuild(&mut self, bars: &mut Bars) {
        self.windows = Windows::new(self.windows.lengths(), &self.ring);
        self.streak = streak_before_newest(&self.ring);
        bars.rebuild(&self.ring);
        self.outdated = false;
    }

    /// A late or corrected candle is judged only if it is the newest closed one.
    fn judge_late(&self, minute: Minute, candle: &Candle) -> Judge {
        let newest = self.ring.newest();
        match self.ring.running() {
            _ if candle.source == crate::candle::Source::Synthetic => Judge::Nothing,
            None if minute == newest => Judge::Closed,
            Some(_) if minute == newest - 1 => Judge::BeforeRunning,
            _ => Judge::Nothing,
        }
    }
}

fn streak_before_newest(ring: &Ring) -> i32 {
    let mut streak = 0;
    for age in 1..ring.len() {
        let row = ring.row(ring.slot_back(age));
        let next = match row.close.partial_cmp(&row.open) {
            Some(std::cmp::Ordering::Greater) if streak >= 0 => streak + 1,
            Some(std::cmp::Ordering::Less) if streak <= 0 => streak - 1,
            _ => break,
        };
        streak = next;
    }
    streak
}
