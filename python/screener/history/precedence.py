"""Which version of a minute is kept: SPEC section 2, on whole frames. No file is touched here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from screener.errors import DataError
from screener.history.times import EARLIEST, LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

__all__ = ["COLUMNS", "RANKS", "VALUES", "Merged", "Source", "conform", "empty", "merge", "winners"]

Source = Literal["synthetic", "stream", "rest", "archive"]

RANKS: Final[Mapping[Source, int]] = {"synthetic": 0, "stream": 1, "rest": 2, "archive": 3}
"""How far a source is believed: a version yields to one from a source that ranks as high."""

VALUES: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""The numbers of a minute: two versions with the same ones are equal, wherever they came from.

One that is null is unknown: it contradicts nothing, and takes no known one's place.
"""

COLUMNS: Final = ("symbol", "open_time", *VALUES, "source", "revision")
"""The columns of a stored minute."""

_OPTIONAL = ("trades", "taker_buy_volume", "taker_buy_quote_volume")


@dataclass(slots=True)
class Merged:
    """What became of rows that were given to the store.

    Attributes:
        inserted: minutes that were not held before.
        corrected: minutes whose values were replaced; their revision rose by one.
        improved: equal minutes for which a better source was recorded.
        duplicate: equal rows that changed nothing.
        outranked: different values from a worse source, which were not kept.
        conflicting: rows that differ from another row of the same minute in the same frame; of
            them the one from the best source was taken, among equals the last.
    """

    inserted: int = 0
    corrected: int = 0
    improved: int = 0
    duplicate: int = 0
    outranked: int = 0
    conflicting: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything is stored now that was not before."""
        return bool(self.inserted or self.corrected or self.improved)

    def add(self, other: Merged) -> None:
        """Adds what another one counted."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@cache
def schema() -> dict[str, pl.DataType | type[pl.DataType]]:
    """The types of `COLUMNS`."""
    import polars as pl

    whole = {"open_time": pl.Int64, "trades": pl.Int64, "revision": pl.Int32}
    texts = {"symbol": pl.String, "source": pl.String}
    return {name: (whole | texts).get(name, pl.Float64) for name in COLUMNS}


def empty() -> pl.DataFrame:
    """No minutes."""
    return _empty().clone()


@cache
def _empty() -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema=schema())


def conform(
    frame: pl.DataFrame, *, symbol: str | None = None, source: Source = "stream"
) -> pl.DataFrame:
    """The columns of a stored minute, with their types; the order of the rows stays.

    Args:
        frame: Columns as in SPEC section 1; others are left out. Optional ones may be missing.
        symbol: Whose minutes they are, where the frame has no such column.
        source: Where they came from, where the frame does not say.

    Raises:
        DataError: A column is missing or of a type that cannot be converted, a time is missing or
            no time of 2009 to 2100 in ms, a source is unknown.
    """
    import polars as pl

    have = set(frame.columns)
    given: dict[str, object] = dict.fromkeys(_OPTIONAL)
    given |= {"source": source, "revision": 0}
    if symbol is not None:
        given["symbol"] = symbol
    missing = next((name for name in COLUMNS if name not in have and name not in given), None)
    if missing is not None:
        raise DataError(
            reason="no such column",
            column=missing,
            remedy=f"give the columns {', '.join(COLUMNS)}; {', '.join(_OPTIONAL)} may be missing",
        )
    changes = []
    for name, kind in schema().items():
        default = pl.lit(given.get(name), dtype=kind).alias(name)
        if name not in have:
            changes.append(default)
        elif name in given and frame[name].null_count():
            changes.append(pl.col(name).cast(kind).fill_null(default))
        elif frame.schema[name] != kind:
            changes.append(pl.col(name).cast(kind))
    try:
        out = frame.with_columns(changes).select(COLUMNS)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            reason=f"a column is not of its type: {str(error).partition(chr(10))[0]}",
            remedy="read the file with screener.read_klines, which converts",
        ) from error
    _refuse_times(out["open_time"])
    _refuse_sources(out["source"] if "source" in have else [source])
    return out


def _refuse_times(times: pl.Series) -> None:
    low, high = times.min(), times.max()
    if not len(times) or (
        isinstance(low, int)
        and isinstance(high, int)
        and EARLIEST <= low <= high < LATEST
        and not times.null_count()
    ):
        return
    wrong = ~times.is_between(EARLIEST, LATEST, closed="left").fill_null(value=False)
    row = wrong.arg_true()[0]
    raise DataError(
        reason=f"{times[row]} is no time of the years 2009 to 2100 in ms since 1970",
        column="open_time",
        row=row,
        remedy="convert the times, or leave out the row",
    )


