//! The one list of metric names, and where each metric's value lies.
//!
//! The rule compiler, the Python mapping, the Arrow schema and the documentation are all made from
//! this list. A value that is not ready is `NaN` in a row of values and nowhere else: it leaves the
//! core as `None` or null. No metric is ever a `NaN` when it is ready.

mod reading;

use std::fmt;

use crate::bar::GROUPS;
use crate::lanes::LANES;
use crate::time::{TIMEFRAMES, Window};

pub use reading::Reading;

/// Defines an enum of metrics with their names, in the order of the list.
macro_rules! metric_names {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name, without a window.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

metric_names! {
    /// Metrics of the symbol as a whole.
    Single {
        /// Last close.
        Price = "price",
        /// A value set by the caller.
        MarketCap = "market_cap",
        /// Newest consecutive minutes with close above open.
        UpStreak = "up_streak",
        /// Newest consecutive minutes with close below open.
        DownStreak = "down_streak",
    }
}

metric_names! {
    /// Metrics over a sliding window (SPEC 3).
    Windowed {
        /// First open.
        Open = "open",
        /// Highest high.
        High = "high",
        /// Lowest low.
        Low = "low",
        /// Last close.
        Close = "close",
        /// Sum of base volume.
        Volume = "volume",
        /// Sum of quote volume.
        QuoteVolume = "quote_volume",
        /// Sum of trades.
        Trades = "trades",
        /// Sum of quote volume bought by takers.
        TakerBuyQuote = "taker_buy_quote",
        /// Change of price in %.
        Change = "change",
        /// Range of price in % of the open.
        Range = "range",
        /// Volume-weighted average price.
        Vwap = "vwap",
        /// Volume-weighted close position.
        Vcp = "vcp",
        /// Pivot.
        FibPivot = "fib_pivot",
        /// Resistance at 0.382 of the range.
        FibR1 = "fib_r1",
        /// Resistance at 0.618 of the range.
        FibR2 = "fib_r2",
        /// Resistance at the range.
        FibR3 = "fib_r3",
        /// Support at 0.382 of the range.
        FibS1 = "fib_s1",
        /// Support at 0.618 of the range.
        FibS2 = "fib_s2",
        /// Support at the range.
        FibS3 = "fib_s3",
        /// Quote volume relative to the window before.
        VolumeRatio = "volume_ratio",
        /// Part of the quote volume bought by takers.
        TakerRatio = "taker_ratio",
        /// Minutes filled or absent at the source.
        Synthetic = "synthetic",
    }
}

metric_names! {
    /// Indicators on clock-aligned bars (SPEC 4).
    Barred {
        /// Relative strength index, 14.
        Rsi = "rsi",
        /// MACD 12/26.
        Macd = "macd",
        /// Its signal, 9.
        MacdSignal = "macd_signal",
        /// Their difference.
        MacdHist = "macd_hist",
        /// Upper Bollinger band.
        BbUpper = "bb_upper",
        /// Middle Bollinger band.
        BbMiddle = "bb_middle",
        /// Lower Bollinger band.
        BbLower = "bb_lower",
    }
}

const WINDOWED: usize = Windowed::ALL.len();
const BARRED: usize = Barred::ALL.len();
const SINGLES: usize = Single::ALL.len();

/// One metric: what is measured, and over which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Of the symbol as a whole.
    Single(Single),
    /// Over a sliding window.
    Windowed(Windowed, Window),
    /// On bars of one of the six lengths.
    Barred(Barred, Window),
}

impl Metric {
    /// The metric called `name`; windows may be written in any unit (`change_60m` is `change_1h`).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(single) = Single::ALL.iter().find(|single| single.name() == name) {
            return Some(Self::Single(*single));
        }
        let (kind, window) = name.rsplit_once('_')?;
        let window = Window::parse(window).ok()?;
        if let Some(windowed) = Windowed::ALL.iter().find(|windowed| windowed.name() == kind) {
            return Some(Self::Windowed(*windowed, window));
        }
        let barred = Barred::ALL.iter().find(|barred| barred.name() == kind)?;
        TIMEFRAMES.contains(&window).then_some(Self::Barred(*barred, window))
    }

    /// The window it is measured over, if any.
    #[must_use]
    pub const fn window(self) -> Option<Window> {
        match self {
            Self::Single(_) => None,
            Self::Windowed(_, window) | Self::Barred(_, window) => Some(window),
        }
    }

    /// Minutes it looks back at, for the question whether one of them is pending: the window, and
    /// for the volume ratio as many before it.
    #[must_use]
    pub const fn reach(self) -> i64 {
        match self {
            Self::Single(_) => 0,
            Self::Windowed(Windowed::VolumeRatio, window) => 2 * window.span(),
            Self::Windowed(_, window) | Self::Barred(_, window) => window.span(),
        }
    }

    /// Whether its values are whole numbers.
    #[must_use]
    pub const fn is_count(self) -> bool {
        matches!(
            self,
            Self::Single(Single::UpStreak | Single::DownStreak)
                | Self::Windowed(Windowed::Synthetic, _)
        )
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(single) => f.write_str(single.name()),
            Self::Windowed(windowed, window) => write!(f, "{}_{window}", windowed.name()),
            Self::Barred(barred, window) => write!(f, "{}_{window}", barred.name()),
        }
    }
}

