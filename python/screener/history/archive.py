"""Bytes of the exchange's archive to minutes: zip, with or without a header, ms or µs. Pure.

This is the fast way for files as the archive has them; a file that is odd in any way goes through
`screener.klines`, which names the line that is wrong.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from screener._core import archive_minutes
from screener.errors import DataError
from screener.klines.candles import to_candles
from screener.klines.parse import parse
from screener.klines.table import ARCHIVE_COLUMNS, Origin

if TYPE_CHECKING:
    import polars as pl

__all__ = ["checksum", "read_archive", "unzip", "verify"]

_DIGEST = re.compile(r"([0-9a-fA-F]{64})(?:[ \t]+[ *]?(\S+))?\s*")
_HEADERS: Final = (
    b"open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    b"taker_buy_quote_volume,ignore",
    ",".join(ARCHIVE_COLUMNS).encode(),
)
_LOCAL_HEADER: Final = 30
_MOST_BYTES: Final = 64 << 20
"""Far beyond the 6 MB of a month: a small zip that unpacks to this is made to fill the memory."""


def checksum(text: str | bytes, name: str) -> str:
    """The SHA-256 that a `.CHECKSUM` file tells, in lower case.

    Args:
        text: Its content: `<64 hexadecimal digits>  <file name>`.
        name: The file it is about, for the error.

    Raises:
        DataError: It tells none.
    """
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    match = _DIGEST.match(said)
    if match is None:
        raise DataError(
            reason=f"the checksum file holds no SHA-256; it starts with {said[:40]!r}",
            path=name,
            remedy="fetch it again",
        )
    return match[1].lower()


def verify(data: bytes, digest: str, name: str) -> None:
    """Refuses a file that is not the one its checksum is about.

    Raises:
        DataError: It is another one, was cut off, or the archive's own checksum is wrong.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise DataError(
            reason=f"the checksum is wrong: SHA-256 {found[:12]}… of {len(data):,} bytes, and "
            f"{digest[:12]}… was told",
            path=name,
            remedy="fetch it again; where it stays wrong, the archive itself is, and the minutes "
            "come from elsewhere",
        )


def read_archive(data: bytes, symbol: str, name: str = "archive file") -> pl.DataFrame:
    """The minutes of a zip file of the archive, in the order they have in it.

    Nothing is dropped or mended: holes, rows that come twice and values that cannot be stay.

    Args:
        data: The zip file.
        symbol: Whose minutes they are.
        name: What to call the file in an error.

    Returns:
        `symbol, open_time` (int64 ms, UTC)`, open, high, low, close, volume, quote_volume, trades,
        taker_buy_volume, taker_buy_quote_volume`.

    Raises:
        DataError: The file is damaged, or not of one-minute candles; the line is named.
    """
    member, content = unzip(data, name)
    frame = _fast(content, symbol)
    if frame is None:
        origin = Origin(name, member)
        return to_candles(parse(origin, bytes(content)), symbol, fill=False)
    return frame


def unzip(data: bytes, name: str) -> tuple[str, bytes | bytearray]:
    """The only member of a zip file: its name and its bytes, checked against their CRC.

    Raises:
        DataError: It is no zip file, is damaged, or holds anything but one file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = [info for info in file.infolist() if not info.is_dir()]
            if len(members) == 1:
                return members[0].filename, _content(data, members[0], file)
    # Damage surfaces in zipfile as nearly anything: BadZipFile, IndexError, struct.error, …
    except Exception as error:
        raise DataError(
            reason=f"the zip file cannot be unpacked: {error}", path=name, remedy="fetch it again"
        ) from error
    raise DataError(reason=f"the zip file holds {len(members)} files instead of one", path=name)


def _content(data: bytes, info: zipfile.ZipInfo, file: zipfile.ZipFile) -> bytes | bytearray:
    """The bytes of a member; those of the usual method by libdeflate, where it is installed."""
    if info.file_size > _MOST_BYTES:
        raise ValueError(f"{info.filename} would have {info.file_size:,} bytes")
    with suppress(ImportError):
        import deflate

        if info.compress_type == zipfile.ZIP_DEFLATED:
            # The local header repeats name and extra field, with lengths of its own.
            head = data[info.header_offset : info.header_offset + _LOCAL_HEADER]
            skip = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
            start = info.header_offset + _LOCAL_HEADER + skip
            content: bytearray = deflate.deflate_decompress(
                data[start : start + info.compress_size], info.file_size
            )
            if deflate.crc32(content) != info.CRC:
                raise zlib.error("the CRC is wrong")
            return content
    return file.read(info)


def _fast(content: bytes | bytearray, symbol: str) -> pl.DataFrame | None:
    """The minutes of a file that is as the archive's are; `None` for any other."""
    import polars as pl

    first = content[: content.find(b"\n") + 1]
    skip = len(first) if first.strip() in _HEADERS else 0
    frame = archive_minutes(content, skip)
    return None if frame is None else frame.select(pl.lit(symbol).alias("symbol"), pl.all())
