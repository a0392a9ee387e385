"""Names of windows and metrics, written from SPEC 3 and 4."""

from __future__ import annotations

DEFAULT_WINDOWS = {"5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}

WINDOW_METRICS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_quote",
    "change",
    "range",
    "vwap",
    "vcp",
    "fib_pivot",
    "fib_r1",
    "fib_r2",
    "fib_r3",
    "fib_s1",
    "fib_s2",
    "fib_s3",
    "volume_ratio",
    "taker_ratio",
    "synthetic",
)

INDICATORS = (
    "rsi",
    "macd",
    "macd_signal",
    "macd_hist",
    "bb_upper",
    "bb_middle",
    "bb_lower",
)

PLAIN_METRICS = ("up_streak", "down_streak", "price", "market_cap")


def window_minutes(name: str) -> int:
    """Minutes of a window's name: `7m` is 7, `12h` is 720, `1d` is 1440."""
    return int(name[:-1]) * {"m": 1, "h": 60, "d": 1440}[name[-1]]


def window_name(minutes: int) -> str:
    """The one name of a window: `60m` is `1h`, `1440m` is `1d`, 90 minutes stay `90m`."""
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    if minutes % 60 == 0:
        return f"{minutes // 60}h"
    return f"{minutes}m"


def split(metric: str) -> tuple[str, str]:
    """`change_5m` as (`change`, `5m`); a metric without a window has `""` there."""
    if metric in PLAIN_METRICS:
        return metric, ""
    kind, _, window = metric.rpartition("_")
    return kind, window


def is_indicator(metric: str) -> bool:
    """Whether SPEC 4's tolerance holds for the metric, not equality."""
    return split(metric)[0] in INDICATORS


def minutes_named(metric: str) -> int:
    """How many of the newest minutes a rule names by naming this metric."""
    kind, window = split(metric)
    if not window:
        return 0
    return window_minutes(window) * (2 if kind == "volume_ratio" else 1)