/// Where a metric lies in a row of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u16);

impl Slot {
    /// The slot's value in a row.
    #[inline]
    #[must_use]
    pub fn of(self, values: &[f64]) -> f64 {
        values[usize::from(self.0)]
    }

    /// Puts the slot's value into a row.
    #[inline]
    pub fn put(self, value: f64, values: &mut [f64]) {
        values[usize::from(self.0)] = value;
    }
}

/// Windows are worked on in lanes: a block holds every windowed metric of so many.
const BLOCK: usize = LANES * WINDOWED;

/// The same for the bars' indicators.
const BAR_BLOCK: usize = LANES * BARRED;

/// Which windows are followed, and so which metrics there are and where their values lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    windows: Box<[Window]>,
}

impl Layout {
    /// A layout of the six default windows and `more`, sorted, each once.
    #[must_use]
    pub fn new(more: impl IntoIterator<Item = Window>) -> Self {
        let mut windows: Vec<Window> = TIMEFRAMES.into_iter().chain(more).collect();
        windows.sort_unstable();
        windows.dedup();
        Self { windows: windows.into() }
    }

    /// The windows followed, shortest first.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Numbers in a row of values.
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.one().0) + 1
    }

    /// Where every row holds a 1, so that a number is a multiple like any other.
    #[must_use]
    pub fn one(&self) -> Slot {
        Slot((self.bars_begin() + GROUPS * BAR_BLOCK + SINGLES) as u16)
    }

    /// A row in which nothing is ready.
    #[must_use]
    pub fn row(&self) -> Vec<f64> {
        let mut row = vec![f64::NAN; self.width()];
        self.one().put(1.0, &mut row);
        row
    }

    /// The `place`th slot after those of the metrics, for what is kept in a longer row.
    #[must_use]
    pub fn beyond(&self, place: usize) -> Option<Slot> {
        u16::try_from(self.width() + place).ok().map(Slot)
    }

    fn bars_begin(&self) -> usize {
        self.windows.len().div_ceil(LANES) * BLOCK
    }

    /// Where `metric` lies; `None` when its window is not followed.
    #[must_use]
    pub fn slot(&self, metric: Metric) -> Option<Slot> {
        let in_lanes = |index: usize, kind: usize, block: usize| {
            index / LANES * block + kind * LANES + index % LANES
        };
        let place = match metric {
            Metric::Windowed(windowed, window) => {
                let index = self.windows.binary_search(&window).ok()?;
                in_lanes(index, windowed as usize, BLOCK)
            }
            Metric::Barred(barred, window) => {
                let index = TIMEFRAMES.iter().position(|timeframe| *timeframe == window)?;
                self.bars_begin() + in_lanes(index, barred as usize, BAR_BLOCK)
            }
            Metric::Single(single) => self.bars_begin() + GROUPS * BAR_BLOCK + single as usize,
        };
        u16::try_from(place).ok().map(Slot)
    }

    /// Every metric, in the order of the columns of a frame: the symbol's own, then window by
    /// window those over it and the indicators on bars of its length.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
        let singles = Single::ALL.iter().copied().map(Metric::Single);
        singles.chain(self.windows.iter().flat_map(|window| {
            let windowed = Windowed::ALL.iter().map(|kind| Metric::Windowed(*kind, *window));
            let barred = Barred::ALL.iter().map(|kind| Metric::Barred(*kind, *window));
            windowed.chain(barred.filter(|_| TIMEFRAMES.contains(window)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_metric_has_a_name_that_reads_back_and_a_slot_of_its_own() {
        let layout = Layout::new([7, 10, 1440].map(|minutes| Window::new(minutes).unwrap()));
        let mut slots = HashSet::new();
        for metric in layout.metrics() {
            assert_eq!(Metric::parse(&metric.to_string()), Some(metric));
            let slot = layout.slot(metric).unwrap();
            assert!(usize::from(slot.0) < layout.width());
            assert!(slots.insert(slot.0), "{metric} shares its slot");
        }
        assert_eq!(slots.len(), 8 * WINDOWED + 6 * BARRED + SINGLES);
    }

    #[test]
    fn names_that_are_none() {
        for name in [
            "",
            "change",
            "change_",
            "change_5",
            "_5m",
            "rsi_10m",
            "chnge_5m",
            "change_2d",
            "price_5m",
        ] {
            assert_eq!(Metric::parse(name), None, "{name}");
        }
        assert_eq!(Metric::parse("change_60m").unwrap().to_string(), "change_1h");
        assert!(Layout::new([]).slot(Metric::parse("change_10m").unwrap()).is_none());
    }
}
