"""What lies in a folder of the archive, by its bucket's answers (S3 ListBucketResult). Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from screener.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Page", "names_in", "parse_page", "query"]

_MOST_BYTES: Final = 4 << 20
"""Ten times a page of a thousand names that all need escapes."""

_MOST_PAGES: Final = 200
"""A hundred times the symbols that there are."""

_DELIMITER: Final = "/"


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing.

    Attributes:
        names: What lies in the folder, without the folder's own name; folders end with a slash.
        after: Behind which name the next page begins; `None` where this is the last.
    """

    names: tuple[str, ...]
    after: str | None


class _Builder(ET.TreeBuilder):
    """Refuses declarations: a listing has none, and entities may be made to fill the memory."""

    def doctype(self, *_: Any) -> None:
        """Is called before any entity is declared."""
        raise DataError(reason="the listing declares a document type")


def query(prefix: str, after: str | None) -> dict[str, str]:
    """The parameters that ask for a page.

    Args:
        prefix: The folder, with a slash at its end.
        after: What the page before said; `None` asks for the first.
    """
    marker = {} if after is None else {"marker": after}
    return {"delimiter": _DELIMITER, "prefix": prefix, **marker}


def parse_page(body: bytes, prefix: str) -> Page:
    """A page of a listing.

    Args:
        body: The answer.
        prefix: The folder that was asked for.

    Raises:
        DataError: It is too large, no XML, or no listing.
    """
    if len(body) > _MOST_BYTES:
        raise DataError(reason=f"a page of the listing has {len(body):,} bytes")
    try:
        root = ET.fromstring(body, ET.XMLParser(target=_Builder()))  # noqa: S314 (no doctype)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(
            reason=f"the listing is no XML ({error}); it starts with {_excerpt(body)!r}"
        ) from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise DataError(reason=f"the answer is no listing; it starts with {_excerpt(body)!r}")
    found = [
        *(each.text or "" for each in root.findall("{*}CommonPrefixes/{*}Prefix")),
        *(each.text or "" for each in root.findall("{*}Contents/{*}Key")),
    ]
    names = (each.removeprefix(prefix) for each in found if each.startswith(prefix))
    after = None
    if root.findtext("{*}IsTruncated", "").strip() == "true":
        # Who is asked without a delimiter tells no marker: the last name is one.
        after = root.findtext("{*}NextMarker") or max(found, default="")
    return Page(tuple(name for name in names if name), after)


async def names_in(ask: Callable[[str | None], Awaitable[bytes]], prefix: str) -> list[str]:
    """All that lies in a folder, page by page.

    Args:
        ask: Gives the page behind a marker.
        prefix: The folder, with a slash at its end.

    Raises:
        DataError: A page is none, the pages do not advance, or do not end.
    """
    names: list[str] = []
    after: str | None = None
    for _ in range(_MOST_PAGES):
        page = parse_page(await ask(after), prefix)
        names += page.names
        if page.after is None:
            return names
        if page.after <= (after or ""):
            raise DataError(
                reason=f"the listing of {prefix} does not advance: after {after!r} comes "
                f"{page.after!r}"
            )
        after = page.after
    raise DataError(reason=f"the listing of {prefix} has more than {_MOST_PAGES} pages")


def _excerpt(body: bytes) -> str:
    return body[:80].decode("utf-8", "replace")