def _refuse_sources(sources: pl.Series | list[str]) -> None:
    unknown = sorted(
        set(sources if isinstance(sources, list) else sources.unique()) - set(RANKS), key=str
    )
    if unknown:
        raise DataError(
            reason=f"{unknown[0]!r} is no source",
            column="source",
            remedy=f"known are {', '.join(RANKS)}",
        )


def _rank(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).replace_strict(dict(RANKS), return_dtype=pl.Int8)


def _agrees(arriving: str = "", *, held: str = "") -> pl.Expr:
    """Whether what an arriving version knows is what is held; NaN equals NaN.

    Args:
        arriving: The suffix of its columns.
        held: That of the columns of what is held.
    """
    import polars as pl

    return pl.all_horizontal(
        pl.col(name + arriving).is_null() | pl.col(name + arriving).eq_missing(pl.col(name + held))
        for name in VALUES
    )


def winners(frame: pl.DataFrame, counts: Merged) -> pl.DataFrame:
    """One row a minute of one symbol, sorted by time, of rows that conform.

    Of several versions the one from the best source is taken, among equals the last; what it does
    not know is taken from the one before it.
    """
    import polars as pl

    times = frame["open_time"]
    if len(times) < 2 or bool((times.diff().slice(1) > 0).all()):
        return frame
    ordered = frame.with_columns(_rank("source").alias("rank")).sort(
        "open_time", "rank", maintain_order=True
    )
    if any(ordered[name].null_count() for name in VALUES):
        filled = [pl.col(name).forward_fill().over("open_time") for name in VALUES]
        versions = ordered.with_columns(filled)
    else:
        versions = ordered
    kept = versions.unique("open_time", keep="last", maintain_order=True)
    compared = ordered.join(kept, on="open_time", suffix="_kept", maintain_order="left")
    equal = int(compared.select(_agrees(held="_kept").sum()).item())
    counts.duplicate += equal - kept.height
    counts.conflicting += ordered.height - equal
    return kept.drop("rank").sort("open_time")


def merge(held: pl.DataFrame, arrived: pl.DataFrame, counts: Merged) -> pl.DataFrame:
    """The minutes of one symbol after others have arrived, sorted by time.

    Args:
        held: What is stored: one row a minute.
        arrived: Rows that conform; see `winners` for several of one minute.
        counts: Where to count what becomes of them.
    """
    import polars as pl

    arrived = winners(arrived, counts)
    if held.is_empty():
        counts.inserted += arrived.height
        return arrived
    new = arrived.join(held, on="open_time", how="anti", maintain_order="left")
    counts.inserted += new.height
    known = arrived.height - new.height
    if known:
        held = _judged(held, arrived, known, counts)
    return pl.concat([held, new]).sort("open_time") if new.height else held


def _judged(held: pl.DataFrame, arrived: pl.DataFrame, known: int, counts: Merged) -> pl.DataFrame:
    """The held minutes, with what arrived for them where it is better."""
    import polars as pl

    both = held.join(
        arrived.drop("symbol", "revision"),
        on="open_time",
        how="left",
        suffix="_new",
        maintain_order="left",
    )
    asked = pl.col("source_new").is_not_null()
    better = _rank("source_new") - _rank("source")
    agrees = _agrees("_new")
    judged = both.with_columns(
        replaced=asked & ~agrees & (better >= 0),
        improved=asked & agrees & (better > 0),
        outranked=asked & ~agrees & (better < 0),
    )
    told = judged.select(pl.col("replaced", "improved", "outranked").sum()).row(0)
    counts.corrected += told[0]
    counts.improved += told[1]
    counts.outranked += told[2]
    counts.duplicate += known - sum(told)
    if not (told[0] or told[1]):
        return held
    replaced = pl.col("replaced")
    # What the better version does not know stays as it was.
    values = [
        pl.when(replaced & pl.col(name + "_new").is_not_null())
        .then(name + "_new")
        .otherwise(name)
        .alias(name)
        for name in VALUES
    ]
    # What was absent had no version, so the first real one is revision 0.
    revised = pl.col("revision") + (replaced & (pl.col("source") != "synthetic")).cast(pl.Int32)
    source = pl.when(replaced | pl.col("improved")).then("source_new").otherwise("source")
    return judged.with_columns(*values, revised, source.alias("source")).select(COLUMNS)
