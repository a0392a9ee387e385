"""History as files for others: one Parquet file, or CSV in the archive's own folders and names."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from screener.errors import DataError
from screener.history.atomic import file_error, replace_file
from screener.history.layout import CHECKSUM_SUFFIX, plain_path
from screener.history.precedence import schema
from screener.history.times import MINUTE_MS, month_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import polars as pl

__all__ = ["Exported", "export_archive", "export_parquet", "nothing_to_export"]

# The columns of the archive's files, in their order and under its names.
_COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
GROUP_ROWS: Final = 100_000
"""Rows of a group of a Parquet file: so many are in memory at least."""
# One moment for all files, so that the same minutes have the same checksum.
_STAMP: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        rows: Minutes.
        files: Files, checksums not counted.
        bytes: Their bytes.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0


def export_archive(
    frames: Iterable[pl.DataFrame],
    folder: str | os.PathLike[str],
    *,
    market: str = "futures/um",
) -> Exported:
    """Write minutes as the archive has them: a zip a symbol and month, and its checksum.

    Args:
        frames: Minutes with the columns of `Store.read`; each symbol's in order of time, and in
            one frame after the other.
        folder: Where `data/futures/um/monthly/klines/…` is made. Files that are there are
            replaced, each whole.
        market: The archive's folder of the market: `futures/um` or `spot`.

    Raises:
        DataError: There is no minute, or a file cannot be written; those before it are there
            whole.
    """
    done = Exported()
    for symbol, month, rows in _by_month(frames):
        path = Path(folder) / plain_path(symbol, month, market=market)
        name = path.name
        content = _zip(name, rows)
        digest = hashlib.sha256(content).hexdigest()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
            checksum = path.with_name(path.name + CHECKSUM_SUFFIX)
            replace_file(checksum, f"{digest}  {name}\n".encode())
        except OSError as error:
            raise file_error(error, path, "the file cannot be written") from error
        done.rows += rows.height
        done.files += 1
        done.bytes += len(content)
    if not done.files:
        raise nothing_to_export(Path(folder))
    return done


def export_parquet(
    minutes: pl.LazyFrame | Iterable[pl.DataFrame], path: str | os.PathLike[str]
) -> Exported:
    """Write minutes into one Parquet file, without having all of them in memory.

    Args:
        minutes: A lazy frame, or frames one after the other; each is asked for when those before
            it are all but written.
        path: The file; one that is there is replaced, whole.

    Raises:
        DataError: There is no minute, or the file cannot be written; what was there before still
            is.
    """
    import polars as pl

    target = Path(path)
    frames = _Frames(() if isinstance(minutes, pl.LazyFrame) else minutes)
    frame = minutes if isinstance(minutes, pl.LazyFrame) else frames.lazy()
    scratch = target.with_name(f".screener-{secrets.token_hex(8)}.tmp")
    try:
        frame.sink_parquet(scratch, compression="zstd", mkdir=False, row_group_size=GROUP_ROWS)
        rows = pl.scan_parquet(scratch, glob=False).select(pl.len()).collect().item()
        if not rows:
            raise nothing_to_export(target)
        size = scratch.stat().st_size
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(target)
    except OSError as error:
        raise file_error(error, target, "the file cannot be written") from error
    except pl.exceptions.PolarsError as error:
        if frames.failed is not None:
            raise frames.failed from None
        # polars tells the system's refusal in its text alone.
        refusal = re.search(r"\(os error (\d+)\)", str(error))
        if refusal is not None:
            number = int(refusal[1])
            told = OSError(number, os.strerror(number))
            raise file_error(told, target, "the file cannot be written") from error
        raise DataError(
            reason=f"the file cannot be written: {str(error).partition(chr(10))[0]}",
            path=target,
            remedy="check the folder, who may write to it, and the space left",
        ) from error
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
    return Exported(int(rows), 1, size)


class _Frames:
    """Frames as polars asks for them; it tells an exception's text alone, so it is kept here."""

    def __init__(self, frames: Iterable[pl.DataFrame]) -> None:
        self._frames = frames
        self.failed: Exception | None = None

    def __call__(self, *_: object) -> Iterator[pl.DataFrame]:
        """All of them: nothing is asked of this source but to be written whole."""
        try:
            yield from self._frames
        except Exception as error:
            self.failed = error
            raise

    def lazy(self) -> pl.LazyFrame:
        """The same as a lazy frame, which is to be collected once."""
        from polars.io.plugins import register_io_source

        return register_io_source(self, schema=schema())


def nothing_to_export(path: Path) -> DataError:
    """That there is no minute of what is meant; nothing was written."""
    return DataError(
        reason="there is no minute in this range: nothing is written",
        path=path,
        remedy="check --start and --end (`screener check` tells what is held)",
    )


def _by_month(frames: Iterable[pl.DataFrame]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """The rows of a symbol's month; months of one symbol may come in several frames."""
    import polars as pl

    last: tuple[str, str] | None = None
    held: list[pl.DataFrame] = []
    for frame in frames:
        months = pl.from_epoch("open_time", time_unit="ms").dt.strftime("%Y-%m").alias("_month")
        parts = frame.with_columns(months).partition_by("symbol", "_month", maintain_order=True)
        for part in parts:
            key = (str(part["symbol"][0]), month_of(int(part["open_time"][0])))
            if last is not None and key != last:
                yield *last, pl.concat(held)
                held = []
            last = key
            held.append(part.drop("_month"))
    if last is not None:
        yield *last, pl.concat(held)


def _zip(name: str, rows: pl.DataFrame) -> bytes:
    import polars as pl

    table = rows.with_columns(
        close_time=pl.col("open_time") + MINUTE_MS - 1,
        count=pl.col("trades"),
        ignore=pl.lit(0),
    ).select(_COLUMNS)
    text = table.write_csv(float_scientific=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(name.removesuffix(".zip") + ".csv", _STAMP)
        archive.writestr(member, text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
