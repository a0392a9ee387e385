"""A server that has the truth: REST klines and archive files of a frame, over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import zipfile
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
from aiohttp import web

from screener.history.http import HttpSource, open_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MINUTE = 60_000
ROW = ("open", "high", "low", "close", "volume")


@dataclass
class Truth:
    """The minutes that there are, and what was asked for.

    Attributes:
        rows: Candles with all columns.
        archived: Whether the archive has daily files of them.
        refuse: The status every klines request is answered with, or None.
        asked: Requests by path.
    """

    rows: pl.DataFrame
    archived: bool = False
    refuse: int | None = None
    asked: Counter[str] = field(default_factory=Counter)

    async def klines(self, request: web.Request) -> web.Response:
        """As the exchange answers: rows oldest first, decimals in quotes."""
        self.asked["klines"] += 1
        if self.refuse is not None:
            return web.json_response({"code": -1, "msg": "no"}, status=self.refuse)
        query = request.query
        mine = self.rows.filter(symbol=query["symbol"])
        if mine.is_empty():
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        low, high = int(query["startTime"]), int(query["endTime"])
        asked = mine.filter(pl.col("open_time").is_between(low, high)).head(int(query["limit"]))
        return web.json_response([_row(row) for row in asked.iter_rows(named=True)])

    async def time(self, _: web.Request) -> web.Response:
        """A day after the last minute."""
        last = int(str(self.rows["open_time"].max()))
        return web.json_response({"serverTime": last + 1440 * MINUTE})

    async def file(self, request: web.Request) -> web.Response:
        """A daily file or its checksum."""
        name = request.path.rsplit("/", 1)[1]
        self.asked["archive"] += 1
        symbol, _, day = name.removesuffix(".CHECKSUM").removesuffix(".zip").partition("-1m-")
        if not self.archived or len(day) != 10:
            return web.Response(status=404)
        data = self._zip(symbol, day)
        if name.endswith(".CHECKSUM"):
            digest = hashlib.sha256(data).hexdigest()
            return web.Response(text=f"{digest}  {name.removesuffix('.CHECKSUM')}\n")
        return web.Response(body=data)

    def _zip(self, symbol: str, day: str) -> bytes:
        of_day = pl.from_epoch("open_time", time_unit="ms").dt.strftime("%Y-%m-%d") == day
        rows = self.rows.filter(pl.col("symbol") == symbol, of_day)
        text = "".join(f"{','.join(map(str, _row(row)))}\n" for row in rows.iter_rows(named=True))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            # One time for all files, so that a file has one checksum.
            archive.writestr(zipfile.ZipInfo(f"{symbol}-1m-{day}.csv"), text)
        return buffer.getvalue()


def _row(row: dict[str, object]) -> list[object]:
    time = int(str(row["open_time"]))
    return [
        time,
        *(repr(row[name]) for name in ROW),
        time + MINUTE - 1,
        repr(row["quote_volume"]),
        row["trades"],
        repr(row["taker_buy_volume"]),
        repr(row["taker_buy_quote_volume"]),
        "0",
    ]


@contextmanager
def served(truth: Truth) -> Iterator[str]:
    """The truth on a loopback port, in a thread of its own; gives its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        runner, url = asyncio.run_coroutine_threadsafe(_start(truth), loop).result(10)
        yield url
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@asynccontextmanager
async def serving(truth: Truth) -> AsyncIterator[HttpSource]:
    """The truth on a loopback port, and a source that asks it."""
    runner, url = await _start(truth)
    try:
        async with open_source(rest_url=url, archive_url=url) as source:
            yield source
    finally:
        await runner.cleanup()


async def _start(truth: Truth) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_get("/fapi/v1/klines", truth.klines)
    app.router.add_get("/fapi/v1/time", truth.time)
    app.router.add_get("/data/{path:.*}", truth.file)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"
