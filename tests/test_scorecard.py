"""`scorecard`: figures by hand, intervals against slow ones, p-values that are honest."""

from __future__ import annotations

import itertools
import math
import statistics
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import screener
from screener import DataError
from screener.outcomes.pool import Placed
from screener.outcomes.significance import benjamini_hochberg, bootstrap, p_value, wilson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MINUTE = 60_000
START = 1_738_368_000_000
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "EUSDT")
DAYS = 6


def walk(seed: int, pushes: Sequence[int] = ()) -> pl.DataFrame:
    """Random walks with much in common and no edge, but for 10 minutes of rise after pushes."""
    rng = np.random.default_rng(seed)
    minutes = DAYS * 1440
    common = rng.normal(0, 1e-3, minutes)
    for push in pushes:
        common[push : push + 10] += 4e-4
    frames = []
    for symbol in SYMBOLS:
        close = 100 * np.exp(np.cumsum(common + rng.normal(0, 5e-4, minutes)))
        first = np.concatenate([[100.0], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "open_time": START + np.arange(minutes) * MINUTE,
                    "open": first,
                    "high": np.maximum(first, close) * 1.0002,
                    "low": np.minimum(first, close) * 0.9998,
                    "close": close,
                }
            )
        )
    return pl.concat(frames)


def raised(rule: str, minutes: Sequence[int] | NDArray[Any], direction: str = "up") -> pl.DataFrame:
    """Alerts of a rule for all symbols at once at each of these minutes."""
    pairs = list(itertools.product(minutes, SYMBOLS))
    return pl.DataFrame(
        {
            "symbol": [symbol for _, symbol in pairs],
            "rule": rule,
            "triggered_at": [START + int(minute) * MINUTE for minute, _ in pairs],
            "direction": direction,
        }
    )


def outcomes(returns: Sequence[float | None], **columns: object) -> pl.DataFrame:
    """Outcomes over 5m of alerts 20 minutes apart, with these returns."""
    count = len(returns)
    base = {
        "symbol": "AUSDT",
        "rule": "mine",
        "direction": "up",
        "horizon": "5m",
        "entry_time": [START + 20 * MINUTE * number for number in range(count)],
        "return": pl.Series(returns, dtype=pl.Float64),
        "label": pl.Series([1, -1, 0, 1, None], dtype=pl.Int8).gather(
            [n % 5 for n in range(count)]
        ),
        "mfe": [float(number) for number in range(count)],
        "mae": -1.0,
        "against_benchmark": pl.Series([None] * count, dtype=pl.Float64),
        "against_market": 0.5,
    }
    return pl.DataFrame(base | columns)


MARKET = walk(1)


def only(card: screener.Scorecard) -> dict[str, Any]:
    (row,) = card.frame.to_dicts()
    return row


# -- the figures ---------------------------------------------------------------------------------


def test_the_figures_of_a_rule() -> None:
    row = only(screener.scorecard(outcomes([2.0, -1.0, 0.0, 5.0, -2.5, None]), MARKET))
    assert (row["rule"], row["horizon"], row["n"], row["missing"]) == ("mine", "5m", 5, 1)
    assert row["hit_rate"] == 0.4
    assert (row["hit_rate_low"], row["hit_rate_high"]) == wilson(2, 5, 0.95)
    assert (row["mean"], row["median"], row["profit_factor"]) == (0.7, 0.0, 2.0)
    assert (row["mfe"], row["mae"], row["against_market"]) == (2.0, -1.0, 0.5)
    assert row["against_benchmark"] is None
    assert (row["target_share"], row["stop_share"], row["end_share"]) == (0.5, 0.25, 0.25)
    for name in ("mean", "median", "profit_factor"):
        assert row[f"{name}_low"] <= row[name]
        assert row[f"{name}_high"] is None or row[f"{name}_high"] >= row[name]


def test_nothing_lost_is_no_factor() -> None:
    row = only(screener.scorecard(outcomes([1.0, 2.0, 0.5, 3.0]), MARKET))
    assert row["profit_factor"] is None
    assert row["profit_factor_high"] is None


def test_one_hour_has_no_interval() -> None:
    row = only(screener.scorecard(outcomes([1.0, -2.0]), MARKET))
    assert (row["mean"], row["mean_low"], row["median_high"]) == (-0.5, None, None)
    assert row["hit_rate_low"] is not None


def test_what_was_not_measured_has_no_figures() -> None:
    row = only(screener.scorecard(outcomes([None, None]), MARKET))
    assert (row["n"], row["missing"]) == (0, 2)
    assert {row[name] for name in row if name not in ("rule", "horizon", "n", "missing")} == {None}


def test_rows_are_in_the_order_of_the_outcomes() -> None:
    alerts = pl.concat([raised("z", [50, 500]), raised("a", [60])])
    found = screener.outcomes(alerts, MARKET, ["1h", "5m"])
    frame = screener.scorecard(found, MARKET, permutations=10, resamples=10).frame
    assert frame.select("rule", "horizon").rows() == [
        *(("z", "1h"), ("z", "5m"), ("a", "1h"), ("a", "5m"))
    ]
    assert frame["n"].to_list() == [10, 10, 5, 5]


