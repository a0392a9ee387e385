"""What the steps hand on: where cells came from, and the cells under our names of columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

__all__ = [
    "ARCHIVE_COLUMNS",
    "COLUMNS",
    "OHLCV_COLUMNS",
    "REQUIRED",
    "Origin",
    "Table",
    "excerpt",
    "named",
    "select",
    "snake_case",
]

# The columns of the exchange archive and of its REST rows, in their order.
ARCHIVE_COLUMNS = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)

# What ccxt's fetch_ohlcv returns and freqtrade keeps in JSON.
OHLCV_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")

REQUIRED = ("open_time", "open", "high", "low", "close", "volume")

# Output columns in their order, each with the names it has elsewhere (in snake case, best first).
# `close_time` is read to tell the interval and left out of the output.
_ALIASES: dict[str, tuple[str, ...]] = {
    "symbol": ("pair", "ticker"),
    "open_time": ("timestamp", "datetime", "date", "time", "ts", "start_time"),
    "open": (),
    "high": (),
    "low": (),
    "close": (),
    "volume": ("vol", "base_volume", "base_asset_volume"),
    "quote_volume": ("quote_asset_volume", "quote_vol", "quote_av", "qav", "turnover"),
    "trades": ("count", "number_of_trades", "num_trades", "trade_count", "trades_count"),
    "taker_buy_volume": (
        "taker_buy_base_asset_volume",
        "taker_buy_base_volume",
        "taker_buy_base_vol",
        "taker_buy_base",
        "taker_buy_vol",
        "taker_base_volume",
        "taker_base_vol",
        "tb_base_av",
    ),
    "taker_buy_quote_volume": (
        "taker_buy_quote_asset_volume",
        "taker_buy_quote_vol",
        "taker_buy_quote",
        "taker_quote_volume",
        "taker_quote_vol",
        "tb_quote_av",
    ),
    "closed": ("is_closed",),
    "event_time": (),
    "source": (),
    "close_time": ("end_time",),
}

COLUMNS = tuple(_ALIASES)

_ARCHIVE_NAME = re.compile(
    r"(?P<symbol>.+?)-(?P<interval>\d{1,2}(?:s|mo|m|h|d|w|M))(?:-\d{4}-\d{2}[^.]*)?(?:\..*)?"
)

# freqtrade: BTC_USDT-1m.feather, BTC_USDT_USDT-1m-futures.feather. A quote asset has a letter: that
# tells it from the date of BTCUSDT_261225.
_PAIR_NAME = re.compile(
    r"(?P<base>[^_]+)_(?P<quote>(?=[A-Z0-9]*[A-Z])[A-Z0-9]+)(?:_[A-Z0-9]+)?-"
    r"(?P<interval>\d{1,2}(?:s|mo|m|h|d|w|M))(?:-(?P<kind>[A-Za-z_]+))?"
    r"\.(?:feather|parquet|json|json\.gz)"
)
_TRADED_KINDS = (None, "spot", "margin", "futures")

_FETCH_AGAIN = "fetch the file again: it is damaged or was cut off"
_EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Origin:
    """Where bytes came from: a file, or a member of a zip."""

    path: str
    member: str | None = None

    def error(
        self,
        reason: str,
        *,
        column: str | None = None,
        row: int | None = None,
        line: int | None = None,
        remedy: str = _FETCH_AGAIN,
    ) -> DataError:
        """The error that names this place, to be raised."""
        member = "" if self.member is None else f"{self.member}: "
        return DataError(
            reason=member + reason,
            path=self.path,
            column=column,
            row=row,
            line=line,
            remedy=remedy,
        )

    def symbol(self) -> str | None:
        """Symbol by the names of the archive and of freqtrade; other intervals are refused."""
        names = [Path(name).name for name in (self.path, self.member) if name is not None]
        pair = self.pair()
        if pair is not None:
            return "".join(pair)
        matches = [match for match in map(_ARCHIVE_NAME.fullmatch, names) if match is not None]
        for match in matches:
            self._refuse_interval(match["interval"])
        # Not every downloader decodes the name of a Chinese symbol.
        return unquote(matches[0]["symbol"]) if matches else None

    def pair(self) -> tuple[str, str] | None:
        """Base and quote asset, where the file is named as freqtrade names it."""
        match = _PAIR_NAME.fullmatch(Path(self.path).name)
        if match is None:
            return None
        self._refuse_interval(match["interval"])
        if match["kind"] not in _TRADED_KINDS:
            raise self.error(
                f"by its name this file holds {match['kind']}, at which nobody traded",
                remedy="read the candles of trades: the file that ends with -1m-futures or -1m",
            )
        return match["base"], match["quote"]

    def _refuse_interval(self, interval: str) -> None:
        if interval != "1m":
            raise self.error(
                f"by its name this file holds candles of {interval}",
                remedy="read files of interval 1m: longer windows are made from them",
            )


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as a file holds them, under our names; texts have a line number for each row.

    Attributes:
        origin: Where they came from.
        cells: The columns we know.
        lines: The line of each row, in a text.
        kind: What the file is, in words.
        theirs: The names the file has for our columns, and those of the columns left out.
    """

    origin: Origin
    cells: pl.DataFrame
    lines: pl.Series | None = None
    kind: str = ""
    theirs: tuple[dict[str, str], tuple[str, ...]] = ({}, ())

    def error(self, reason: str, *, column: str, row: int, remedy: str) -> DataError:
        """The error that names this cell, by its line where there is one; to be raised."""
        if self.lines is None:
            return self.origin.error(reason, column=column, row=row, remedy=remedy)
        line = int(self.lines[row])
        return self.origin.error(reason, column=column, line=line, remedy=remedy)


def select(origin: Origin, frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The columns we know, under our names; `names` are those the file has, by position."""
    import polars as pl

    positions = _positions(origin, names)
    return frame.select(pl.nth(position).alias(name) for name, position in positions.items())


def named(origin: Origin, names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which of a file's columns is which of ours, and which are left out."""
    positions = _positions(origin, names)
    ignored = (name for number, name in enumerate(names) if number not in positions.values())
    return {name: names[number] for name, number in positions.items()}, tuple(ignored)


def _positions(origin: Origin, names: Sequence[str]) -> dict[str, int]:
    plain = [snake_case(name) for name in names]
    found: dict[str, int] = {}
    for name, aliases in _ALIASES.items():
        present = next((alias for alias in (name, *aliases) if alias in plain), None)
        if present is None:
            continue
        if plain.count(present) > 1:
            raise origin.error(
                "two columns have this name", column=present, remedy="rename or drop one of them"
            )
        found[name] = plain.index(present)
    missing = next((name for name in REQUIRED if name not in found), None)
    if missing is not None:
        raise origin.error(
            f"no such column; there are {excerpt(', '.join(names))}",
            column=missing,
            remedy=f"name the columns {', '.join(REQUIRED)} in the file",
        )
    return found


def snake_case(name: str) -> str:
    """`openTime`, `Open time` and `open_time` alike."""
    humps = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"\W+", "_", humps).strip("_").lower()


def excerpt(text: str) -> str:
    """Enough of a text to recognise it."""
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"
