"""Listings of the archive's folders: right, wrong, made to harm, without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from xml.sax.saxutils import escape

import pytest

from screener.errors import DataError, SourceError
from screener.history.folders import Page, names_in, parse_page, query
from screener.history.forgotten import Forgotten, forgotten
from screener.history.layout import archive_folder, is_symbol, month_of_file
from screener.history.times import as_ms

ROOT = archive_folder()
NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def listing(
    folders: list[str],
    *,
    files: tuple[str, ...] = (),
    more: bool = False,
    marker: str = "",
    namespace: str = NAMESPACE,
) -> bytes:
    """A page as the bucket gives it."""
    inside = [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders]
    inside += [f"<Contents><Key>{escape(one)}</Key><Size>1</Size></Contents>" for one in files]
    told = f"<NextMarker>{escape(marker)}</NextMarker>" if marker else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult{namespace}>'
        f"<Name>data.binance.vision</Name><Prefix>{ROOT}</Prefix><Marker></Marker>{told}"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{''.join(inside)}</ListBucketResult>"
    ).encode()


def test_a_page_tells_its_names() -> None:
    folders = [f"{ROOT}1INCHUSDT/", f"{ROOT}A&BUSDT/", f"{ROOT}币安人生USDT/"]
    body = listing(folders, files=(f"{ROOT}a.zip", ROOT, "elsewhere/b.zip"))
    names = ("1INCHUSDT/", "A&BUSDT/", "币安人生USDT/", "a.zip")
    assert parse_page(body, ROOT) == Page(names, None)
    assert parse_page(listing(folders, namespace=""), ROOT).names == names[:3]
    assert parse_page(listing([]), ROOT) == Page((), None)


def test_a_page_that_is_not_the_last_tells_where_the_next_begins() -> None:
    folders = [f"{ROOT}AUSDT/", f"{ROOT}BUSDT/"]
    told = listing(folders, more=True, marker=f"{ROOT}BUSDT/")
    assert parse_page(told, ROOT).after == f"{ROOT}BUSDT/"
    assert parse_page(listing(folders, more=True), ROOT).after == f"{ROOT}BUSDT/"
    assert query(ROOT, None) == {"delimiter": "/", "prefix": ROOT}
    assert query(ROOT, "x")["marker"] == "x"


BOMB = (
    "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(
        f"<!ENTITY {name} '{f'&{before};' * 10}'>"
        for before, name in zip("abcde", "bcdef", strict=True)
    )
    + "]><ListBucketResult>&f;</ListBucketResult>"
)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is no XML"),
        (b"<html><p>Blocked</html>", "starts with '<html>"),
        (b"<Error><Code>AccessDenied</Code></Error>", "is no listing; it starts with '<Error>"),
        (listing([])[:-20], "is no XML"),
        (BOMB.encode(), "declares a document type"),
        (BOMB.encode("utf-16"), "declares a document type"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "declares a document type"),
        (b'<?xml version="1.0" encoding="nonsense"?><x/>', "is no XML"),
        (b" " * (5 << 20), "has 5,242,880 bytes"),
    ],
)
def test_what_is_no_listing_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        parse_page(body, ROOT)


def walked(answer: Callable[[str | None], bytes]) -> tuple[list[str], list[str | None]]:
    """All names, and the markers that were asked for."""
    asked: list[str | None] = []

    async def ask(after: str | None) -> bytes:
        asked.append(after)
        return answer(after)

    return asyncio.run(names_in(ask, ROOT)), asked


def test_pages_are_followed_to_the_last() -> None:
    pages = {
        None: listing([f"{ROOT}A/"], more=True, marker=f"{ROOT}A/"),
        f"{ROOT}A/": listing([f"{ROOT}B/"], more=True, marker=f"{ROOT}B/"),
        f"{ROOT}B/": listing([f"{ROOT}C/"]),
    }
    names, asked = walked(pages.__getitem__)
    assert names == ["A/", "B/", "C/"]
    assert asked == [None, f"{ROOT}A/", f"{ROOT}B/"]


@pytest.mark.parametrize("marker", [f"{ROOT}B/", f"{ROOT}A/", ""])
def test_pages_that_do_not_advance_are_refused(marker: str) -> None:
    pages = [
        listing([f"{ROOT}B/"], more=True, marker=f"{ROOT}B/"),
        listing([], more=True, marker=marker),
    ]
    with pytest.raises(DataError, match="does not advance"):
        walked(lambda after: pages[after is not None])


def test_pages_without_an_end_are_refused() -> None:
    count = iter(range(1_000_000))
    with pytest.raises(DataError, match="more than 200 pages"):
        walked(lambda _: listing([], more=True, marker=f"{ROOT}{next(count):09}/"))
    assert next(count) == 200


# -- which symbols they are ---------------------------------------------------------------------


class Archive:
    """Folders by name; one that is not there is no answer."""

    def __init__(self, folders: dict[str, list[str]]) -> None:
        """Keeps what lies in each."""
        self.folders = folders

    async def archive_names(self, prefix: str) -> list[str]:
        """What lies in a folder."""
        if prefix not in self.folders:
            raise SourceError(reason="no answer: it is down", path=prefix)
        return self.folders[prefix]


def test_the_forgotten_are_told_with_their_months() -> None:
    files = ["FTTUSDT-1m-2022-11.zip", "FTTUSDT-1m-2022-11.zip.CHECKSUM", "FTTUSDT-1m-2023-02.zip"]
    odd = ["..", "A B", "<b>USDT", "X" * 41, "__"]
    names = ["BTCUSDT", "FTTUSDT", "FTTBUSD", "BTCUSDT_210326", "USDT", "EMPTYUSDT", *odd]
    folders = {
        ROOT: [*(f"{name}/" for name in names), "index.html", "/"],
        archive_folder("FTTUSDT"): files,
        archive_folder("EMPTYUSDT"): ["EMPTYUSDT-5m-2022-11.zip"],
    }
    found = asyncio.run(forgotten(Archive(folders), {"BTCUSDT"}, "USDT"))
    assert found.spans == {"FTTUSDT": (as_ms("2022-11"), as_ms("2023-03"))}
    assert found.remarks == ("folders of the archive whose names are no symbols were left out: 6",)


@pytest.mark.parametrize("folders", [{}, {ROOT: ["FTTUSDT/", "LUNAUSDT/"]}])
def test_a_listing_that_cannot_be_had_is_told(folders: dict[str, list[str]]) -> None:
    found = asyncio.run(forgotten(Archive(folders), (), "USDT"))
    told = (
        "the archive's listing cannot be had: no answer: it is down; only what exchangeInfo lists"
    )
    assert found == Forgotten({}, (f"{told} is fetched",))


def test_names_are_told_apart() -> None:
    for name in ("BTCUSDT", "1000SHIBUSDT", "币安人生USDT", "BTCUSDT_261225"):
        assert is_symbol(name), name
    for name in ("", "_", "A/B", "A B", "A.B", "A\n", "A-B", "X" * 41):
        assert not is_symbol(name), name
    assert month_of_file("AUSDT", "AUSDT-1m-2025-02.zip") == "2025-02"
    for name in (
        "AUSDT-1m-2025-02.zip.CHECKSUM",
        "AUSDT-1m-2025-13.zip",
        "2025-02",
        "B-1m-2025-02",
    ):
        assert month_of_file("AUSDT", name) is None, name
