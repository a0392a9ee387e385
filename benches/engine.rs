//! What the core costs. Every metric of every judged candle goes into a checksum that is printed,
//! so that nothing is skipped. Run with `nox -s bench`.

// A benchmark that cannot be set up has to stop, and the checksum has to be seen.
#![allow(clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use screener_core::candle::{Candle, Source};
use screener_core::engine::{Config, Engine, Judged, Order, Rows};
use screener_core::rule::{RuleSet, preset};
use screener_core::screen::{Evaluate, Screen};
use screener_core::symbol::Gaps;
use screener_core::time::{MINUTE_MS, Window};

const START: i64 = 1_767_225_600_000;

/// A random walk with real-looking decimals, the same at every run.
struct Walk {
    state: u64,
    price: f64,
    minute: i64,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, price: 100.0, minute: 0 }
    }

    fn random(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> Candle {
        let round = |price: f64| (price * 1e4).round() / 1e4;
        let open = self.price;
        let close = round(open * (1.0 + (self.random() - 0.5) * 0.003));
        let (top, bottom) = (open.max(close), open.min(close));
        let high = round(top * (1.0 + self.random() * 0.001)).max(top);
        let low = round(bottom * (1.0 - self.random() * 0.001)).min(bottom);
        let volume = (self.random() * 1e6).round() / 10.0;
        let quote_volume = round(volume * (open + close) / 2.0);
        let open_time = START + self.minute * MINUTE_MS;
        self.minute += 1;
        self.price = close;
        Candle {
            open_time,
            open,
            high,
            low,
            close,
            volume,
            quote_volume,
            trades: Some((volume / 7.0).floor()),
            taker_buy_volume: Some(volume / 2.0),
            taker_buy_quote_volume: Some(quote_volume / 2.0),
            closed: true,
            event_time: None,
            source: Source::Stream,
        }
    }
}

/// The walks of many symbols.
struct Walks {
    symbols: Arc<[Arc<str>]>,
    walks: Vec<Walk>,
}

/// Candles of many symbols, minute by minute.
struct Market {
    symbols: Arc<[Arc<str>]>,
    rows: Vec<(u32, Candle)>,
}

impl Walks {
    fn new(symbols: usize) -> Self {
        let names = (0..symbols).map(|number| format!("SYMBOL{number}USDT").into());
        let walks = (0..symbols as u64).map(|seed| Walk::new(seed + 1));
        Self { symbols: names.collect(), walks: walks.collect() }
    }

    fn minutes(&mut self, count: usize) -> Market {
        let mut rows = Vec::with_capacity(self.walks.len() * count);
        for _ in 0..count {
            let candles = self.walks.iter_mut().enumerate();
            rows.extend(candles.map(|(number, walk)| (number as u32, walk.next())));
        }
        Market { symbols: Arc::clone(&self.symbols), rows }
    }
}

impl Rows for Market {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn symbols(&self) -> &[Arc<str>] {
        &self.symbols
    }

    fn symbol(&self, row: usize) -> u32 {
        self.rows[row].0
    }

    fn open_time(&self, row: usize) -> i64 {
        self.rows[row].1.open_time
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        self.rows[row].1.event_time
    }

    fn candle(&self, row: usize) -> Candle {
        self.rows[row].1
    }
}

fn futures() -> RuleSet {
    preset::load("futures", true).expect("the preset is there").expect("the preset is valid")
}

fn screen(windows: &[Window]) -> Screen {
    Screen::new(&futures(), windows, "bench".into(), Evaluate::Close, Gaps::Pending)
        .expect("the windows are followed")
}

fn checksum(values: &[f64]) -> u64 {
    values.iter().fold(0, |sum, value| sum.wrapping_add(value.to_bits()))
}

