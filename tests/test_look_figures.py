"""Figures: what is drawn is what there is, nothing overlaps, nothing global changes."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import matplotlib.collections
import matplotlib.text
import numpy as np
import polars as pl
import pytest

import screener
from screener.look import sheet
from test_look_frames import MINUTE, START, minutes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

PNG = b"\x89PNG\r\n\x1a\n"
DAY = 1440


def png(figure: Figure) -> bytes:
    """The picture a notebook shows."""
    assert isinstance(figure, sheet.Figure)
    return figure._repr_png_()


# -- figures of every kind and many sizes ---------------------------------------------------------


def alerts_of(frame: pl.DataFrame, count: int, rules: list[str]) -> pl.DataFrame:
    rng = random.Random(count)
    times = rng.choices(frame["open_time"].to_list(), k=count)
    ways = rng.choices(["up", "down", "flat"], weights=[5, 4, 1], k=count)
    return pl.DataFrame(
        {
            "symbol": [frame["symbol"][0]] * count,
            "rule": rng.choices(rules, k=count),
            "triggered_at": [time + MINUTE for time in times],
            "direction": ways,
        },
        schema_overrides={"symbol": pl.String, "rule": pl.String, "direction": pl.String},
    )


STRANGE = ["_hidden", "$a$ and $b", "<b>x</b>", "月饼", "two\nlines", "a" * 60, "\u202eright", "😀"]


def chart(count: int, alerts: int, rules: list[str], symbol: str = "AUSDT") -> Figure:
    frame = minutes(count, symbol)
    return screener.plot_alerts(alerts_of(frame, alerts, rules), frame, symbol)


def card(rules: list[str], horizons: list[str], n: int = 1234) -> screener.Scorecard:
    rng = random.Random(len(rules))
    rows = []
    for rule in rules:
        for horizon in horizons:
            mean, width = rng.gauss(0, 0.5), rng.expovariate(2)
            rows.append(
                {
                    "rule": rule,
                    "horizon": horizon,
                    "n": n,
                    "hit_rate": rng.random(),
                    "mean": mean,
                    "mean_low": mean - width,
                    "mean_high": mean + width,
                    "random_mean": rng.gauss(0, 0.05),
                    "p_adjusted": rng.random(),
                }
            )
    empty = ["rule", "horizon", "n"]
    frame = pl.DataFrame(rows) if rows else pl.DataFrame(schema=empty)
    return screener.Scorecard(frame, 0.95, 100, 100, 0)


def backtest(count: int, bar: Any = "1m", **options: Any) -> screener.Backtest:
    frame = minutes(count)
    close = pl.col("close")
    fast, slow = (close.rolling_mean(length, min_samples=1) for length in (5, 20))
    signal = pl.when(fast > slow).then(1).when(fast < slow).then(-1).otherwise(0)
    signals = frame.select("symbol", "open_time", signal=signal)
    return screener.backtest(signals, frame, bar=bar, size=0.5, **options)


KINDS: dict[str, Callable[[], Figure]] = {
    "ten minutes, one alert": lambda: chart(10, 1, ["one"]),
    "one minute": lambda: chart(1, 0, ["one"]),
    "a day, all rules": lambda: chart(DAY, 60, screener.RuleSet.load("futures").names),
    "a year, thousands": lambda: chart(300_000, 5_000, [f"rule_{n}" for n in range(30)]),
    "strange names": lambda: chart(300, 40, STRANGE, "月饼$USD$T"),
    "a long symbol": lambda: chart(300, 40, ["one", "two"], "W" * 64),
    "one rule, one horizon": lambda: card(["one"], ["5m"]).plot(),
    "ten rules, four horizons": lambda: card(
        screener.RuleSet.load("futures").names, ["5m", "15m", "1h", "4h"], 9_999
    ).plot(),
    "many rules, many horizons": lambda: card(
        [f"rule_{n}" for n in range(60)], [f"{n}m" for n in range(1, 6)], 1_234_567
    ).plot(),
    "a card of strange names": lambda: card(STRANGE, ["5m", "1h"]).plot(),
    "an empty card": lambda: card(["one"], []).plot(),
    "a backtest of a day": lambda: backtest(DAY).plot(),
    "a backtest of months": lambda: backtest(100_000).plot(),
    "a backtest of days": lambda: backtest(10 * DAY, "1d").plot(),
    "a backtest of a minute": lambda: backtest(1).plot(),
    "a backtest without trades": lambda: backtest(DAY, capital=1e12, sides="long").plot(),
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.text.Text]:
    """The texts that were drawn, of all that were made."""
    seen: list[matplotlib.text.Text] = []
    draw = matplotlib.text.Text.draw

    def recording(self: matplotlib.text.Text, renderer: Any, *rest: Any, **more: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            seen.append(self)
        draw(self, renderer, *rest, **more)

    monkeypatch.setattr(matplotlib.text.Text, "draw", recording)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_overlaps_another_or_leaves_the_paper(
    kind: str, drawn: list[matplotlib.text.Text]
) -> None:
    figure = KINDS[kind]()
    picture = png(figure)
    assert picture.startswith(PNG)
    assert len(picture) < 250_000
    texts = {id(text): text for text in drawn}
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts.values()]
    assert boxes
    width, height = figure.get_size_inches() * figure.dpi
    for name, box in boxes:
        assert box.x0 > -1, name
        assert box.x1 < width + 1, name
        assert box.y0 > -1, name
        assert box.y1 < height + 1, name
    for number, (name, box) in enumerate(boxes):
        for other_name, other in boxes[:number]:
            apart_x = max(box.x0, other.x0) - min(box.x1, other.x1)
            apart_y = max(box.y0, other.y0) - min(box.y1, other.y1)
            # A text's box has room for an accent and a descender.
            assert apart_x > -1 or apart_y > -4, (name, other_name)


@pytest.mark.parametrize("kind", ["a day, all rules", "strange names", "a card of strange names"])
def test_figures_are_the_same_twice_and_files_too(kind: str, tmp_path: Path) -> None:
    figure = KINDS[kind]()
    assert png(figure) == png(KINDS[kind]())
    figure.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").read_text(encoding="utf-8").count("<path") > 3


# -- what is drawn --------------------------------------------------------------------------------


def test_every_alert_is_a_stroke_and_every_candle_with_some_a_mark() -> None:
    frame = minutes(1000)
    alerts = alerts_of(frame, 200, ["one", "two", "three"]).unique(["rule", "triggered_at"])
    figure = screener.plot_alerts(alerts, frame, "AUSDT", bar="10m")
    price, _, lanes = figure.axes
    bars = {
        ((time - 1) // (10 * MINUTE), way)
        for time, way in alerts.select("triggered_at", "direction").iter_rows()
    }
    marks = [
        one for one in price.collections if isinstance(one, matplotlib.collections.PathCollection)
    ]
    assert sum(len(np.asarray(one.get_offsets())) for one in marks) == len(bars)
    strokes = [
        segment
        for one in lanes.collections
        if isinstance(one, matplotlib.collections.LineCollection)
        for segment in one.get_segments()
    ]
    assert sorted(float(one[0][0]) for one in strokes) == pytest.approx(
        sorted(sheet.days(alerts["triggered_at"].to_numpy())), abs=1e-9
    )
    counts = alerts.group_by("rule").len().rows()
    labels = {label.get_text() for label in lanes.get_yticklabels()}
    assert labels == {f"{rule}  {count}" for rule, count in counts}


def test_the_axis_of_time_is_utc_and_the_whole_range() -> None:
    frame = minutes(60)
    figure = screener.plot_alerts(
        [], frame, "AUSDT", start="2025-02-01T00:10", end="2025-02-01T00:40"
    )
    low, high = figure.axes[0].get_xlim()
    assert (low, high) == pytest.approx(sheet.days([START + 10 * MINUTE, START + 40 * MINUTE]))
    assert figure.axes[-1].get_xlabel() == "UTC"
    bodies = figure.axes[0].collections[1]
    assert len(bodies.get_paths()) == 30


def test_candles_are_hollow_up_filled_down_grey_where_filled() -> None:
    frame = minutes(3).with_columns(
        open=pl.Series([1.0, 2.0, 1.5]),
        close=pl.Series([2.0, 1.5, 1.5]),
        high=pl.lit(3.0),
        low=pl.lit(0.5),
        synthetic=pl.Series([False, False, True]),
    )
    bodies = screener.plot_alerts([], frame, "AUSDT").axes[0].collections[1]
    assert isinstance(bodies, matplotlib.collections.PolyCollection)
    colours = [sheet.UP, sheet.DOWN, sheet.MUTED]
    edges = [matplotlib.colors.to_hex(one).upper() for one in np.asarray(bodies.get_edgecolor())]
    faces = [matplotlib.colors.to_hex(one).upper() for one in np.asarray(bodies.get_facecolor())]
    assert edges == colours
    assert faces == ["#FFFFFF", sheet.DOWN, "#FFFFFF"]


def test_an_engine_draws_what_it_holds() -> None:
    market = screener.demo_market()
    engine = screener.Engine()
    alerts = engine.update_many(market)
    symbol = alerts[0].symbol
    whole = engine.plot(symbol, alerts)
    replayed = screener.replay(market).plot(engine.candles(symbol), symbol)
    assert png(whole) == png(replayed)
    hour = engine.plot(symbol, minutes=60)
    assert len(hour.axes[0].collections[1].get_paths()) == 60
    with pytest.raises(screener.UnknownSymbolError):
        engine.plot("NOSUCH")
    with pytest.raises(screener.DataError, match="minutes=0"):
        engine.plot(symbol, minutes=0)
    with pytest.raises(screener.DataError, match="not an Alert"):
        engine.plot(symbol, [1])  # type: ignore[list-item]


def markers(figure: Figure, line: int) -> dict[str, list[Any]]:
    """What is drawn in a line of the first panel, by its form."""
    found: dict[str, list[Any]] = {}
    for one in figure.axes[0].lines:
        x, y = (np.atleast_1d(np.asarray(each, dtype=float)) for each in one.get_data())
        if (y == line).all() and y.size and one.get_color() != "none":
            found.setdefault(str(one.get_marker()), []).append(one)
        del x
    return found


def test_a_card_marks_what_is_significant_and_what_goes_on() -> None:
    rows = [
        # rule, n, hit rate, mean and its interval, random mean, p adjusted
        ("good", 50, 0.5, 0.5, 0.4, 0.6, 0.0, 0.05),
        ("luck", 50, 0.5, 0.2, 0.1, 0.3, 0.0, 0.051),
        ("wide", 2, 0.5, 0.0, -90.0, 0.1, 0.0, 0.9),
        ("once", 1, 0.5, 0.3, None, None, 0.0, 0.9),
        ("none", 0, None, None, None, None, None, None),
    ]
    names = ["rule", "n", "hit_rate", "mean", "mean_low", "mean_high", "random_mean", "p_adjusted"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(horizon=pl.lit("1h"))
    figure = screener.Scorecard(frame, 0.95, 100, 100, 0).plot()
    fills = [markers(figure, line).get("o", [None])[0] for line in range(5)]
    assert fills[0].get_markerfacecolor() == sheet.UP
    for dot in fills[1:4]:
        assert dot.get_markerfacecolor() not in (sheet.UP, sheet.MUTED)
    assert fills[4] is None
    assert [float(dot.get_xdata()[0]) for dot in fills[:4]] == [0.5, 0.2, 0.0, 0.3]
    assert "<" in markers(figure, 2)
    assert ">" not in markers(figure, 2)
    assert "<" not in markers(figure, 0)
    intervals = markers(figure, 0)["None"]
    assert list(intervals[0].get_xdata()) == [0.4, 0.6]
    assert "None" not in markers(figure, 3)
    stricter = screener.Scorecard(frame, 0.95, 100, 100, 0).plot(alpha=0.01)
    assert markers(stricter, 0)["o"][0].get_markerfacecolor() != sheet.UP


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_an_alpha_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(screener.DataError, match="alpha"):
        card(["one"], ["5m"]).plot(alpha=alpha)


@pytest.mark.parametrize("count", [DAY, 50_000])
def test_a_backtest_draws_its_extremes(count: int) -> None:
    result = backtest(count)
    money, fall, risk, trades = result.plot().axes
    equity = result.equity["equity"].to_numpy()
    line = np.asarray(money.lines[1].get_ydata())
    assert (line[0], line[-1]) == (equity[0], equity[-1])
    assert (line.min(), line.max()) == (equity.min(), equity.max())
    deepest = np.asarray(fall.lines[0].get_ydata()).min()
    assert deepest == pytest.approx(100 * result.measures.max_drawdown, rel=1e-12)
    highest = np.asarray(risk.lines[0].get_ydata()).max()
    assert highest == pytest.approx((result.equity["notional"] / result.equity["equity"]).max())
    dots = sum(len(np.asarray(one.get_offsets())) for one in trades.collections)
    assert dots == result.measures.trades > 10


# -- what stays as it was --------------------------------------------------------------------------

ABSENT = """
import sys
sys.modules["matplotlib"] = None
import screener
market = screener.demo_market(symbols=1, days=1)
for call in (
    lambda: screener.plot_alerts([], market, "NARWHALUSDT"),
    lambda: screener.backtest(screener.replay(market).alerts, market).plot(),
):
    try:
        call()
    except screener.DataError as error:
        print(error)
"""

PLAIN = """
import sys
import screener
assert "matplotlib" not in sys.modules
market = screener.demo_market(symbols=1, days=1)
import matplotlib
names = [name for name in matplotlib.rcParams if name != "backend"]  # to ask for it imports pyplot
before = [matplotlib.rcParams[name] for name in names]
screener.plot_alerts([], market, "NARWHALUSDT")._repr_png_()
assert [matplotlib.rcParams[name] for name in names] == before
assert "matplotlib.pyplot" not in sys.modules
print("plain")
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    told = "figures need matplotlib\npip install 'screener[plot]'\n"
    assert run(ABSENT) == 2 * told


def test_nothing_global_is_changed_and_pyplot_not_imported() -> None:
    assert run(PLAIN) == "plain\n"


def test_a_dark_style_is_kept() -> None:
    frame = minutes(100)
    with matplotlib.rc_context({"axes.facecolor": "black", "figure.facecolor": "black"}):
        figure = screener.plot_alerts([], frame, "AUSDT")
        assert png(figure).startswith(PNG)
    bodies = figure.axes[0].collections[1]
    assert "#000000" in {
        matplotlib.colors.to_hex(one) for one in np.asarray(bodies.get_facecolor())
    }
