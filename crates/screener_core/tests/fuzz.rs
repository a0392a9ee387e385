//! Nothing that comes from outside makes the core panic; what is refused changes nothing.

// A test that cannot be set up has failed.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;
use screener_core::candle::{Candle, Source};
use screener_core::engine::{Config, Engine, Judged, Order, Rows};
use screener_core::rule::parse::parse_condition;
use screener_core::rule::{RuleSet, preset};
use screener_core::screen::Evaluate;
use screener_core::symbol::Gaps;
use screener_core::time::MINUTE_MS;

const START: i64 = 1_767_225_600_000;

fn engine(evaluate: Evaluate, gaps: Gaps) -> Engine {
    let rules = preset::load("futures", false).unwrap().unwrap();
    let config = Config { evaluate, gaps, exchange: "fuzz".into(), windows: Vec::new() };
    Engine::new(config, &rules).unwrap()
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (1_u32..40).prop_map(|price| f64::from(price) / 8.0),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -0.0, 1e-30, 1e30, 1e31, -1.0, f64::NAN, f64::INFINITY]),
    ]
}

fn candle() -> impl Strategy<Value = Candle> {
    let minute = prop_oneof![8 => -3_i64..12, 2 => -1500..1500_i64, 1 => any::<i64>()];
    let prices = (1_u32..40, 0_u32..4, 0_u32..4);
    let extra = (any_float(), any::<bool>(), any::<bool>(), 0_usize..4, any::<u8>());
    (minute, prices, any_float(), extra).prop_map(|(minute, (low, up, height), volume, extra)| {
        let (wild, closed, known, source, chance) = extra;
        let low = f64::from(low);
        let high = low + f64::from(height);
        let open = (low + f64::from(up)).min(high);
        let open_time = START.saturating_add(minute.saturating_mul(MINUTE_MS));
        let optional = |value: f64| known.then_some(value);
        Candle {
            open_time: if chance == 0 { open_time.saturating_add(17) } else { open_time },
            open: if chance == 1 { wild } else { open },
            high,
            low,
            close: if chance == 2 { wild } else { low },
            volume,
            quote_volume: volume,
            trades: optional(3.0),
            taker_buy_volume: optional(if chance == 3 { wild } else { 0.0 }),
            taker_buy_quote_volume: optional(0.0),
            closed,
            event_time: (chance != 4).then_some(open_time),
            source: Source::ALL[source],
        }
    })
}

struct OneSymbol {
    symbols: [Arc<str>; 1],
    candles: Vec<Candle>,
}

impl Rows for OneSymbol {
    fn len(&self) -> usize {
        self.candles.len()
    }

    fn symbols(&self) -> &[Arc<str>] {
        &self.symbols
    }

    fn symbol(&self, _row: usize) -> u32 {
        0
    }

    fn open_time(&self, row: usize) -> i64 {
        self.candles[row].open_time
    }

    fn event_time(&self, row: usize) -> Option<i64> {
        self.candles[row].event_time
    }

    fn candle(&self, row: usize) -> Candle {
        self.candles[row]
    }
}

/// The whole state, canonical.
fn state(engine: &mut Engine) -> Vec<u8> {
    engine.save().unwrap()
}

proptest! {
    #[test]
    fn any_candles(
        candles in prop::collection::vec(candle(), 1..60),
        update in any::<bool>(),
        absent in any::<bool>(),
    ) {
        let evaluate = if update { Evaluate::Update } else { Evaluate::Close };
        let gaps = if absent { Gaps::Absent } else { Gaps::Pending };
        let (mut engine, mut batch) = (engine(evaluate, gaps), engine(evaluate, gaps));
        let (mut raised, mut taken) = (Vec::new(), Vec::new());
        for candle in candles {
            let before = state(&mut engine);
            match engine.update("FUZZUSDT", &candle) {
                Ok(alerts) => {
                    raised.extend(alerts);
                    taken.push(candle);
                }
                Err(_) => prop_assert!(state(&mut engine) == before, "a refused candle changed something"),
            }
        }
        // What was taken one by one gives the same in one batch, and the state survives a save.
        let rows = OneSymbol { symbols: ["FUZZUSDT".into()], candles: taken };
        if !rows.is_empty() {
            let mut alerts = batch.update_many(&rows, Order::Given, Judged::ALL);
            let key = |alert: &screener_core::alert::Alert| (alert.triggered_at, alert.rule.clone());
            alerts.sort_by_key(key);
            raised.sort_by_key(key);
            prop_assert_eq!(alerts, raised);
            prop_assert!(state(&mut batch) == state(&mut engine));
        }
        let saved = state(&mut engine);
        prop_assert!(state(&mut Engine::load(&saved).unwrap()) == saved);
    }

    #[test]
    fn any_text_is_a_condition_or_refused(text in "\\PC{0,80}") {
        let _ = parse_condition(&text);
    }

    #[test]
    fn near_conditions_are_read_or_refused(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "change_5m", "range_10m", "rsi_1h", "price", "default(", "min(", "abs(", "(", ")",
                ",", "+", "-", "*", "/", "<", "<=", "==", "and", "or", "not", "1", "2.5e3", "0", "x",
            ]),
            0..40,
        ),
    ) {
        if let Ok(expr) = parse_condition(&words.join(" ")) {
            // The canonical form reads back to the same.
            prop_assert_eq!(parse_condition(&expr.to_string()).unwrap(), expr);
        }
    }

    #[test]
    fn any_rules_text_is_read_or_refused(
        line in 0_usize..40,
        with in "\\PC{0,20}",
        preset_name in prop::sample::select(preset::NAMES.to_vec()),
    ) {
        let text = preset::text(preset_name).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[line % 40] = &with;
        let _ = RuleSet::parse(&lines.join("\n"), true);
    }

    #[test]
    fn any_blob_is_loaded_or_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        mended in any::<bool>(),
    ) {
        let mut engine = engine(Evaluate::Update, Gaps::Pending);
        for minute in 0..30 {
            let candle = Candle {
                open_time: START + minute * MINUTE_MS,
                open: 1.0, high: 2.0, low: 1.0, close: 2.0, volume: 3.0, quote_volume: 4.0,
                trades: None, taker_buy_volume: Some(1.0), taker_buy_quote_volume: None,
                closed: minute < 29, event_time: Some(START + minute * MINUTE_MS + 5),
                source: Source::Stream,
            };
            engine.update("FUZZUSDT", &candle).unwrap();
        }
        let blob = state(&mut engine);
        let mut damaged = blob.clone();
        damaged[at.index(blob.len())] = byte;
        if mended {
            // A damaged payload with a checksum that matches must be refused or be plausible.
            let checksum = xxhash_rust::xxh3::xxh3_64(&damaged[28..]).to_le_bytes();
            damaged[20..28].copy_from_slice(&checksum);
            if let Ok(mut loaded) = Engine::load(&damaged) {
                let mut values = loaded.screen().bindings().row();
                for (_, symbol) in loaded.live_symbols() {
                    symbol.read().unwrap().fill(&mut values);
                }
            }
        } else if damaged != blob {
            prop_assert!(Engine::load(&damaged).is_err());
        }
        prop_assert!(Engine::load(&blob[..cut.index(blob.len())]).is_err());
    }
}
