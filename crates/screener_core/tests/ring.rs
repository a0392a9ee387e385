//! Every row of SPEC 2's table, as a ring places candles.

// A test that cannot be set up has failed.
#![allow(clippy::unwrap_used)]

use screener_core::candle::{Candle, Source};
use screener_core::ring::{Entry, Placement, Ring, Running};
use screener_core::time::MINUTE_MS;

const T: i64 = 29_453_760;

fn candle(minute: i64) -> Candle {
    Candle {
        open_time: minute * MINUTE_MS,
        open: 1.0,
        high: 2.0,
        low: 1.0,
        close: 2.0,
        volume: 3.0,
        quote_volume: 4.0,
        trades: Some(5.0),
        taker_buy_volume: None,
        taker_buy_quote_volume: None,
        closed: true,
        event_time: None,
        source: Source::Rest,
    }
}

fn open(minute: i64, event_time: i64) -> Candle {
    Candle { closed: false, event_time: Some(event_time), ..candle(minute) }
}

fn other(minute: i64, source: Source) -> Candle {
    Candle { close: 1.5, source, ..candle(minute) }
}

/// Three real minutes, T - 2 to T, the middle one filled and pending.
fn ring() -> Ring {
    let mut ring = Ring::new(T - 2, &Entry::of(&candle(T - 2)), None);
    ring.append(&Entry::fill(2.0, true), None);
    ring.append(&Entry::of(&candle(T)), None);
    ring
}

#[test]
fn later_minutes() {
    let ring = ring();
    assert_eq!(ring.place(&candle(T + 1)), Placement::Append { missing: 0 });
    assert_eq!(ring.place(&candle(T + 2)), Placement::Append { missing: 1 });
    assert_eq!(ring.place(&candle(T + 1440)), Placement::Append { missing: 1439 });
    assert_eq!(ring.place(&candle(T + 1441)), Placement::Restart);
}

#[test]
fn minutes_that_are_there() {
    let ring = ring();
    assert_eq!(ring.place(&candle(T)), Placement::Duplicate);
    let elsewhere = Candle { source: Source::Archive, ..candle(T) };
    assert_eq!(ring.place(&elsewhere), Placement::Duplicate);
    assert_eq!(ring.place(&other(T, Source::Archive)), Placement::Correct);
    assert_eq!(ring.place(&other(T, Source::Rest)), Placement::Correct);
    assert_eq!(ring.place(&other(T, Source::Stream)), Placement::Outranked);
    assert_eq!(ring.place(&other(T, Source::Synthetic)), Placement::Outranked);
    let known = Candle { taker_buy_volume: Some(0.0), ..candle(T) };
    assert_eq!(ring.place(&known), Placement::Correct, "unknown is not zero");
}

#[test]
fn filled_minutes_give_way_to_anything() {
    let ring = ring();
    let flat = Candle { open: 2.0, low: 2.0, volume: 0.0, quote_volume: 0.0, ..candle(T - 1) };
    for source in Source::ALL {
        assert_eq!(ring.place(&Candle { source, ..flat }), Placement::Correct);
    }
    let mut absent = ring;
    let synthetic = Candle { source: Source::Synthetic, ..candle(T - 1) };
    absent.correct(T - 1, &Entry::of(&synthetic));
    assert_eq!(absent.place(&synthetic), Placement::Duplicate);
    assert_eq!(absent.place(&candle(T - 1)), Placement::Correct, "it turns out to be real");
}

#[test]
fn earlier_minutes() {
    let ring = ring();
    assert_eq!(ring.place(&candle(T - 3)), Placement::Prepend);
    assert_eq!(ring.place(&candle(T - 1439)), Placement::Prepend);
    assert_eq!(ring.place(&candle(T - 1440)), Placement::TooOld);
    assert_eq!(ring.place(&open(T - 1440, 0)), Placement::TooOld);
}

#[test]
fn the_running_minute() {
    let mut ring = ring();
    let first = Some(Running { event_time: Some(100) });
    ring.append(&Entry::of(&open(T + 1, 100)), first);
    assert_eq!(ring.place(&open(T + 1, 100)), Placement::Update);
    assert_eq!(ring.place(&open(T + 1, 101)), Placement::Update);
    assert_eq!(ring.place(&open(T + 1, 99)), Placement::Stale);
    assert_eq!(ring.place(&Candle { event_time: None, ..open(T + 1, 0) }), Placement::Update);
    assert_eq!(ring.place(&candle(T + 1)), Placement::Update);
    assert_eq!(ring.place(&open(T, 200)), Placement::Stale);
    assert_eq!(ring.place(&open(T - 3, 200)), Placement::Stale);
    ring.close_by_force();
    assert_eq!(ring.place(&open(T + 1, 300)), Placement::Stale);
    assert_eq!(ring.place(&other(T + 1, Source::Synthetic)), Placement::Correct);
    assert_eq!(ring.place(&candle(T + 1)), Placement::Confirm);
    ring.confirm(T + 1, Source::Rest);
    assert_eq!(ring.place(&other(T + 1, Source::Stream)), Placement::Outranked);
}

#[test]
fn fills_follow_the_minute_before_them() {
    let mut ring = ring();
    ring.correct(T - 2, &Entry::of(&other(T - 2, Source::Archive)));
    assert_eq!(ring.entry(T - 1), Entry::fill(1.5, true));
    assert_eq!(ring.entry(T), Entry::of(&candle(T)));
    ring.prepend(T - 4, &Entry::of(&candle(T - 4)), false);
    assert_eq!((ring.start(), ring.len()), (T - 4, 5));
    assert_eq!(ring.entry(T - 3), Entry::fill(2.0, false));
}

#[test]
fn a_full_ring_keeps_the_minute_that_left_for_looking_back() {
    let mut ring = Ring::new(T - 1440, &Entry::of(&candle(T - 1440)), None);
    for minute in T - 1439..T {
        ring.append(&Entry::of(&candle(minute)), None);
    }
    assert_eq!((ring.len(), ring.oldest()), (1440, T - 1440));
    let running = Running { event_time: None };
    ring.append(&Entry::of(&open(T, 0)), Some(running));
    assert_eq!((ring.len(), ring.oldest()), (1440, T - 1439));
    let (entry, aside) = ring.set_running_aside().unwrap();
    assert_eq!((entry, aside), (Entry::of(&open(T, 0)), running));
    assert_eq!((ring.newest(), ring.oldest()), (T - 1, T - 1440));
    assert_eq!(ring.entry(T - 1440), Entry::of(&candle(T - 1440)));
}
