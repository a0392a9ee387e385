"""The oracle against itself and TA-Lib: its two halves share no formula and must agree.

Needs nothing of `screener`, so that a doubt about the oracle can be settled without it.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import talib

from oracle import OracleEngine, exact_sums, fill_holes, recompute, recompute_alerts
from oracle.bars import bollinger, macd, rsi
from oracle.compare import ALERT_FIELDS, allowed, metric_differences
from oracle.names import DEFAULT_WINDOWS
from oracle.rules import CLASSIC, FUTURES
from oracle.scenario import Hole, Late, Market, Run, Running, Shape, Step

WINDOWS = ("1m", "7m", "10m", "12h")
START = 28_972_800 - 7  # a few minutes before a midnight


def real_slice(shared_data: Path, name: str, first: int, count: int) -> pl.DataFrame:
    """Some minutes of a real file, with holes where every 97th minute was."""
    frame = pl.read_parquet(shared_data / "klines" / name).slice(first, count)
    frame = frame.with_columns(
        quote_volume=pl.col("volume") * (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    )
    return frame.filter(pl.int_range(pl.len()) % 97 != 50)


def none_for_nan(value: float) -> float | None:
    """Null as a mapping says it."""
    return None if math.isnan(value) else value


@pytest.mark.parametrize("rules", ["futures", "classic"])
@pytest.mark.parametrize(
    "name", ["um_full_2025-02/NEARUSDT.parquet", "um_ohlcv_2025-05/XRPUSDT.parquet"]
)
def test_one_by_one_equals_whole_arrays(shared_data: Path, name: str, rules: str) -> None:
    """Metrics at some minutes and all alerts of a series with holes."""
    given = real_slice(shared_data, name, 1100, 2500)
    whole = fill_holes(given)
    arrays = recompute(whole, [*DEFAULT_WINDOWS, *WINDOWS])
    row_of = {open_time: row for row, open_time in enumerate(whole["open_time"])}

    oracle = OracleEngine(rules=rules, windows=WINDOWS)
    looks = set(random.Random(rules + name).sample(range(given.height), 25))
    raised: list[dict[str, Any]] = []
    for number, candle in enumerate(given.to_dicts()):
        raised += oracle.update(candle)
        if number in looks:
            row = row_of[candle["open_time"]]
            expected = {key: none_for_nan(values[row]) for key, values in arrays.items()}
            expected["market_cap"] = None
            found = oracle.metrics(candle["symbol"])
            assert metric_differences(found, expected) == []

    wanted = recompute_alerts(whole, arrays, rules=rules)
    assert [{key: alert[key] for key in ALERT_FIELDS} for alert in raised] == wanted
    assert oracle.stats["appended"] == given.height
    assert oracle.stats["filled"] == whole.height - given.height


@pytest.mark.parametrize("name", ["NEARUSDT", "FILUSDT"])
@pytest.mark.parametrize("timeframe", ["5m", "1h", "8h"])
def test_indicators_are_those_of_talib(shared_data: Path, name: str, timeframe: str) -> None:
    """The plain loops are TA-Lib within SPEC 4, ready when it is."""
    frame = pl.read_parquet(shared_data / "klines" / "um_full_2025-02" / f"{name}.parquet")
    length = DEFAULT_WINDOWS[timeframe]
    closes = frame["close"].to_numpy()[length - 1 :: length]  # the files begin at midnight
    lines = talib.MACD(closes)
    early = talib.MACD(closes, signalperiod=1)[0]
    bands = talib.BBANDS(closes, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    strength = talib.RSI(closes)
    for count in [*range(1, 40), *range(40, len(closes), max(1, len(closes) // 40))]:
        known = closes[:count].tolist()
        found = (rsi(known), *macd(known), *bollinger(known))
        line = lines[0] if count > 33 else early
        wanted = [values[count - 1] for values in (strength, line, *lines[1:], *bands)]
        for ours, theirs in zip(found, wanted, strict=True):
            assert (ours is None) == math.isnan(theirs)
            if ours is not None:
                assert abs(ours - theirs) <= allowed(theirs, known[-1])


def test_flat_prices() -> None:
    """RSI 50 is the one difference from TA-Lib."""
    assert rsi([5.0] * 15) == 50.0
    assert talib.RSI(np.full(15, 5.0))[-1] == 0.0
    assert rsi([5.0 + count for count in range(15)]) == 100.0
    assert macd([5.0] * 34) == (0.0, 0.0, 0.0)
    assert bollinger([0.1] * 20) == pytest.approx((0.1, 0.1, 0.1), rel=1e-12)


def test_sums_are_exact() -> None:
    """`math.fsum` is the rounded sum of the exact fractions."""
    chance = random.Random(1)
    values = [10.0 ** chance.uniform(-30, 30) for _ in range(300)]
    found = exact_sums(np.array(values), 50)
    assert np.isnan(found[:49]).all()
    for end in range(50, 301):
        assert found[end - 1] == float(sum(map(Fraction, values[end - 50 : end])))


def test_every_rule_can_fire() -> None:
    """The generated tests prove something only if their market can make every rule hold."""
    fired: Counter[str] = Counter()
    for rules in ("futures", "classic"):
        for up in (1, -1):
            for drift, shape in [
                (0.5 * up, Shape(50 * up, 5, "heavy")),
                (-0.5 * up, Shape(70 * up, 5, "heavy")),
                (0.0, Shape(60 * up, 5, "huge")),
            ]:
                market = Market(1, START, timed=True)
                oracle = OracleEngine(rules=rules, floors=rules == "futures")
                oracle.warm_up(market.warm_up(0, 1600, drift, "usual"))
                steps = [
                    Run(0, 2, Shape(0, 0, "thin")),
                    Run(0, 4, shape),
                    Run(0, 1, Shape(-160 * up, 0, "usual")),
                    Run(0, 12, Shape(8 * up, 0, "usual")),
                    Run(0, 9, Shape(30 * up, 0, "heavy")),
                    Run(0, 4, Shape(-40 * up, 0, "huge")),
                    Run(0, 12, Shape(0, 0, "usual")),
                ]
                for step in steps:
                    for candle in market.candles(step):
                        fired.update(alert["rule"] for alert in oracle.update(candle))
    assert set(fired) == {rule.name for rule in (*FUTURES, *CLASSIC)}


def test_a_provisional_alert_is_settled_at_the_close() -> None:
    """Raised once more under its id, confirmed or withdrawn."""
    up, back = Shape(200, 0, "heavy"), Shape(0, 0, "heavy")
    for closing, state in [(up, "confirmed"), (back, "withdrawn")]:
        market = Market(1, START, timed=True)
        oracle = OracleEngine(evaluate="update")
        oracle.warm_up(market.warm_up(0, 20, 0.0, "thin"))
        arriving = market.candles(Running(0, ((20, up), (40, closing)), closes=True))
        alerts = [alert for candle in arriving for alert in oracle.update(candle)]
        assert [alert["rule"] for alert in alerts] == ["pioneer_bull"] * 2
        assert [alert["state"] for alert in alerts] == ["provisional", state]
        assert alerts[0]["id"] == alerts[1]["id"]
        assert alerts[0]["triggered_at"] % 60_000 == 20_000


def test_a_hole_is_pending_until_it_is_filled() -> None:
    """No rule looks at a pending minute; the late candle makes it judge again."""
    for mended in (False, True):
        market = Market(1, START, timed=True)
        oracle = OracleEngine()
        oracle.warm_up(market.warm_up(0, 20, 0.0, "thin"))
        steps: list[Step] = [
            Hole(0, 1),
            Run(0, 1, Shape(0, 0, "thin")),
            Run(0, 1, Shape(200, 0, "heavy")),
        ]
        if mended:
            steps.insert(2, Late(0, 1, Shape(0, 0, "thin")))
        arriving = [candle for step in steps for candle in market.candles(step)]
        alerts = [alert for candle in arriving for alert in oracle.update(candle)]
        assert [alert["rule"] for alert in alerts] == ["pioneer_bull"] * mended
        assert oracle.stats["filled"] == 1
        assert oracle.stats["corrected"] == mended
