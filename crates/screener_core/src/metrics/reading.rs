//! Every metric of a symbol, computed into a row of values.

use super::{BAR_BLOCK, BAR_BLOCKS, BLOCK, Barred, Single, Windowed};
use crate::bar::Bars;
use crate::ring::Ring;
use crate::time::Window;
use crate::window::derived::Derived;
use crate::window::{Cover, Windows};

/// What all metrics of a symbol are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Its minutes.
    pub ring: &'a Ring,
    /// Its windows, in the layout's order.
    pub windows: &'a Windows,
    /// Its bars.
    pub bars: &'a Bars,
    /// Newest consecutive minutes that rose (positive) or fell (negative).
    pub streak: i32,
    /// The value set by the caller.
    pub market_cap: Option<f64>,
}

impl Reading<'_> {
    /// Computes every metric into `values`, a row of [`Layout::width`](super::Layout::width) numbers.
    pub fn fill(&self, values: &mut [f64]) {
        let lengths = self.windows.lengths();
        let (windowed, rest) = values.split_at_mut(lengths.len().div_ceil(2) * BLOCK);
        let (barred, singles) = rest.split_at_mut(BAR_BLOCKS * BAR_BLOCK);
        let (pairs, _) = windowed.as_chunks_mut::<BLOCK>();
        let ready = Readiness::of(self.ring);
        for (index, block) in pairs.iter_mut().enumerate() {
            // The last of an odd number of windows fills both lanes.
            let lanes = [2 * index, (2 * index + 1).min(lengths.len() - 1)];
            self.fill_windows(lanes, block);
            ready.clear_unready(lengths[lanes[0]], 0, block);
            ready.clear_unready(lengths[lanes[1]], 1, block);
        }
        let (pairs, _) = barred.as_chunks_mut::<BAR_BLOCK>();
        for (index, block) in pairs.iter_mut().enumerate() {
            self.fill_bars(2 * index, block);
        }
        singles[Single::Price as usize] = self.ring.newest_row().close;
        singles[Single::MarketCap as usize] = self.market_cap.unwrap_or(f64::NAN);
        singles[Single::UpStreak as usize] = f64::from(self.streak.max(0));
        singles[Single::DownStreak as usize] = f64::from((-self.streak).max(0));
    }

    #[inline]
    fn fill_windows(&self, lanes: [usize; 2], block: &mut [f64; BLOCK]) {
        let covers =
            [self.windows.cover(lanes[0], self.ring), self.windows.cover(lanes[1], self.ring)];
        let mut put = |kind: Windowed, lanes: [f64; 2]| {
            block[2 * kind as usize] = lanes[0];
            block[2 * kind as usize + 1] = lanes[1];
        };
        let covered = |part: fn(&Cover) -> f64| [part(&covers[0]), part(&covers[1])];
        put(Windowed::Open, covered(|c| c.open));
        put(Windowed::High, covered(|c| c.high));
        put(Windowed::Low, covered(|c| c.low));
        put(Windowed::Close, covered(|c| c.close));
        put(Windowed::Volume, covered(|c| c.amounts[0]));
        put(Windowed::QuoteVolume, covered(|c| c.amounts[1]));
        put(Windowed::Trades, covered(|c| c.amounts[2]));
        put(Windowed::TakerBuyQuote, covered(|c| c.amounts[3]));
        put(Windowed::Synthetic, covered(|c| f64::from(c.synthetic)));
        let derived = Derived::of(&covers);
        put(Windowed::Change, derived.change.to_array());
        put(Windowed::Range, derived.range.to_array());
        put(Windowed::Vwap, derived.vwap.to_array());
        put(Windowed::Vcp, derived.vcp.to_array());
        put(Windowed::FibPivot, derived.fib_pivot.to_array());
        put(Windowed::FibR1, derived.fib_r[0].to_array());
        put(Windowed::FibR2, derived.fib_r[1].to_array());
        put(Windowed::FibR3, derived.fib_r[2].to_array());
        put(Windowed::FibS1, derived.fib_s[0].to_array());
        put(Windowed::FibS2, derived.fib_s[1].to_array());
        put(Windowed::FibS3, derived.fib_s[2].to_array());
        put(Windowed::VolumeRatio, derived.volume_ratio.to_array());
        put(Windowed::TakerRatio, derived.taker_ratio.to_array());
    }

    #[inline]
    fn fill_bars(&self, first: usize, block: &mut [f64; BAR_BLOCK]) {
        for lane in 0..2 {
            let value = self.bars.value(first + lane, self.ring);
            let mut put = |kind: Barred, number: f64| block[2 * kind as usize + lane] = number;
            put(Barred::Rsi, value.rsi);
            put(Barred::Macd, value.macd.macd);
            put(Barred::MacdSignal, value.macd.signal);
            put(Barred::MacdHist, value.macd.histogram);
            put(Barred::BbUpper, value.bands.upper);
            put(Barred::BbMiddle, value.bands.middle);
            put(Barred::BbLower, value.bands.lower);
        }
    }
}

/// How long a symbol has been followed, and for how long everything about it has been known.
#[derive(Clone, Copy, Debug)]
struct Readiness {
    followed: i64,
    trades_known: i64,
    taker_known: i64,
}

impl Readiness {
    fn of(ring: &Ring) -> Self {
        let (newest, marks) = (ring.newest(), ring.marks());
        Self {
            followed: ring.followed(),
            trades_known: newest - marks.no_trades,
            taker_known: newest - marks.no_taker_quote,
        }
    }

    /// Clears what is not ready in one lane of a block.
    #[inline]
    fn clear_unready(self, window: Window, lane: usize, block: &mut [f64; BLOCK]) {
        let span = window.span();
        let all = self.followed >= 2 * span && self.trades_known.min(self.taker_known) >= span;
        if !all {
            self.clear(span, lane, block);
        }
    }

    #[cold]
    fn clear(self, span: i64, lane: usize, block: &mut [f64; BLOCK]) {
        if self.followed < span {
            block.iter_mut().skip(lane).step_by(2).for_each(|value| *value = f64::NAN);
            return;
        }
        let mut clear = |kind: Windowed| block[2 * kind as usize + lane] = f64::NAN;
        if self.followed < 2 * span {
            clear(Windowed::VolumeRatio);
        }
        if self.trades_known < span {
            clear(Windowed::Trades);
        }
        if self.taker_known < span {
            clear(Windowed::TakerBuyQuote);
            clear(Windowed::TakerRatio);
        }
    }
}
