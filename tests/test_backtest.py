"""`backtest` on small markets counted by hand: fills, exits, costs, what is refused and shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import screener
from screener import Atr, Backtest, DataError, backtest

MINUTE = 60_000
START = 1_738_368_000_000
PAGE = Path(__file__).parents[1] / "docs" / "backtest.md"

FLAT = (100.0, 100.0, 100.0, 100.0)
Row = tuple[float, float, float, float]


def candles(rows: dict[int, Row], symbol: str = "AUSDT") -> pl.DataFrame:
    """Minutes after START: open, high, low, close."""
    data = [(symbol, START + minute * MINUTE, *prices) for minute, prices in rows.items()]
    names = ["symbol", "open_time", "open", "high", "low", "close"]
    return pl.DataFrame(data, schema=names, orient="row")


def alerts(*minutes: int, symbol: str = "AUSDT", rule: str = "pioneer_bull") -> pl.DataFrame:
    """Alerts at the open of these minutes."""
    types = {"symbol": pl.String, "rule": pl.String, "triggered_at": pl.Int64}
    rows = [(symbol, rule, START + minute * MINUTE) for minute in minutes]
    return pl.DataFrame(rows, schema=types, orient="row")


def targets(**signals: object) -> pl.DataFrame:
    return pl.DataFrame({"symbol": ["AUSDT"], "open_time": [START], "signal": [1]} | signals)


def only(result: Backtest) -> dict[str, Any]:
    (trade,) = result.trades.iter_rows(named=True)
    return trade


def test_a_trade_by_hand() -> None:
    market = candles({0: FLAT, 1: (100.0, 104.0, 99.0, 102.0), 2: (103.0, 105.0, 98.0, 99.0)})
    funding = pl.DataFrame({"symbol": ["AUSDT"], "time": [START + 2 * MINUTE], "rate": [0.01]})
    result = backtest(
        alerts(1),
        market,
        hold=1,
        fee=0.001,
        slippage=0.01,
        funding=funding,
        capital=1010.0,
        size=0.1,
    )
    trade = only(result)
    assert trade["entry_price"] == 101.0
    assert trade["size"] == pytest.approx(1.0)
    assert trade["exit_price"] == pytest.approx(103.0 * 0.99)
    assert trade["fee"] == pytest.approx(0.001 * (101.0 + 101.97))
    assert trade["funding"] == pytest.approx(1.03)
    assert trade["pnl"] == pytest.approx(0.97 - 0.20297 - 1.03)
    assert trade["return"] == pytest.approx(trade["pnl"] / 101.0)
    assert trade["mae"] == pytest.approx(99 / 101 - 1)
    assert trade["mfe"] == pytest.approx(104 / 101 - 1)
    assert result.equity["equity"].to_list() == pytest.approx(
        [1010.0, 1010.0 + 1.0 - 0.101, 1010.0 + trade["pnl"]]
    )
    assert result.equity["positions"].to_list() == [0, 1, 0]
    assert result.measures.exposure == pytest.approx(1 / 3)
    assert result.measures.total_return == pytest.approx(trade["pnl"] / 1010)


@pytest.mark.parametrize(
    ("row", "reason", "price"),
    [
        ((100.0, 101.9, 98.1, 100.0), "end", 100.0),
        ((100.0, 100.0, 98.0, 99.0), "stop", 98.0),
        ((100.0, 102.0, 99.0, 99.0), "take", 102.0),
        ((100.0, 102.0, 98.0, 99.0), "stop", 98.0),
        ((95.0, 103.0, 94.0, 99.0), "stop", 95.0),
        ((104.0, 105.0, 99.0, 99.0), "take", 102.0),
    ],
)
def test_stop_and_take(row: Row, reason: str, price: float) -> None:
    trade = only(backtest(alerts(0), candles({0: FLAT, 1: row}), stop=0.02, take=0.02))
    assert (trade["reason"], trade["exit_price"]) == (reason, pytest.approx(price))


def test_a_stop_acts_within_the_minute_of_entry() -> None:
    market = candles({0: (100.0, 100.0, 90.0, 100.0), 1: FLAT})
    trade = only(backtest(alerts(0), market, stop=0.02))
    assert (trade["reason"], trade["exit_time"]) == ("stop", START)


def test_a_missing_minute_drops_the_order_and_delays_an_exit() -> None:
    market = candles({0: FLAT, 2: FLAT, 3: FLAT, 5: FLAT})
    result = backtest(alerts(1, 2, 9), market, hold=2)
    assert result.dropped == {"minute missing": 2}
    assert only(result)["exit_time"] == START + 5 * MINUTE
    assert result.late_exits == 1
    assert "1 exits were late" in str(result)


def test_average_true_ranges() -> None:
    rows = dict.fromkeys(range(4), (100.0, 101.0, 99.0, 100.0))
    market = candles(rows | {4: FLAT, 5: (100.0, 100.0, 95.0, 100.0)})
    assert START % (5 * MINUTE) == 0
    early = backtest(alerts(2), market, stop=Atr(1.5, bar="1m", bars=2))
    assert early.dropped == {"range unknown": 1}
    trade = only(backtest(alerts(4), market, stop=Atr(1.5, bar="1m", bars=2)))
    assert trade["exit_price"] == pytest.approx(100 - 1.5 * 2)


def test_positions_are_served_in_order_of_symbol_and_rule() -> None:
    market = pl.concat([candles({0: FLAT, 1: FLAT}, s) for s in ("CUSDT", "BUSDT", "AUSDT")])
    signals = pl.concat(
        [
            alerts(0, symbol="CUSDT"),
            alerts(0, symbol="BUSDT", rule="pioneer_bull"),
            alerts(0, symbol="BUSDT", rule="pioneer_bear"),
            alerts(0, symbol="AUSDT"),
        ]
    )
    result = backtest(signals, market, max_positions=2)
    taken = result.trades.select("symbol", "rule", "side").rows()
    assert taken == [
        ("AUSDT", "pioneer_bull", "long"),
        ("BUSDT", "pioneer_bear", "short"),
    ]
    assert result.dropped == {"position open": 1, "most positions open": 1}


def test_the_direction_of_rules() -> None:
    market = candles({0: FLAT, 1: FLAT, 2: FLAT})
    flat = alerts(0, rule="flat_8h")
    assert backtest(flat, market, rules="classic").dropped == {"no direction": 1}
    assert only(backtest(flat, market, direction="short"))["side"] == "short"
    assert only(backtest(flat, market, direction={"flat_8h": "long"}))["side"] == "long"
    both = pl.concat([alerts(0), alerts(1, rule="pioneer_bear")])
    result = backtest(both, market, sides="short")
    assert only(result)["side"] == "short"
    assert result.dropped == {"other side": 1}


def test_only_confirmed_alerts_are_traded() -> None:
    state = pl.Series("state", ["provisional", "withdrawn", "confirmed"])
    result = backtest(alerts(0, 1, 2).with_columns(state), candles({2: FLAT, 3: FLAT}))
    assert only(result)["entry_time"] == START + 2 * MINUTE
    assert (result.signals, result.dropped) == (3, {"not confirmed": 2})


def test_an_alert_within_a_minute_is_filled_after_it() -> None:
    within = alerts(0).with_columns(pl.col("triggered_at") + 1)
    result = backtest(within, candles({0: FLAT, 1: FLAT}))
    assert only(result)["entry_time"] == START + MINUTE


def test_a_target_turns_at_one_open() -> None:
    market = candles(dict.fromkeys(range(6), FLAT))
    times = [START + minute * MINUTE for minute in range(5)]
    signals = pl.DataFrame(
        {"symbol": ["AUSDT"] * 5, "open_time": times, "signal": [1, 1, -1, -1, 0]}
    )
    rows = backtest(signals, market).trades.select("side", "entry_time", "exit_time", "reason")
    assert rows.rows() == [
        ("long", START + MINUTE, START + 3 * MINUTE, "signal"),
        ("short", START + 3 * MINUTE, START + 5 * MINUTE, "signal"),
    ]


def test_without_signals_nothing_happens() -> None:
    market = candles({0: FLAT, 1: FLAT})
    full, empty = backtest(alerts(0), market), backtest(alerts(), market)
    assert empty.trades.is_empty()
    assert empty.trades.schema == full.trades.schema
    assert empty.equity["equity"].to_list() == [10_000.0, 10_000.0]
    assert (empty.measures.trades, empty.measures.win_rate, empty.dropped) == (0, None, {})
    assert backtest(targets().clear(), market).trades.schema == full.trades.schema
    assert "trades" in str(empty)


def test_bars_take_the_last_minute() -> None:
    market = candles({minute: (100.0 + minute,) * 4 for minute in range(12)})
    by_minute = backtest(alerts(0), market).equity
    by_bar = backtest(alerts(0), market, bar="5m")
    assert by_bar.equity.equals(by_minute[[4, 9, 11]])
    assert by_bar.measures.sharpe is not None


def test_ruin_ends_the_trading() -> None:
    market = candles({0: FLAT, 1: (1.0,) * 4, 2: (1.0,) * 4, 3: (1.0,) * 4})
    result = backtest(alerts(0, 2), market, size=3.0, hold=1)
    assert result.dropped == {"no equity": 1}
    assert (result.measures.sharpe, result.measures.cagr) == (None, None)


def test_symbols_without_candles_are_told_and_escaped() -> None:
    result = backtest(alerts(0, 1, symbol="<b>&"), candles({0: FLAT}))
    assert result.unknown_symbols == ("<b>&",)
    assert result.dropped == {"unknown symbol": 2}
    assert "Symbols without candles: <b>&." in str(result)
    html = result._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    assert not re.search(r"https?:|src=|<script", html)


@pytest.mark.parametrize(
    "options",
    [
        {"fee": -0.1}, {"fee": float("nan")}, {"slippage": 1.0}, {"capital": 0.0}, {"size": -1.0},
        {"stop": 0.0}, {"stop": -0.1}, {"stop": 1.0}, {"take": 0.0}, {"hold": 0}, {"hold": 1.5},
        {"max_positions": 0}, {"bar": "7m"}, {"sides": "up"}, {"direction": "up"},
        {"direction": {"pioneer_bull": "up"}}, {"stop": "2%"}, {"take": True}, {"fee": None},
    ],
)  # fmt: skip
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=next(iter(options))):
        backtest(alerts(0), candles({0: FLAT}), **options)


@pytest.mark.parametrize("wrong", [{"multiple": 0.0}, {"bars": 0}, {"bar": "2m"}])
def test_ranges_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        Atr(**({"multiple": 1.0} | wrong))


NAN = float("nan")


@pytest.mark.parametrize(
    ("market", "match"),
    [
        (candles({0: FLAT, 1: (100.0, NAN, 100.0, 100.0)}), "row 1, column high: value not finite"),
        (candles({0: (0.0, 1.0, 0.0, 1.0)}), "price not above 0"),
        (candles({0: (100.0, 99.0, 100.0, 100.0)}), "high below low"),
        (candles({}), "there are no candles"),
        (pl.concat([candles({0: FLAT})] * 2), "row 1: .* comes twice in the candles"),
        (candles({0: FLAT}).drop("close"), "column close: candles have no such column"),
        (candles({0: FLAT}).with_columns(open=pl.lit("x")), "column open: candles hold String"),
        (candles({0: FLAT}).with_columns(pl.col("open_time") + 1), "no whole minute"),
        (candles({0: FLAT}).with_columns(low=pl.lit(None, pl.Float64)), "column low: a value"),
    ],
)
def test_candles_that_cannot_be(market: pl.DataFrame, match: str) -> None:
    with pytest.raises(DataError, match=match):
        backtest(alerts(0), market)


@pytest.mark.parametrize(
    ("signals", "match"),
    [
        (alerts(0, 0), "row 1: .* comes twice in the alerts"),
        (alerts(0, rule="unheard_of"), "direction of rule 'unheard_of' is unknown"),
        (alerts(0).drop("rule"), "alerts have no such column"),
        (alerts(0).drop("triggered_at"), "neither a column triggered_at nor one signal"),
        (targets(signal=[2]), "row 0, column signal: 2.0 is none of 1, -1 and 0"),
        (targets(signal=[None]), "column signal: a value of the signals is missing"),
        (targets(open_time=[START + 1]), "is no whole minute"),
        (pl.concat([targets(), targets()]), "row 1: .* comes twice in the signals"),
    ],
)
def test_signals_that_cannot_be(signals: pl.DataFrame, match: str) -> None:
    with pytest.raises(DataError, match=match):
        backtest(signals, candles({0: FLAT}))


@pytest.mark.parametrize(
    ("times", "rates", "match"),
    [([START], [NAN], "rate not finite"), ([START, START + 9], [0.1, 0.1], "comes twice")],
)
def test_funding_that_cannot_be(times: list[int], rates: list[float], match: str) -> None:
    funding = pl.DataFrame({"symbol": ["AUSDT"] * len(times), "time": times, "rate": rates})
    with pytest.raises(DataError, match=match):
        backtest(alerts(0), candles({0: FLAT}), funding=funding)


def test_the_page_works_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    for block in code:
        exec(compile(block, str(PAGE), "exec"), names)  # noqa: S102
    assert "total return" in capsys.readouterr().out
    assert len(code) == 4
    assert set(names["result"].trades["reason"]) >= {"stop", "take"}
    assert len(names["judged"]) == len(names["splits"]) == 3
    assert sum(row["trades"].item() for row in names["judged"]) > 0


def test_cutting_off_the_future_changes_no_alert_and_no_trade_before_it() -> None:
    market = screener.demo_market(symbols=8)
    cut = market["open_time"].max() - 300 * MINUTE  # type: ignore[operator]
    whole, part = (
        backtest(screener.replay(frame).alerts, frame, stop=0.01, hold=30).trades
        for frame in (market, market.filter(pl.col("open_time") < cut))
    )
    done = pl.col("exit_time") < cut
    assert 0 < whole.filter(done).height < whole.height
    assert part.filter(done).equals(whole.filter(done))


def test_numpy_and_polars_are_imported_by_the_call_alone() -> None:
    code = "import screener, sys; sys.exit(bool({'numpy', 'polars'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
