//! Every metric of a symbol, computed into a row of values.

use fearless_simd::{Simd, dispatch, f64x4, prelude::*};

use super::{BAR_BLOCK, BLOCK, Barred, Single, Windowed};
use crate::bar::{Bars, GROUPS, StudyValue};
use crate::lanes::{LANES, level};
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
        dispatch!(level(), simd => self.fill_lanes(simd, values));
    }

    #[inline(always)]
    fn fill_lanes<S: Simd>(&self, simd: S, values: &mut [f64]) {
        let lengths = self.windows.lengths();
        let (windowed, rest) = values.split_at_mut(lengths.len().div_ceil(LANES) * BLOCK);
        let (barred, singles) = rest.split_at_mut(GROUPS * BAR_BLOCK);
        let (blocks, _) = windowed.as_chunks_mut::<BLOCK>();
        let ready = Readiness::of(self.ring);
        for (group, block) in blocks.iter_mut().enumerate() {
            put_windows(&self.windows.cover(simd, group, self.ring), simd, block);
        }
        if !ready.is_everything(lengths[lengths.len() - 1]) {
            ready.clear_unready(lengths, blocks);
        }
        let close = self.ring.newest_row().close;
        let (blocks, _) = barred.as_chunks_mut::<BAR_BLOCK>();
        for (lanes, block) in self.bars.lanes().iter().zip(blocks) {
            put_bars(&lanes.peek(simd, f64x4::splat(simd, close)), block);
        }
        singles[Single::Price as usize] = close;
        singles[Single::MarketCap as usize] = self.market_cap.unwrap_or(f64::NAN);
        singles[Single::UpStreak as usize] = f64::from(self.streak.max(0));
        singles[Single::DownStreak as usize] = f64::from((-self.streak).max(0));
    }
}

#[inline(always)]
fn put_windows<S: Simd>(cover: &Cover<f64x4<S>>, simd: S, block: &mut [f64; BLOCK]) {
    let mut put = |kind: Windowed, lanes: f64x4<S>| {
        lanes.store_slice(&mut block[LANES * kind as usize..][..LANES]);
    };
    put(Windowed::Open, cover.open);
    put(Windowed::High, cover.high);
    put(Windowed::Low, cover.low);
    put(Windowed::Close, cover.close);
    put(Windowed::Volume, cover.amounts[0]);
    put(Windowed::QuoteVolume, cover.amounts[1]);
    put(Windowed::Trades, cover.amounts[2]);
    put(Windowed::TakerBuyQuote, cover.amounts[3]);
    put(Windowed::Synthetic, cover.synthetic);
    let derived = Derived::of(simd, cover);
    put(Windowed::Change, derived.change);
    put(Windowed::Range, derived.range);
    put(Windowed::Vwap, derived.vwap);
    put(Windowed::Vcp, derived.vcp);
    put(Windowed::FibPivot, derived.fib_pivot);
    put(Windowed::FibR1, derived.fib_r[0]);
    put(Windowed::FibR2, derived.fib_r[1]);
    put(Windowed::FibR3, derived.fib_r[2]);
    put(Windowed::FibS1, derived.fib_s[0]);
    put(Windowed::FibS2, derived.fib_s[1]);
    put(Windowed::FibS3, derived.fib_s[2]);
    put(Windowed::VolumeRatio, derived.volume_ratio);
    put(Windowed::TakerRatio, derived.taker_ratio);
}

#[inline(always)]
fn put_bars<S: Simd>(value: &StudyValue<f64x4<S>>, block: &mut [f64; BAR_BLOCK]) {
    let mut put = |kind: Barred, lanes: f64x4<S>| {
        lanes.store_slice(&mut block[LANES * kind as usize..][..LANES]);
    };
    put(Barred::Rsi, value.rsi);
    put(Barred::Macd, value.macd.macd);
    put(Barred::MacdSignal, value.macd.signal);
    put(Barred::MacdHist, value.macd.histogram);
    put(Barred::BbUpper, value.bands.upper);
    put(Barred::BbMiddle, value.bands.middle);
    put(Barred::BbLower, value.bands.lower);
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

    /// Whether all metrics of all windows are ready.
    #[inline(always)]
    fn is_everything(self, longest: Window) -> bool {
        let known = self.trades_known.min(self.taker_known);
        self.followed >= 2 * longest.span() && known >= longest.span()
    }

    /// Clears what is not ready.
    #[cold]
    fn clear_unready(self, windows: &[Window], blocks: &mut [[f64; BLOCK]]) {
        for (windows, block) in windows.chunks(LANES).zip(blocks) {
            for (lane, window) in windows.iter().enumerate() {
                self.clear(window.span(), lane, block);
            }
        }
    }

    fn clear(self, span: i64, lane: usize, block: &mut [f64; BLOCK]) {
        if self.followed < span {
            block.iter_mut().skip(lane).step_by(LANES).for_each(|value| *value = f64::NAN);
            return;
        }
        let mut clear = |kind: Windowed| block[LANES * kind as usize + lane] = f64::NAN;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candle::{Candle, Source};
    use crate::metrics::Layout;
    use crate::symbol::{Gaps, Symbol};
    use crate::time::MINUTE_MS;
    use fearless_simd::Level;
    use proptest::prelude::*;

    fn candle(minute: usize, steps: [u16; 4]) -> Candle {
        let [move_, height, volume, taken] = steps.map(f64::from);
        let open = 100.0 + move_ / 7.0;
        let (high, low) = (open + height / 11.0, open - height / 13.0);
        let (volume, quote_volume) = (volume * 0.1, volume * 0.1 * open);
        Candle {
            open_time: 1_700_000_040_000 + minute as i64 * MINUTE_MS,
            open,
            high,
            low,
            close: if taken > 5.0 { high } else { low },
            volume,
            quote_volume,
            trades: Some(volume.floor()),
            taker_buy_volume: None,
            taker_buy_quote_volume: Some(quote_volume * taken / 20.0),
            closed: true,
            event_time: None,
            source: Source::Stream,
        }
    }

    /// The row that each of this machine's instruction sets computes.
    fn rows(symbol: &mut Symbol, layout: &Layout) -> Vec<Vec<u64>> {
        let newest = Level::new();
        #[cfg(target_arch = "x86_64")]
        let levels = [
            newest.as_sse2().map(Level::Sse2),
            newest.as_sse4_2().map(Level::Sse4_2),
            newest.as_avx2().map(Level::Avx2),
            newest.as_avx512().map(Level::Avx512),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(newest)];
        let reading = symbol.read().unwrap();
        let row_of = |level: Level| {
            let mut row = layout.row();
            dispatch!(level, simd => reading.fill_lanes(simd, &mut row));
            row.into_iter().map(f64::to_bits).collect()
        };
        levels.into_iter().flatten().map(row_of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_instruction_set_gives_the_same_bits(
            steps in prop::collection::vec(prop::array::uniform4(0_u16..20), 1..300),
            repeat in 1_usize..12,
        ) {
            let layout = Layout::new([]);
            let mut symbol = Symbol::default();
            let all = steps.iter().cycle().take(steps.len() * repeat).enumerate();
            for (minute, steps) in all {
                symbol.apply(&candle(minute, *steps), Gaps::Pending, layout.windows());
                if minute % 97 == 0 {
                    let rows = rows(&mut symbol, &layout);
                    prop_assert!(rows.iter().all(|row| *row == rows[0]));
                }
            }
        }
    }
}
