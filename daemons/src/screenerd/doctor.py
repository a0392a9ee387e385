"""Is everything there that `screenerd up` needs? Each check says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from screener.errors import DataError
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.clock import Clock, SystemClock
from screenerd.config import Config, StoreConfig
from screenerd.exchange.binance.stream import ROUTE
from screenerd.model import MINUTE_MS
from screenerd.rulefiles import RulesError, RuleSources, load
from screenerd.store.port import StoreError, StoreInUseError
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite.reader import SqliteReader
from screenerd.store.sqlite.soundness import is_sound, last_day, tell
from screenerd.switches import is_shadow

CLOCK_LIMIT_MS = 1_000
FREE_BYTES = 1 << 30
FRESH_SECONDS = 135
EXCHANGES = ("binance",)
SAMPLES = 5
BROKER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `remedy` says what to do where it is not well."""

    name: str
    well: bool
    told: str
    remedy: str = ""


async def examine(config: Config) -> list[Check]:
    """Looks at clock, exchange, rules and store; and at the broker where several machines share."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        exchange = await _exchange(session, config)
        rules = _rules(config.rules.sources)
        stream = await _stream(session, config)
        broker = [] if config.store.url is None else [await _broker(config.bus)]
        return [*exchange, stream, rules, *broker, *await _store(config.store)]


async def _exchange(session: aiohttp.ClientSession, config: Config) -> list[Check]:
    url = config.exchange.rest_url.rstrip("/") + "/fapi/v1/time"
    name = "exchange, REST"
    try:
        offsets = [await _offset(session, url) for _ in range(SAMPLES)]
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        remedy = "is there a network, and does the exchange serve this country (451)?"
        return [Check(name, False, f"{url}: {type(error).__name__}: {error}", remedy)]
    # The answer that took least time knows best: whatever delays an answer only adds to it.
    trip, offset = min(offsets)
    reached = Check(name, True, f"{url} answers in {trip:.0f} ms")
    off = f"this machine's clock is {abs(offset):.0f} ms {'behind' if offset > 0 else 'ahead of'}"
    clock = Check(
        "clock",
        abs(offset) <= CLOCK_LIMIT_MS,
        f"{off} the exchange's",
        "set the clock by NTP (systemd-timesyncd or chrony)",
    )
    return [reached, clock]


async def _offset(session: aiohttp.ClientSession, url: str) -> tuple[float, float]:
    """How long an answer took, and how far the exchange's clock is ahead, in ms."""
    began = time.time_ns()
    async with session.get(url, allow_redirects=False) as response:
        body = await response.content.read(4096)
        ended = time.time_ns()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {body[:200]!r}")
    told = orjson.loads(body).get("serverTime")
    if not isinstance(told, int):
        raise ValueError(f"no serverTime in {body[:200]!r}")  # noqa: TRY004 - the answer is wrong
    return (ended - began) / 1e6, told - (began + ended) / 2e6


async def _stream(session: aiohttp.ClientSession, config: Config) -> Check:
    url = config.exchange.stream_url.rstrip("/") + ROUTE
    name, stream = "exchange, stream", "btcusdt@kline_1m"
    try:
        async with asyncio.timeout(10), session.ws_connect(f"{url}?streams={stream}") as websocket:
            await websocket.receive_str()
    except (aiohttp.ClientError, TimeoutError, TypeError) as error:
        remedy = "websockets to this address must be let through; the route is /market/stream"
        return Check(name, False, f"{url}: {type(error).__name__}: {error}", remedy)
    return Check(name, True, f"{url} delivers")


def _rules(sources: RuleSources) -> Check:
    """Whether the rules can be in force."""
    try:
        rules = load(sources)
    except RulesError as error:
        return Check("rules", False, str(error), "mend it; `screener rules check FILE` says more")
    shadow = sum(is_shadow(rule) for rule in rules)
    return Check("rules", True, f"{len(rules)} rules, {shadow} of them shadow ones")


