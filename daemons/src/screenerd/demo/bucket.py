"""The listing of the archive's bucket, as S3 gives it page by page; no socket here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from xml.sax.saxutils import escape

from screener.history.layout import CHECKSUM_SUFFIX, archive_folder, file_name
from screener.history.times import month_end, months_between

__all__ = ["keys", "page"]


def keys(lives: Mapping[str, tuple[int, int]], now: int, missing: Collection[str]) -> Iterator[str]:
    """The names of the monthly files of some symbols and of their checksums, in order.

    Args:
        lives: from when to when each symbol has minutes, [start, end) ms.
        now: the exchange's time, ms: a month that is not over has no file.
        missing: files that are not there.
    """
    for symbol in sorted(lives):
        start, end = lives[symbol]
        for month in months_between(start, min(end, now)):
            name = file_name(symbol, month)
            if month_end(month) <= now and name not in missing:
                yield archive_folder(symbol) + name
                yield archive_folder(symbol) + name + CHECKSUM_SUFFIX


def page(names: Iterable[str], query: Mapping[str, str], most: int) -> bytes:
    """The answer to a list request: what begins with a prefix, cut at a delimiter.

    Args:
        names: all there are, in order.
        query: the parameters `prefix`, `delimiter` and `marker`.
        most: how many a page has.
    """
    prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
    found: dict[str, None] = {}
    for name in names:
        item = _cut(name, prefix, delimiter)
        if item is not None and item > marker:
            found[item] = None
            if len(found) > most:
                break
    shown = list(found)[:most]
    entries = [_entry(item, is_folder=item.endswith(delimiter or "\0")) for item in shown]
    more = len(found) > most
    after = f"<NextMarker>{escape(shown[-1])}</NextMarker>" if more and delimiter else ""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<Marker>{escape(marker)}</Marker>{after}<MaxKeys>{most}</MaxKeys>"
        f"<Delimiter>{escape(delimiter)}</Delimiter>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{''.join(entries)}</ListBucketResult>"
    )
    return text.encode()


def _cut(name: str, prefix: str, delimiter: str) -> str | None:
    if not name.startswith(prefix):
        return None
    head, found, _ = name.removeprefix(prefix).partition(delimiter or "\0")
    return prefix + head + found


def _entry(item: str, *, is_folder: bool) -> str:
    kind, name = ("CommonPrefixes", "Prefix") if is_folder else ("Contents", "Key")
    return f"<{kind}><{name}>{escape(item)}</{name}></{kind}>"