def test_alerts_without_a_rule_are_one_group() -> None:
    alerts = raised("", [50, 500]).drop("rule")
    found = screener.outcomes(alerts, MARKET, ["5m"])
    card = screener.scorecard(found, MARKET, permutations=10, resamples=10)
    assert (only(card)["rule"], only(card)["n"]) == (None, 10)
    assert str(card).splitlines()[1].startswith("- ")


def test_an_empty_frame_is_an_empty_card() -> None:
    found = screener.outcomes(raised("a", [50]), MARKET, ["5m"])
    full = screener.scorecard(found, MARKET, permutations=9, resamples=9)
    for frame, candles in ((found.clear(), MARKET), (found.clear(), MARKET.clear())):
        card = screener.scorecard(frame, candles)
        assert card.frame.schema == full.frame.schema
        assert card.frame.is_empty()
        assert str(card)
        assert card._repr_html_()


# -- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("hits", "count"), [(8, 10), (1, 3), (500, 1000)])
def test_wilson_is_where_the_normal_test_just_accepts(hits: int, count: int) -> None:
    share = hits / count
    for end in wilson(hits, count, 0.95):
        deviation = math.sqrt(end * (1 - end) / count)
        assert abs(share - end) / deviation == pytest.approx(1.959964, abs=1e-6)


def test_wilson_at_the_edges() -> None:
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 1.959964**2 / (20 + 1.959964**2)))
    assert wilson(20, 20, 0.95)[1] == 1.0


@given(
    returns=st.lists(st.integers(-9, 9), min_size=2, max_size=12),
    wide=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_bootstrap_is_the_slow_one(returns: list[int], wide: int, seed: int) -> None:
    """The same blocks drawn, their returns laid side by side and counted plainly."""
    values = np.array(returns, dtype=np.float64)
    block = np.arange(len(values)) // wide
    found = bootstrap(values, block, 40, 0.9, np.random.default_rng(seed))
    blocks = int(block[-1]) + 1
    drawn = np.random.default_rng(seed).integers(blocks, size=(40, blocks))
    slow: dict[str, list[float]] = {"mean": [], "median": [], "profit_factor": []}
    for row in drawn:
        sample = [value for one in row for value in values[block == one]]
        gained = sum(value for value in sample if value > 0)
        lost = -sum(value for value in sample if value < 0)
        slow["mean"].append(statistics.fmean(sample))
        slow["median"].append(statistics.median(sample))
        slow["profit_factor"].append(gained / lost if lost else (math.inf if gained else 1.0))
    for name, ends in found.items():
        ordered = sorted(slow[name])
        assert ends == pytest.approx((ordered[1], ordered[37]), rel=1e-12, abs=1e-12)


def test_intervals_are_as_wide_as_theory_has_them() -> None:
    values = np.random.default_rng(3).normal(0.2, 1.0, 2000)
    rng = np.random.default_rng(4)
    low, high = bootstrap(values, np.arange(2000), 2000, 0.95, rng)["mean"]
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(2000), rel=0.08)
    clustered = np.repeat(values[:200], 10)
    low, high = bootstrap(clustered, np.repeat(np.arange(200), 10), 2000, 0.95, rng)["mean"]
    assert high - low == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.12)


# -- chance --------------------------------------------------------------------------------------


def test_p_values_are_never_zero() -> None:
    assert p_value(1.0, np.array([0.0, 0.5, 1.0, 2.0])) == 3 / 5
    assert p_value(9.0, np.zeros(99)) == 1 / 100


def test_benjamini_hochberg() -> None:
    """Each p times the number of tests by its rank, and at most what a larger one has."""
    adjusted = benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.5]))
    assert adjusted == pytest.approx([0.01 * 4 / 1, 0.04 * 4 / 3, 0.04 * 4 / 3, 0.5 * 4 / 4])
    assert benjamini_hochberg(np.array([])).size == 0


def test_alerts_of_an_hour_are_a_block() -> None:
    placed = Placed.of(
        np.array([0, 3, 0, 3]), np.array([1445, 1450, 1510, 1450]), np.array([1.0, -1.0, 1.0, 1.0])
    )
    assert placed.group.tolist() == [0, 72, 1, 72]
    assert placed.block.tolist() == [0, 0, 1, 0]
    assert placed.shift.tolist() == [0, 5, 0, 5]


def test_a_draw_is_of_the_same_symbol_and_hour() -> None:
    """Where each symbol and hour has a return of its own, the mean tells where draws come from."""
    hour = pl.col("open_time") // 3_600_000 % 24
    number = pl.col("symbol").rank("dense").cast(pl.Int64)
    tall = pl.col("open") * (1 + (number * 24 + hour) / 1000)
    flat = MARKET.with_columns(open=100.0, low=1.0, high=1000.0).with_columns(close=tall)
    alerts = raised("a", [7, 190, 1000, 3000, 3001])
    found = screener.outcomes(alerts, flat, ["1m"])
    assert found["return"].n_unique() > 10
    row = only(screener.scorecard(found, flat, permutations=50))
    assert row["random_mean"] == pytest.approx(row["mean"], rel=1e-12)