async def _broker(settings: BusSettings) -> Check:
    """Whether the broker answers, and keeps what it acknowledges; nothing is changed there."""
    from screenerd.bus.jetstream.check import BrokerError, check
    from screenerd.bus.jetstream.connection import BusCounters, Connection

    name, remedy = "broker", "see that it runs, and that bus.servers is right"
    connection = Connection(settings, "screenerd doctor", SystemClock(), BusCounters())
    try:
        async with asyncio.timeout(BROKER_SECONDS):
            await connection.open()
            version = connection.version
            await check(version, settings)
    except TimeoutError:
        return Check(name, False, f"{', '.join(settings.servers)}: {connection.why}", remedy)
    except BrokerError as error:
        return Check(name, False, str(error), "`screenerd ingest` and the others do not start so")
    finally:
        await connection.close()
    return Check(name, True, f"nats-server {version} answers")


async def _store(config: StoreConfig) -> list[Check]:
    """Whether what is to be kept can be, and is."""
    if config.url is None:
        return await _file(config)
    return await _database(config.url.get_secret_value())


async def _database(url: str) -> list[Check]:
    """Whether the database answers, and is kept up to date; nothing is changed there."""
    from screenerd.store.postgres.reader import PostgresReader

    clock = SystemClock()
    async with PostgresReader(url, clock) as store:
        try:
            newest = [at for name in EXCHANGES for at in (await store.newest(name)).values()]
        except StoreError as error:
            remedy = "see that it runs, that store.url is right, and that `screenerd persist` runs"
            return [Check("store", False, str(error), remedy)]
    found = Check("store", True, "the database answers")
    if not newest:
        return [found, Check("data", True, "nothing is stored yet")]
    return [found, _freshness(newest, clock)]


async def _file(config: StoreConfig) -> list[Check]:
    name = "store"
    folder = config.path.resolve().parent
    if not folder.is_dir():
        return [Check(name, False, f"{folder} is not there", "make it, or set store.path")]
    free = shutil.disk_usage(folder).free
    room = f"{free >> 30} GiB are free"
    if free < FREE_BYTES:
        return [Check(name, False, f"{free >> 20} MiB are free in {folder}", "make room for 1 GiB")]
    if not config.path.exists():
        return [Check(name, True, f"{config.path} will be made; {room}")]
    clock = SystemClock()
    try:
        async with SqliteStore(config.path, clock):
            found = Check(name, True, f"{config.path} is sound and not in use; {room}")
        return [found, await _data(config, clock, in_use=False)]
    except StoreInUseError as error:
        found = Check(name, True, f"{error.told}; {room}")
        return [found, await _data(config, clock, in_use=True)]
    except StoreError as error:
        return [Check(name, False, str(error), "see what it says, or restore a backup")]


async def _data(config: StoreConfig, clock: Clock, *, in_use: bool) -> Check:
    """Whether what is stored is as it should be, and kept up to date where a process does so."""
    async with SqliteReader(config.path, clock) as store:
        newest = {name: found for name in EXCHANGES if (found := await store.newest(name))}
    if not newest:
        told = "nothing is stored yet" + (": warming up" if in_use else "")
        return Check("data", True, told)
    parts = [
        await asyncio.to_thread(_last_day, config.path, *each, clock) for each in newest.items()
    ]
    if in_use:
        minutes = [minute for found in newest.values() for minute in found.values()]
        parts.insert(0, _freshness(minutes, clock))
    return Check(
        "data",
        all(part.well for part in parts),
        "; ".join(part.told for part in parts),
        "; ".join(part.remedy for part in parts if not part.well),
    )


def _freshness(newest: list[int], clock: Clock) -> Check:
    """Whether the process that has the store keeps it up to date."""
    late = (clock.now_ms() - max(newest) - MINUTE_MS) / 1000
    behind = sum(minute < max(newest) for minute in newest)
    told = f"the newest minute closed {late:.0f} s ago; {behind} of {len(newest)} symbols lack it"
    remedy = "see the log of the process, and the checks of the exchange above"
    return Check("data", late < FRESH_SECONDS, told, remedy)


def _last_day(path: Path, exchange: str, newest: dict[str, int], clock: Clock) -> Check:
    """Whether the minutes of the last day can be, and are all there."""
    try:
        report = last_day(path, exchange, newest, clock.now_ms())
    except DataError as error:
        return Check("data", False, error.reason, error.remedy or "")
    remedy = (
        f"`screener export --database {path} --to-store` takes the minutes into a store, where "
        "`screener check` says more and `screener repair` mends them; with screenerd stopped "
        f"`screener load {path}` brings them back"
    )
    return Check("data", is_sound(report), tell(report), remedy)