/// One symbol's candles through ring, windows, bars, every metric, and the ten rules with floors.
fn replay(criterion: &mut Criterion) {
    let candles: Vec<Candle> = {
        let mut walk = Walk::new(7);
        (0..40_320).map(|_| walk.next()).collect()
    };
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(20).throughput(Throughput::Elements(candles.len() as u64));
    let screen = screen(&[]);
    let mut total = 0;
    group.bench_function("all metrics, six timeframes, ten rules, one core", |bencher| {
        bencher.iter(|| {
            let (mut tracked, mut bench) = (screen.track("BENCHUSDT"), screen.bench());
            total = 0;
            for candle in &candles {
                screen.feed(&mut tracked, candle, true, &mut bench);
                total = checksum(bench.values()).wrapping_add(total);
            }
            bench.alerts.len()
        });
    });
    group.finish();
    println!(
        "checksum of {} metrics a candle: {total:016x}",
        screen.bindings().layout().metrics().count()
    );
}

/// What a candle costs whatever the windows' lengths: eight windows, all short or all long.
fn window_length(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window length");
    let candles: Vec<Candle> = {
        let mut walk = Walk::new(7);
        (0..20_160).map(|_| walk.next()).collect()
    };
    group.sample_size(10).throughput(Throughput::Elements(candles.len() as u64));
    for longest in [16, 160, 1400] {
        let windows: Vec<Window> =
            (0..8).map(|step| Window::new(longest - step).expect("a window")).collect();
        let screen = screen(&windows);
        group.bench_function(BenchmarkId::from_parameter(longest), |bencher| {
            bencher.iter(|| {
                let (mut tracked, mut bench) = (screen.track("BENCHUSDT"), screen.bench());
                for candle in &candles {
                    screen.feed(&mut tracked, candle, true, &mut bench);
                }
                checksum(bench.values())
            });
        });
    }
    group.finish();
}

/// One closing minute of all symbols, rings full: per candle this should not depend on how many.
fn closing_minute(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("closing minute");
    group.sample_size(30);
    for symbols in [50, 500, 2000] {
        let mut engine = Engine::new(Config::default(), &futures()).expect("an engine");
        let mut walks = Walks::new(symbols);
        engine.update_many(&walks.minutes(1500), Order::Given, Judged::Nothing);
        group.throughput(Throughput::Elements(symbols as u64));
        group.bench_function(BenchmarkId::from_parameter(symbols), |bencher| {
            bencher.iter_batched(
                || walks.minutes(1),
                |market| engine.update_many(&market, Order::Given, Judged::ALL),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// The ten rules on a row of ready metrics.
fn rules(criterion: &mut Criterion) {
    let rules = futures();
    let compiled = rules.compile(&rules.bind(&[])).expect("the windows are followed");
    let screen = screen(&[]);
    let (mut tracked, mut bench) = (screen.track("BENCHUSDT"), screen.bench());
    let mut walk = Walk::new(7);
    let rows: Vec<Vec<f64>> = (0..4096)
        .map(|_| {
            screen.feed(&mut tracked, &walk.next(), true, &mut bench);
            bench.values().to_vec()
        })
        .skip(1500)
        .collect();
    let mut next = 0;
    criterion.bench_function("ten rules on ready metrics", |bencher| {
        bencher.iter(|| {
            next = (next + 1) % rows.len();
            let values = black_box(&rows[next]);
            compiled.iter().flatten().filter(|rule| rule.program.holds(values, i64::MAX)).count()
        });
    });
}

/// 500 symbols with a day of minutes each, from one batch.
fn warm_up(criterion: &mut Criterion) {
    let market = Walks::new(500).minutes(1440);
    let mut group = criterion.benchmark_group("warm-up");
    group.sample_size(10);
    group.bench_function("500 symbols x 1440 minutes", |bencher| {
        bencher.iter(|| {
            let mut engine = Engine::new(Config::default(), &futures()).expect("an engine");
            engine.update_many(&market, Order::Known, Judged::Nothing);
            engine
        });
    });
    group.finish();
}

criterion_group!(benches, replay, window_length, closing_minute, rules, warm_up);
criterion_main!(benches);
