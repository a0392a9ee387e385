"""SPEC 3 and 4 for every minute of a whole series, from arrays; shares no formula with `windows`.

Not ready is NaN here. The series is contiguous: `fill_holes` makes it so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .engine import Alert, alert_id
from .names import DEFAULT_WINDOWS, WINDOW_METRICS, minutes_named, window_minutes
from .ring import MINUTE_MS, RING_MINUTES
from .rules import COOLDOWN_MS, PRESETS, Rule

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


def fill_holes(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a minute: repeated rows dropped, holes flat at the last close, column `filled`.

    Args:
        frame: Candles of one symbol with the columns of SPEC 1, in any order. Rows that share a
            minute must be equal.
    """
    given = frame.unique().sort("open_time")
    assert given["open_time"].n_unique() == given.height, "two versions of one minute"
    first, last = given["open_time"][0], given["open_time"][-1]
    every = pl.DataFrame({"open_time": range(first, last + 1, MINUTE_MS)})
    whole = every.join(given, on="open_time", how="left", maintain_order="left")
    filled = pl.col("filled")
    before = pl.col("close").forward_fill()
    traded = ["volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"]
    return whole.with_columns(filled=pl.col("close").is_null()).with_columns(
        pl.col("symbol").forward_fill(),
        *(
            pl.when(filled).then(before).otherwise(pl.col(price)).alias(price)
            for price in ("open", "high", "low", "close")
        ),
        *(
            pl.when(filled).then(0).otherwise(pl.col(name)).alias(name)
            for name in traded
            if name in whole.columns
        ),
    )


def _column(frame: pl.DataFrame, name: str) -> Floats:
    """A column with NaN for unknown; all unknown where the frame has no such column."""
    if name not in frame.columns:
        return np.full(frame.height, np.nan)
    return frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _not_ready(values: Floats, missing: int) -> Floats:
    """The values behind `missing` minutes that are not ready."""
    return np.concatenate([np.full(missing, np.nan), values])


def exact_sums(values: Floats, length: int) -> Floats:
    """`math.fsum` of the `length` values that end with each one; NaN if one is unknown."""
    numbers = values.tolist()
    found = np.full(len(numbers), np.nan)
    if np.isnan(values).all():
        return found
    for end in range(length, len(numbers) + 1):
        found[end - 1] = math.fsum(numbers[end - length : end])
    return found


def _shifted(values: Floats, by: int) -> Floats:
    return np.concatenate([np.full(min(by, len(values)), np.nan), values[:-by]])


