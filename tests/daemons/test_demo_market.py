"""The built-in market: one function of seed, symbol and minute, in which every rule fires."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import screener
from screener.quality import inspect_klines
from screenerd.demo import Market, RecordedMarket
from screenerd.demo.contracts import CLOSE, HIGH, LOW, OPEN, QUOTE, TRADES, VOLUME
from screenerd.demo.market import minutes_frame
from screenerd.model import MINUTE_MS

START = 29_900_017
DAY = 1440
RULES = {rule.name for rule in screener.RuleSet.load("futures")}


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


minutes = st.integers(28_000_000, 40_000_000)
symbols = st.integers(0, 39)


@pytest.mark.parametrize("seed", [7, 8])
def test_each_rule_fires_in_every_hour_and_alerts_are_few(seed: int) -> None:
    hours = 12
    frame = minutes_frame(Market(seed=seed), START, DAY + hours * 60)
    alerts = screener.replay(frame, floors=False, start=(START + DAY) * MINUTE_MS).alerts
    alerts = alerts.with_columns(minute=pl.col("triggered_at") // MINUTE_MS - START - DAY)
    assert set(alerts["rule"]) == RULES
    for rule in RULES:
        fired = alerts.filter(rule=rule)["minute"].sort().to_list()
        longest = max(b - a for a, b in itertools.pairwise([0, *fired, hours * 60]))
        assert longest < 60, rule
    assert alerts.height < hours * 60
    assert alerts.group_by("minute").len().filter(pl.col("len") > 8).is_empty()


def test_symbols_beyond_the_scripted_ones_are_mostly_calm() -> None:
    frame = minutes_frame(Market(80), START, DAY + 360)
    alerts = screener.replay(frame, start=(START + DAY) * MINUTE_MS).alerts
    scripted = [contract.symbol for contract in Market(40).contracts]
    calm = alerts.filter(~pl.col("symbol").is_in(scripted)).height
    assert calm < alerts.height / 3


def test_candles_are_valid_and_complete(market: Market) -> None:
    frame = minutes_frame(market, START, 600)
    assert inspect_klines(frame).clean
    assert frame.height == 600 * 40
    mean = frame["quote_volume"] / frame["volume"]
    assert ((mean >= frame["low"] * 0.99999) & (mean <= frame["high"] * 1.00001)).all()
    assert (frame["taker_buy_volume"] <= frame["volume"]).all()
    assert (frame["taker_buy_quote_volume"] <= frame["quote_volume"]).all()
    assert (frame["trades"] >= 1).all()


@given(symbol=symbols, minute=minutes)
def test_a_candle_does_not_depend_on_how_it_is_asked_for(symbol: int, minute: int) -> None:
    market = Market()
    alone = market.bars(symbol, 1, minute, 1)[0]
    assert np.array_equal(alone, market.at(minute)[symbol])
    assert np.array_equal(alone, market.bars(symbol, 1, minute - 33, 500)[33])
    assert np.array_equal(alone, Market(symbol + 1).at(minute)[symbol])


@given(symbol=symbols, minute=minutes)
def test_the_running_candle_grows_into_the_final_one(symbol: int, minute: int) -> None:
    market = Market()
    final = market.minute(symbol, minute)
    assert market.partial(symbol, minute, 1).values == final.values
    versions = [market.running(minute, step / 40)[symbol] for step in range(41)]
    for before, after in itertools.pairwise(versions):
        assert after[HIGH] >= before[HIGH]
        assert after[LOW] <= before[LOW]
        assert (after[[VOLUME, TRADES]] >= before[[VOLUME, TRADES]]).all()
    for row in versions:
        assert row[LOW] <= min(row[OPEN], row[CLOSE])
        assert row[HIGH] >= max(row[OPEN], row[CLOSE])
        if row[VOLUME] >= 1000:
            assert row[LOW] * 0.999 <= row[QUOTE] / row[VOLUME] <= row[HIGH] * 1.001


@given(symbol=symbols, minute=minutes)
def test_minutes_join_without_a_gap(symbol: int, minute: int) -> None:
    before, after = Market().bars(symbol, 1, minute, 2)
    assert before[CLOSE] == after[OPEN]


@given(symbol=symbols, minute=minutes, length=st.sampled_from([5, 15, 60, 240, 480, 1440]))
def test_bars_agree_with_their_minutes(symbol: int, minute: int, length: int) -> None:
    market = Market()
    first = minute // length
    bar = market.bars(symbol, length, first, 2)[1]
    parts = market.bars(symbol, 1, (first + 1) * length, length)
    assert bar[OPEN] == parts[0, OPEN]
    assert bar[CLOSE] == parts[-1, CLOSE]
    if length <= 60:
        assert bar[HIGH] == parts[:, HIGH].max()
        assert bar[LOW] == parts[:, LOW].min()
        assert bar[VOLUME] == parts[:, VOLUME].sum()
    else:
        assert parts[:, LOW].min() <= bar[LOW] <= bar[HIGH] <= parts[:, HIGH].max()


def test_another_seed_is_another_market(market: Market) -> None:
    assert np.array_equal(market.at(START), Market().at(START))
    assert not np.array_equal(market.at(START), Market(seed=8).at(START))


def test_names_are_like_real_ones_and_all_different() -> None:
    names = [contract.symbol for contract in Market(2000).contracts]
    assert len(set(names)) == 2000
    assert all(name.endswith("USDT") for name in names)
    assert {"BTCUSDT", "1INCHUSDT", "1000PEPEUSDT", "币安人生USDT"} <= set(names[:40])


def test_prices_stay_near_their_usual_level_for_years(market: Market) -> None:
    years = market.bars(0, DAY, 26_297_280 // DAY, 2000)
    assert years[:, LOW].min() > 838_602 * 0.8
    assert years[:, HIGH].max() < 838_602 * 1.2


def test_a_market_without_symbols_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Market(0)


def test_a_recorded_market_gives_its_candles_back(market: Market) -> None:
    frame = minutes_frame(market, START, 90)
    recorded = RecordedMarket.from_frame(frame.sample(fraction=1, shuffle=True, seed=1))
    assert (recorded.first_minute, recorded.last_minute) == (START, START + 89)
    assert (
        minutes_frame(recorded, START, 90)
        .sort("symbol", "open_time")
        .equals(frame.sort("symbol", "open_time"))
    )
    index = [contract.symbol for contract in recorded.contracts].index("币安人生USDT")
    candle = recorded.minute(index, START + 3)
    assert candle == market.minute(5, START + 3)
    assert recorded.partial(index, START + 3, 1) == candle


def test_a_recorded_market_leaves_out_what_was_not_recorded(market: Market) -> None:
    frame = minutes_frame(market, START, 90)
    hole = (START + 40) * MINUTE_MS
    recorded = RecordedMarket.from_frame(frame.filter(pl.col("open_time") != hole))
    assert recorded.minute(0, START + 40) is None
    assert recorded.partial(0, START + 40, 0.5) is None
    assert recorded.minute(0, START - 1) is None
    hours = recorded.bars(0, 60, (START + 60) // 60, 1)
    parts = recorded.bars(0, 1, (START + 60) // 60 * 60, 60)
    assert hours[0, OPEN] == parts[0, OPEN]
    assert hours[0, VOLUME] == np.nansum(parts[:, VOLUME])


def test_a_recording_may_lack_the_takers_part(market: Market) -> None:
    frame = minutes_frame(market, START, 3)
    bare = frame.drop("trades", "taker_buy_volume", "taker_buy_quote_volume")
    candle = RecordedMarket.from_frame(bare).minute(0, START)
    assert candle is not None
    assert candle.trades == 100
    assert candle.taker_buy_volume == pytest.approx(candle.volume / 2)


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame({"symbol": ["A"]})])
def test_a_frame_that_is_no_recording_is_refused(frame: pl.DataFrame) -> None:
    with pytest.raises(ValueError, match="missing columns"):
        RecordedMarket.from_frame(frame)
