"""The exchange's archive: a zip file a symbol and month or day, with its checksum; no socket here.

What is wrong with the archive when asked to is planted in `ArchiveFaults`, by file or by minute.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from screener.errors import DataError
from screener.history.layout import CHECKSUM_SUFFIX
from screener.history.times import day_start, month_end, month_start
from screenerd.demo.contracts import CLOSE, OPEN, QUOTE, Contract, Floats
from screenerd.model import MINUTE_MS

__all__ = [
    "FORGOTTEN",
    "ArchiveFaults",
    "ArchiveFile",
    "archive_csv",
    "checksum_text",
    "parse_name",
    "zipped",
]

_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore\n"
)
_NAME = re.compile(
    r"(?P<symbol>.+)-1m-(?P<period>\d{4}-\d{2}(?:-\d{2})?)\.zip(?P<checksum>\.CHECKSUM)?"
)
_DAY_MINUTES = 1440

FORGOTTEN = ("FTTUSDT", day_start("2023-11-06"), day_start("2025-02-17") + 570 * MINUTE_MS)
"""A contract that only the archive knows, and from when to when it traded, [start, end) ms.

Its minutes are those of the market's first contract.
"""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of the archive by its name.

    Attributes:
        name: without the suffix of a checksum.
        symbol: whose minutes.
        first: its first minute.
        last: its last minute.
        checksum: whether the checksum is asked for, and not the file.
    """

    name: str
    symbol: str
    first: int
    last: int
    checksum: bool


def parse_name(kind: str, folder: str, name: str) -> ArchiveFile | None:
    """The file that an address means, or `None`.

    Args:
        kind: `monthly` or `daily`.
        folder: the symbol of the folder.
        name: the file's.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["symbol"] != folder:
        return None
    period = match["period"]
    if kind != ("monthly" if len(period) == len("2025-02") else "daily"):
        return None
    try:
        if kind == "monthly":
            first, end = month_start(period), month_end(period)
        else:
            first = day_start(period)
            end = first + _DAY_MINUTES * MINUTE_MS
    except DataError:
        return None
    file = name.removesuffix(CHECKSUM_SUFFIX)
    minutes = first // MINUTE_MS, end // MINUTE_MS - 1
    return ArchiveFile(file, folder, *minutes, checksum=match["checksum"] is not None)


Minutes = tuple[str, int, int]
"""Minutes of a symbol that open in [start, end) ms."""


@dataclass(slots=True)
class ArchiveFaults:
    """What is wrong with the archive; REST is none the worse. May be changed while it runs.

    Files are meant by their names, such as `BTCUSDT-1m-2025-02.zip`.

    Attributes:
        missing: files that are not there.
        wrong_checksum: files whose checksum is another's, so many times.
        no_header: files without the row of names.
        microseconds: files with times in µs.
        holes: minutes that no file has.
        repeated: minutes whose row comes twice.
        conflicting: minutes whose row comes a second time with another close and volume.
        happened: how often a file with each fault was asked for.
    """

    missing: set[str] = field(default_factory=set)
    wrong_checksum: Counter[str] = field(default_factory=Counter)
    no_header: set[str] = field(default_factory=set)
    microseconds: set[str] = field(default_factory=set)
    holes: list[Minutes] = field(default_factory=list)
    repeated: list[Minutes] = field(default_factory=list)
    conflicting: list[Minutes] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)

    def version(self, file: ArchiveFile) -> tuple[object, ...]:
        """What a file's content depends on."""
        rows = (self.holes, self.repeated, self.conflicting)
        of_symbol = (tuple(each for each in some if each[0] == file.symbol) for some in rows)
        return file.name in self.no_header, file.name in self.microseconds, *of_symbol

    def is_missing(self, file: ArchiveFile) -> bool:
        """Whether a file is not there; counted."""
        if file.name not in self.missing:
            return False
        self.happened["missing"] += 1
        return True

    def spoils_checksum(self, file: ArchiveFile) -> bool:
        """Whether this checksum is wrong; counted."""
        if self.wrong_checksum[file.name] < 1:
            return False
        self.wrong_checksum[file.name] -= 1
        self.happened["wrong_checksum"] += 1
        return True


def archive_csv(
    contract: Contract, bars: npt.NDArray[np.int64], rows: Floats, *, header: bool, micro: bool
) -> str:
    """Minutes as the archive's files have them.

    Args:
        contract: whose.
        bars: the minutes.
        rows: their candles, in the units of the contract.
        header: whether a row of names comes first.
        micro: whether times are in µs.
    """
    o, h, low, c, v, q, n, tv, tq = contract.texts
    row = f"%d,{o},{h},{low},{c},{v},%d,{q},{n},{tv},{tq},0\n"
    columns = (rows / contract.scales).T.tolist()
    unit = 1000 if micro else 1
    opens = bars * (MINUTE_MS * unit)
    closes = opens + (MINUTE_MS * unit - 1)
    cells = zip(opens.tolist(), *columns[:QUOTE], closes.tolist(), *columns[QUOTE:], strict=True)
    return (_HEADER if header else "") + "".join([row % each for each in cells])


def flawed(
    file: ArchiveFile, faults: ArchiveFaults, bars: npt.NDArray[np.int64], rows: Floats
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The minutes of a file with its holes, and with rows that come twice."""
    kept = ~(np.isnan(rows[:, OPEN]) | _among(file.symbol, faults.holes, bars))
    bars, rows = bars[kept], rows[kept]
    differing = _among(file.symbol, faults.conflicting, bars)
    twice = _among(file.symbol, faults.repeated, bars) | differing
    order = np.repeat(np.arange(len(bars)), 1 + twice)
    second = np.append([False], order[1:] == order[:-1]) if len(order) else twice
    rows = rows[order]
    changed = second & differing[order]
    rows[changed, CLOSE] = rows[changed, OPEN]
    rows[changed, QUOTE] += 1
    return bars[order], rows


def _among(
    symbol: str, some: Sequence[Minutes], bars: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool]:
    found = np.zeros(len(bars), dtype=np.bool)
    for name, start, end in some:
        if name == symbol:
            found |= (bars * MINUTE_MS >= start) & (bars * MINUTE_MS < end)
    return found


def zipped(name: str, text: str) -> bytes:
    """A zip file of one CSV; the same text is the same bytes."""
    buffer = io.BytesIO()
    member = zipfile.ZipInfo(f"{name.removesuffix('.zip')}.csv", (2025, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, text)
    return buffer.getvalue()


def checksum_text(name: str, data: bytes, *, wrong: bool = False) -> bytes:
    """What a `.CHECKSUM` file says; the wrong one is that of another file."""
    digest = hashlib.sha256(data + b"x" * wrong).hexdigest()
    return f"{digest}  {name}\n".encode()