def _window(columns: Mapping[str, Floats], length: int) -> dict[str, Floats]:
    count = len(columns["close"])
    if count < length:
        return {kind: np.full(count, np.nan) for kind in WINDOW_METRICS}
    missing = length - 1
    start = _not_ready(columns["open"][: count - missing], missing)
    high = _not_ready(sliding_window_view(columns["high"], length).max(axis=1), missing)
    low = _not_ready(sliding_window_view(columns["low"], length).min(axis=1), missing)
    close = _not_ready(columns["close"][missing:], missing)
    volume = exact_sums(columns["volume"], length)
    quote = exact_sums(columns["quote_volume"], length)
    taker = exact_sums(columns["taker_buy_quote_volume"], length)
    earlier = _shifted(quote, length) if length <= 720 else np.full(count, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        vwap = np.where((quote == 0) | (volume == 0), close, quote / volume)
        vcp = (close / vwap) * ((close - low) - (high - close)) / (high - low)
        vcp = np.where(high == low, 0.0, vcp)
        volume_ratio = np.where(earlier == 0, np.nan, quote / earlier)
        taker_ratio = np.where(quote == 0, np.nan, taker / quote)
    pivot = (high + low + close) / 3
    reach = high - low
    return {
        "open": start,
        "high": high,
        "low": low,
        "close": close,
        "volume": volume,
        "quote_volume": quote,
        "trades": exact_sums(columns["trades"], length),
        "taker_buy_quote": taker,
        "change": (close / start - 1) * 100,
        "range": (high - low) / start * 100,
        "vwap": vwap,
        "vcp": vcp,
        "fib_pivot": pivot,
        "fib_r1": pivot + 0.382 * reach,
        "fib_r2": pivot + 0.618 * reach,
        "fib_r3": pivot + 1.0 * reach,
        "fib_s1": pivot - 0.382 * reach,
        "fib_s2": pivot - 0.618 * reach,
        "fib_s3": pivot - 1.0 * reach,
        "volume_ratio": volume_ratio,
        "taker_ratio": taker_ratio,
        "synthetic": _filled_in(columns["filled"], length),
    }


def _filled_in(filled: Floats, length: int) -> Floats:
    """How many of the `length` minutes that end with each one were filled."""
    total = np.concatenate([[0.0], np.cumsum(filled)])
    return _not_ready(total[length:] - total[:-length], length - 1)


def _streak(holds: Truths) -> Floats:
    found = np.zeros(len(holds))
    count = 0
    for index, held in enumerate(holds.tolist()):
        count = min(count + 1, RING_MINUTES) if held else 0
        found[index] = count
    return found


@dataclass(frozen=True, slots=True)
class Rsi:
    """Wilder's averages after some closes."""

    closes: int = 0
    last: float = 0.0
    gain: float = 0.0  # a sum until the 14th change, then the average
    loss: float = 0.0

    def then(self, close: float) -> Rsi:
        """The state after one more close."""
        change = close - self.last
        gain, loss = max(change, 0.0), max(-change, 0.0)
        count = self.closes + 1
        if count == 1:
            return Rsi(1, close, 0.0, 0.0)
        if count < 15:
            return Rsi(count, close, self.gain + gain, self.loss + loss)
        if count == 15:
            return Rsi(count, close, (self.gain + gain) / 14, (self.loss + loss) / 14)
        return Rsi(count, close, (13 * self.gain + gain) / 14, (13 * self.loss + loss) / 14)

    def values(self) -> dict[str, float]:
        """The index, NaN while not ready."""
        if self.closes < 15:
            return {"rsi": math.nan}
        if self.loss == 0:
            return {"rsi": 100.0 if self.gain > 0 else 50.0}
        return {"rsi": 100 * self.gain / (self.gain + self.loss)}


@dataclass(frozen=True, slots=True)
class Macd:
    """The three averages after some closes; the closes (MACD values) that seed them until then."""

    closes: tuple[float, ...] = ()
    fast: float = math.nan
    slow: float = math.nan
    lines: tuple[float, ...] = ()
    signal: float = math.nan

    def then(self, close: float) -> Macd:
        """The state after one more close."""
        closes = self.closes
        if len(closes) < 26:
            closes = (*closes, close)
            if len(closes) < 26:
                return Macd(closes)
            fast, slow = math.fsum(closes[14:]) / 12, math.fsum(closes) / 26
        else:
            fast = self.fast + (close - self.fast) * 2 / 13
            slow = self.slow + (close - self.slow) * 2 / 27
        lines, signal = self.lines, self.signal
        if len(lines) < 9:
            lines = (*lines, fast - slow)
            if len(lines) == 9:
                signal = math.fsum(lines) / 9
        else:
            signal = signal + (fast - slow - signal) * 2 / 10
        return Macd(closes, fast, slow, lines, signal)

    def values(self) -> dict[str, float]:
        """MACD, signal and histogram, NaN while not ready."""
        line = self.fast - self.slow
        return {"macd": line, "macd_signal": self.signal, "macd_hist": line - self.signal}


@dataclass(frozen=True, slots=True)
class Bollinger:
    """The newest 20 closes."""

    closes: tuple[float, ...] = ()

    def then(self, close: float) -> Bollinger:
        """The state after one more close."""
        return Bollinger((*self.closes, close)[-20:])

    def values(self) -> dict[str, float]:
        """The bands, NaN while not ready."""
        if len(self.closes) < 20:
            return dict.fromkeys(("bb_upper", "bb_middle", "bb_lower"), math.nan)
        middle = math.fsum(self.closes) / 20
        squares = [(close - middle) * (close - middle) for close in self.closes]
        reach = 2 * math.sqrt(math.fsum(squares) / 20)
        return {"bb_upper": middle + reach, "bb_middle": middle, "bb_lower": middle - reach}


@dataclass
class _Timeframe:
    """The indicators of one timeframe after the bars that are closed."""

    length: int
    states: list[Rsi | Macd | Bollinger] = field(
        default_factory=lambda: [Rsi(), Macd(), Bollinger()]
    )

    def walk(self, minutes: Sequence[int], closes: Sequence[float]) -> Iterator[dict[str, float]]:
        """The indicators at every minute, the running bar at its current close."""
        nothing = {name: math.nan for state in self.states for name in state.values()}
        following = False
        for minute, close in zip(minutes, closes, strict=True):
            following = following or minute % self.length == 0
            if not following:
                yield nothing
                continue
            now = [state.then(close) for state in self.states]
            yield {name: value for state in now for name, value in state.values().items()}
            if (minute + 1) % self.length == 0:
                self.states = list(now)


def recompute(
    frame: pl.DataFrame, windows: Sequence[str] = tuple(DEFAULT_WINDOWS)
) -> dict[str, Floats]:
    """Every metric at every minute of a contiguous series of one symbol, NaN where not ready.

    Args:
        frame: Candles with the columns of SPEC 1, one row a minute without a hole; a column
            `filled` (of `fill_holes`) tells which rows nobody gave.
        windows: Names of the windows. Indicators are always those of the default set.

    Returns:
        One array a metric, `market_cap` left out.
    """
    open_time = frame["open_time"].to_numpy()
    assert (np.diff(open_time) == MINUTE_MS).all(), "the series has a hole"
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trades")
    columns = {name: _column(frame, name) for name in (*names, "taker_buy_quote_volume")}
    columns["filled"] = _filled(frame).astype(np.float64)
    found = {
        "price": columns["close"],
        "up_streak": _streak(columns["close"] > columns["open"]),
        "down_streak": _streak(columns["close"] < columns["open"]),
    }
    for window in windows:
        for kind, values in _window(columns, window_minutes(window)).items():
            found[f"{kind}_{window}"] = values
    minutes = (open_time // MINUTE_MS).tolist()
    closes = columns["close"].tolist()
    for window, length in DEFAULT_WINDOWS.items():
        rows = list(_Timeframe(length).walk(minutes, closes))
        for kind in rows[0]:
            found[f"{kind}_{window}"] = np.array([row[kind] for row in rows])
    return found


def _filled(frame: pl.DataFrame) -> Truths:
    if "filled" not in frame.columns:
        return np.zeros(frame.height, dtype=np.bool_)
    return frame["filled"].to_numpy()


def _pending_in(metric: str, filled: Truths) -> Truths:
    """Where one of the minutes that a rule names by this metric is a filled one."""
    length = minutes_named(metric)
    total = np.concatenate([np.zeros(length), np.cumsum(filled)])
    truth: Truths = total[length:] > total[: len(filled)]
    return truth


def _holds(rule: Rule, metrics: Mapping[str, Floats], filled: Truths, *, floors: bool) -> Truths:
    """Where a rule holds, holes being pending."""
    truth = ~filled  # a filled minute is never judged
    for name in rule.names(floors=floors):
        truth &= ~np.isnan(metrics[name]) & ~_pending_in(name, filled)
    for clause in rule.clauses(floors=floors):
        truth &= clause.holds(metrics)
    return truth


def recompute_alerts(
    frame: pl.DataFrame,
    metrics: Mapping[str, Floats],
    *,
    rules: str = "futures",
    floors: bool = False,
    exchange: str = "binance",
) -> list[Alert]:
    """The alerts of a contiguous series judged at every close, ordered by time and rule.

    Args:
        frame: What `recompute` was given.
        metrics: What it gave, with every window the rules name.
        rules: Name of a preset.
        floors: Whether the floors are read.
        exchange: Part of the id.

    Returns:
        Dicts with id, triggered_at, exchange, symbol, rule, timeframe, price, quote_volume,
        change, vcp and state.
    """
    symbol = frame["symbol"][0]
    close_time = frame["open_time"].to_numpy() + MINUTE_MS
    filled = _filled(frame)
    alerts: list[Alert] = []
    for rule in PRESETS[rules]:
        last = None
        for row in np.flatnonzero(_holds(rule, metrics, filled, floors=floors)).tolist():
            at = int(close_time[row])
            if last is not None and at < last + COOLDOWN_MS:
                continue
            last = at
            alerts.append(
                {
                    "id": alert_id(exchange, symbol, rule.name, at),
                    "triggered_at": at,
                    "exchange": exchange,
                    "symbol": symbol,
                    "rule": rule.name,
                    "timeframe": rule.timeframe,
                    "price": float(metrics["price"][row]),
                    "quote_volume": float(metrics[f"quote_volume_{rule.timeframe}"][row]),
                    "change": float(metrics[f"change_{rule.timeframe}"][row]),
                    "vcp": float(metrics[f"vcp_{rule.timeframe}"][row]),
                    "state": "confirmed",
                }
            )
    return sorted(alerts, key=lambda alert: (alert["triggered_at"], alert["rule"]))