def ks_distance(values: Sequence[float]) -> float:
    """How far the share of values below any x is from x, at most."""
    ordered = np.sort(np.asarray(values))
    ranks = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((ranks[1:] - ordered).max(), (ordered - ranks[:-1]).max()))


@pytest.mark.parametrize("direction", ["up", "down"])
def test_p_values_without_an_edge_are_uniform(direction: str) -> None:
    """Two hundred rules that fire at random, each time for all symbols, on one market.

    The bound is that of Kolmogorov and Smirnov at 1 %. Were every alert drawn for itself, the
    symbols' common moves would count five times, and the distance be about 0.2.
    """
    rng = np.random.default_rng(5)
    last = DAYS * 1440 - 15
    alerts = pl.concat(
        raised(f"rule {number}", rng.choice(last, 8, replace=False), direction)
        for number in range(200)
    )
    found = screener.outcomes(alerts, MARKET, ["15m"])
    assert found["return"].null_count() == 0
    frame = screener.scorecard(found, MARKET, permutations=400, resamples=1).frame
    assert ks_distance(frame["p"].to_list()) < 1.63 / math.sqrt(200)
    assert frame["p_adjusted"].min() > 0.05  # type: ignore[operator]


def test_an_edge_that_is_there_is_found() -> None:
    rng = np.random.default_rng(6)
    pushes = np.sort(rng.choice(DAYS * 1440 // 60, 30, replace=False)) * 60 + 20
    market = walk(7, pushes.tolist())
    alerts = pl.concat(
        [
            raised("edge", pushes),
            raised("wrong way", pushes, "down"),
            *(raised(f"luck {number}", rng.choice(8000, 30)) for number in range(20)),
        ]
    )
    found = screener.outcomes(alerts, market, ["5m", "15m"])
    frame = screener.scorecard(found, market, permutations=2000, resamples=100).frame
    edge = frame.filter(rule="edge")
    assert (edge["p_adjusted"] < 0.05).all()
    assert (edge["mean"] > edge["random_mean"]).all()
    assert (frame.filter(rule="wrong way")["p"] > 0.95).all()
    luck = frame.filter(pl.col("rule").str.starts_with("luck"))
    assert (luck["p_adjusted"] > 0.05).all()


def test_the_same_seed_gives_the_same_numbers() -> None:
    found = screener.outcomes(
        pl.concat([raised("a", [50, 500, 900]), raised("b", [70, 800])]), MARKET
    )
    first, again, other = (
        screener.scorecard(found, MARKET, permutations=50, resamples=50, seed=seed).frame
        for seed in (0, 0, 1)
    )
    assert_frame_equal(first, again, check_exact=True)
    assert not first["p"].equals(other["p"])
    alone = screener.scorecard(found.filter(rule="b"), MARKET, permutations=50, resamples=50).frame
    assert_frame_equal(
        alone.drop("p_adjusted"), first.filter(rule="b").drop("p_adjusted"), check_exact=True
    )


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [("permutations", 0), ("resamples", 0), ("level", 0.0), ("level", 1.0), ("seed", -1)],
)
def test_arguments_that_cannot_be(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(DataError, match=name) as caught:
        screener.scorecard(outcomes([1.0]), MARKET, **options)
    assert caught.value.remedy


def test_outcomes_without_a_column() -> None:
    with pytest.raises(DataError) as caught:
        screener.scorecard(outcomes([1.0]).drop("label"), MARKET)
    assert caught.value.column == "label"


@pytest.mark.parametrize("candles", [MARKET.clear(), MARKET.filter(symbol="BUSDT"), MARKET.head(4)])
def test_candles_of_another_market(candles: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="measured on"):
        screener.scorecard(outcomes([1.0, 2.0]), candles)


# -- as people see it ----------------------------------------------------------------------------


class Tags(HTMLParser):
    """Collects tags and what a reader would read."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more tag, which needs no other file."""
        self.tags.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """One more text."""
        self.texts.append(data)


def cards() -> Iterator[screener.Scorecard]:
    for rule in ("<script>alert('x')</script>", "月饼 up & away"):
        frame = outcomes([1.0, -2.0, 0.5, 4.0, None], rule=rule)
        yield screener.scorecard(frame, MARKET, permutations=20, resamples=20)


def test_the_text_is_a_table() -> None:
    for card in cards():
        head, line, *_, legend = str(card).splitlines()
        assert line.startswith(only(card)["rule"])
        # A Chinese character takes two columns of a terminal and one of a string.
        assert head.index(" n ") == line.index(" 4 ") + sum(one > "⺀" for one in line)
        assert "Benjamini-Hochberg" in legend


def test_the_page_of_a_notebook_is_escaped() -> None:
    for card in cards():
        seen = Tags()
        seen.feed(card._repr_html_())
        assert "script" not in seen.tags
        assert only(card)["rule"] in seen.texts
        assert seen.tags.count("tr") == 2
