"""Alerts as arrays: whose, from which minute on, and which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from screener import _core
from screener.errors import DataError
from screener.outcomes.frames import as_polars, milliseconds, refuse_missing
from screener.quality import YEARS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from screener.types import ArrowFrame, Rules

__all__ = ["SIGNS", "Alerts", "read_alerts"]

SIGNS: Final = {"up": 1.0, "flat": 1.0, "down": -1.0}
"""By direction: 1 where a rise is favourable, -1 where a fall is."""

_MINUTE: Final = 60_000
_COLUMNS: Final = ("alert", "id", "symbol", "rule", "direction", "triggered_at")
_REMEDY: Final = "Replay.alerts has the columns this needs"


@dataclass(frozen=True, slots=True)
class Alerts:
    """Different alerts, in the order they were given.

    Attributes:
        frame: `alert` (row as given), `id`, `symbol`, `rule`, `direction`, `triggered_at`.
        entry: The minute of entry of each, in minutes since the epoch.
        sign: Of each direction, as `SIGNS` has it.
    """

    frame: pl.DataFrame
    entry: NDArray[np.int64]
    sign: NDArray[np.float64]


def read_alerts(alerts: ArrowFrame, rules: Rules | None) -> Alerts:
    """Take alerts out of a frame.

    Args:
        alerts: As `outcomes` takes them.
        rules: Which way each rule expects the price to go; None asks the presets.

    Raises:
        DataError: A column is missing or of a wrong type, a time is none, a direction is not
            known, or one id is that of two alerts.
        RuleError: The rules cannot be loaded.
    """
    given = as_polars(alerts)
    refuse_missing(given, ("symbol", "triggered_at"), _REMEDY)
    frame = pl.DataFrame(
        [
            pl.int_range(given.height, eager=True).alias("alert"),
            _texts(given, "id"),
            _texts(given, "symbol"),
            _texts(given, "rule"),
            milliseconds(given, "triggered_at"),
        ]
    )
    told = "direction" in given.columns
    direction = _texts(given, "direction") if told else _directions(frame["rule"], rules)
    frame = frame.with_columns(direction.alias("direction"))
    _refuse_rows(frame)
    frame = _once(frame).select(_COLUMNS)
    times = frame["triggered_at"].to_numpy()
    sign = frame["direction"].replace_strict(SIGNS, return_dtype=pl.Float64).to_numpy()
    return Alerts(frame, -(-times // _MINUTE), sign)


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        return pl.Series(name, [None], dtype=pl.String).new_from_index(0, frame.height)
    texts = frame[name]
    if texts.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        raise DataError(reason=f"holds {texts.dtype}, not text", column=name, remedy=_REMEDY)
    return texts.cast(pl.String)


def _directions(names: pl.Series, rules: Rules | None) -> pl.Series:
    """The direction of each named rule; up for alerts that name none."""
    if isinstance(rules, _core.RuleSet):
        sets = [rules]
    else:
        sets = [
            _core.RuleSet.load(text) for text in (_core.presets() if rules is None else [rules])
        ]
    known: dict[str | None, str] = {None: "up"}
    known |= {rule.name: rule.direction for group in reversed(sets) for rule in group}
    for name in names.unique(maintain_order=True):
        if name not in known:
            raise DataError(
                reason=f"which way rule {name!r} expects the price to go is not known",
                column="rule",
                remedy="pass rules=, the set that raised the alerts, or add a column direction",
            )
    return names.replace_strict(list(known), list(known.values()), return_dtype=pl.String)


def _refuse_rows(frame: pl.DataFrame) -> None:
    """Refuses the first row without a symbol, a time or a direction that can be."""
    is_time = pl.col("triggered_at").is_between(*YEARS, closed="left")
    checks = {
        "symbol": (pl.col("symbol").is_not_null(), "every alert has a symbol"),
        "triggered_at": (is_time, "times are ms since 1970, UTC, of the years 2009 to 2100"),
        "direction": (pl.col("direction").is_in(list(SIGNS)), "one is up, down or flat"),
    }
    for name, (right, remedy) in checks.items():
        wrong = frame.filter(~right.fill_null(value=False))
        if wrong.height:
            raise DataError(
                reason=f"{wrong[name][0]!r} cannot be",
                column=name,
                row=wrong["alert"][0],
                remedy=remedy,
            )


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    """Each alert once: one of a running minute comes again, same id, when the minute closes."""
    key = ["id", "symbol", "rule", "triggered_at"]
    frame = frame.unique(key, keep="first", maintain_order=True)
    identified = frame.filter(pl.col("id").is_not_null())
    repeated = identified.filter(~pl.col("id").is_first_distinct())
    if repeated.height:
        raise DataError(
            reason=f"{repeated['id'][0]!r} is the id of another alert before",
            column="id",
            row=repeated["alert"][0],
            remedy="give each alert an id of its own, or leave the column out",
        )
    return frame
