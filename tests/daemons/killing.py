"""Processes that are killed: the market they share, how they are run, what must be left of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import polars as pl
from scripted import MovedClock
from store_values import journalled

import screener
from screenerd.clock import SystemClock
from screenerd.demo.market import Market, minutes_frame
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch, Source, Stamps
from screenerd.store.port import Span
from screenerd.store.sqlite import SqliteStore
from screenerd.store.sqlite.connect import open_writer

VICTIM = Path(__file__).with_name("victim.py")
SECONDS = 60.0
"""A process that says nothing for so long hangs."""

COUNTING_RULES = """
[[rule]]
name = "every_minute"
title = "Every minute"
timeframe = "5m"
direction = "up"
severity = "low"
cooldown = "1m"
when = "quote_volume_5m > 0"

[[rule]]
name = "every_fifth"
title = "Every fifth minute"
timeframe = "1h"
direction = "up"
severity = "low"
cooldown = "5m"
when = "quote_volume_1h > 0"

[[rule]]
name = "every_seventh_of_a_day"
title = "Every seventh minute, once a day is known"
timeframe = "1d"
direction = "up"
severity = "low"
cooldown = "7m"
when = "quote_volume_1d > 0"
"""
"""Rules that tell on every minute that is not judged, judged twice, judged over less than a day, or
judged without the cooldowns of the processes before."""


@dataclass(slots=True)
class SharedClock:
    """Market time that processes of one machine agree on.

    It was `start_ms` when the machine's monotonic clock stood at `began`; a later `start_ms` makes
    it leap.
    """

    start_ms: int
    began: float
    speed: float

    def now_ms(self) -> int:
        """Market time, ms since the epoch, UTC."""
        return int(self.start_ms + (time.monotonic() - self.began) * 1000 * self.speed)

    def monotonic(self) -> float:
        """Seconds that never go back, at the clock's speed."""
        return (time.monotonic() - self.began) * self.speed

    def real(self, seconds: float) -> float:
        """How long so many seconds of market time last, in seconds of the machine."""
        return seconds / self.speed

    async def sleep(self, seconds: float) -> None:
        """Waits for so many seconds of market time."""
        await asyncio.sleep(self.real(seconds))


@dataclass(frozen=True, slots=True)
class Orders:
    """What a process that runs every role is told when it begins."""

    clock: SharedClock
    path: Path
    rules: Path
    rest_url: str
    stream_url: str

    def text(self) -> str:
        """As one line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def parse(cls, text: str) -> Orders:
        """The same again."""
        told = json.loads(text)
        paths = {name: Path(told[name]) for name in ("path", "rules")}
        return cls(**(told | paths | {"clock": SharedClock(**told["clock"])}))


@dataclass(eq=False)
class Victim:
    """A process that has loaded everything, runs from `go` on and tells where it is."""

    process: asyncio.subprocess.Process
    told: list[str] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, errors: IO[bytes]) -> Victim:
        """Starts to load."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(VICTIM), "up"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        victim = cls(process)
        victim._reading = asyncio.create_task(victim._read())
        victim._reading.add_done_callback(lambda _: victim._woken.set())
        return victim

    async def go(self, orders: Orders) -> None:
        """Runs, once it is loaded."""
        await self.until("loaded")
        assert self.process.stdin is not None
        self.process.stdin.write(orders.text().encode() + b"\n")
        await self.process.stdin.drain()

    async def until(self, word: str, least: int = 0) -> None:
        """Waits until it has told a word, with a number of at least so much."""
        async with asyncio.timeout(SECONDS):
            while not any(number >= least for number in self.numbers(word)):
                assert self._reading is not None
                assert not self._reading.done(), f"ended before it told {word!r}"
                self._woken.clear()
                await self._woken.wait()

    def numbers(self, word: str) -> list[int]:
        """The numbers it has told with a word; 0 where there was none."""
        lines = (line.split() for line in self.told)
        return [int(line[1]) if len(line) > 1 else 0 for line in lines if line[0] == word]

    @property
    def phase(self) -> str:
        """How far it has come."""
        return next((w for w in reversed(PHASES) if self.numbers(w)), "not loaded")

    async def end(self, how: signal.Signals) -> int:
        """Sends a signal; gives the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        async with asyncio.timeout(SECONDS):
            code = await self.process.wait()
            assert self._reading is not None
            await self._reading
        return code

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.told.append(line.decode().strip())
                self._woken.set()


PHASES = ("loaded", "assembled", "rebuilt", "filled", "following")
"""What a process tells: imported, store open, engine rebuilt, day filled, a minute later."""


@dataclass
class Nursery:
    """Keeps processes loaded, so that a kill is soon followed by the next start."""

    orders: Orders
    log: Path
    _loading: list[Victim] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Starts to keep."""
        self._errors = self.log.open("wb")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends what is still loading."""
        for victim in self._loading:
            await victim.end(signal.SIGKILL)
        self._errors.close()

    async def next(self) -> Victim:
        """One that runs; others load meanwhile."""
        while len(self._loading) < 3:
            self._loading.append(await Victim.start(self._errors))
        victim = self._loading.pop(0)
        await victim.go(self.orders)
        return victim


@dataclass(frozen=True, slots=True)
class Left:
    """What a store holds."""

    candles: list[Candle]
    journal: list[Candle]
    alerts: list[Alert]

    @classmethod
    async def read(cls, path: Path) -> Left:
        """Opens the store as the next process would, and reads all of it."""
        forever = 1 << 52
        async with SqliteStore(path, SystemClock()) as store:
            candles = await store.candles("binance", None, 0, forever)
            journal = await journalled(store, "binance", 0, forever)
            return cls(candles, journal, await store.alerts(0))


def first_minutes(path: Path) -> dict[str, int]:
    """The first minute of every symbol in a store that nobody has open."""
    with contextlib.suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as store:
        found = store.execute(
            "SELECT symbol, min(time) FROM candles_1m WHERE exchange = 'binance' GROUP BY symbol"
        )
        return dict(found.fetchall())
    return {}


def integrity(path: Path) -> list[Any]:
    """What SQLite finds wrong in a file: `["ok"]` if nothing."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for (line,) in connection.execute("PRAGMA integrity_check")]


@dataclass(frozen=True, slots=True)
class Findings:
    """Where a store differs from what an uninterrupted process would have left.

    Attributes:
        minutes: missing, never been, or of other values, told in words.
        doubled: (symbol, minute) of which the journal has the same version more than once.
        unjournalled: (symbol, minute) that are stored and not in the journal, or the other way.
        late: (symbol, minute) that were journalled after a newer minute of their symbol. SPEC 5.3
            has them judged only if they are the newest, so they excuse lost alerts.
        lost: ids of alerts of the uninterrupted process that are not stored.
        extra: ids that are stored and that it would not have raised.
    """

    minutes: list[str]
    doubled: list[tuple[str, int]]
    unjournalled: set[tuple[str, int]]
    late: list[tuple[str, int]]
    lost: set[str]
    extra: set[str]

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {name: len(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Promise:
    """What a store has to hold; times in ms, at the start of a minute.

    Attributes:
        tracked: the first minute that was asked for, of every symbol.
        judged_from: minutes that open before it were nobody's to judge.
        until: what opens later may be there or not.
    """

    tracked: dict[str, int]
    judged_from: int
    until: int


def compare(left: Left, market: Market, rules: str, promise: Promise) -> Findings:
    """Holds a store against the market, and its alerts against a replay of the market."""
    candles, journal = (
        [one for one in held if one.open_time < promise.until]
        for held in (left.candles, left.journal)
    )
    truth = minutes_of(market, promise)
    expected = screener.replay(
        truth, screener.RuleSet.parse(rules), exchange="binance", start=promise.judged_from
    ).alerts
    raised = {alert.id for alert in left.alerts if alert.triggered_at <= promise.until}
    wanted = set(expected["id"].to_list())
    return Findings(
        minutes=_differences(candles, truth),
        doubled=[key for key, count in _versions(journal).items() if count > 1],
        unjournalled=_keys(journal).keys() ^ _keys(candles).keys(),
        late=list(_late(journal)),
        lost=wanted - raised,
        extra=raised - wanted,
    )


def minutes_of(market: Market, promise: Promise) -> pl.DataFrame:
    """The market's minutes that have to be there, in the library's columns."""
    first = min(promise.tracked.values()) // MINUTE_MS
    frame = minutes_frame(market, first, promise.until // MINUTE_MS - first)
    since = pl.col("symbol").replace_strict(promise.tracked, return_dtype=pl.Int64)
    return frame.filter(pl.col("open_time") >= since)


NUMBERS = [
    "open", "high", "low", "close", "volume", "quote_volume",
    "trades", "taker_buy_volume", "taker_buy_quote_volume",
]  # fmt: skip


def _differences(candles: list[Candle], truth: pl.DataFrame) -> list[str]:
    wanted = {
        (row["symbol"], row["open_time"]): tuple(row[name] for name in NUMBERS)
        for row in truth.iter_rows(named=True)
    }
    found = {(candle.symbol, candle.open_time): candle.values for candle in candles}
    told = [f"{key}: stored twice" for key, count in _keys(candles).items() if count > 1]
    told += [f"{key}: missing" for key in wanted.keys() - found.keys()]
    told += [f"{key}: never was" for key in found.keys() - wanted.keys()]
    same = wanted.keys() & found.keys()
    told += [f"{key}: of other values" for key in same if wanted[key] != found[key]]
    return sorted(told)


def _keys(candles: Iterable[Candle]) -> Counter[tuple[str, int]]:
    return Counter((candle.symbol, candle.open_time) for candle in candles)


def _versions(candles: Iterable[Candle]) -> Counter[tuple[str, int]]:
    """How often each minute is there, the versions that differ apart."""
    versions = Counter((one.symbol, one.open_time, one.values) for one in candles)
    found: Counter[tuple[str, int]] = Counter()
    for (symbol, minute, _), count in versions.items():
        found[symbol, minute] = max(found[symbol, minute], count)
    return found


def _late(journal: Iterable[Candle]) -> Iterable[tuple[str, int]]:
    newest: dict[str, int] = {}
    for candle in journal:
        before = newest.get(candle.symbol, 0)
        if candle.open_time < before:
            yield candle.symbol, candle.open_time
        newest[candle.symbol] = max(before, candle.open_time)


# One minute's work on a store, killed at each of its system calls.

NOW = 1_732_190_400_000  # 2024-11-21T12:00:00Z
KEPT_HOURS = 48
_SYMBOLS = [f"S{number}USDT" for number in range(4)]


def batch_of(minute: int, *, price: float = 100.0, source: Source = "stream") -> CandleBatch:
    """A minute of every symbol; minute 0 closes now."""
    at = NOW + (minute - 1) * MINUTE_MS
    return CandleBatch(
        "binance",
        tuple(
            Candle(
                symbol, at, price, price, price, price, volume=3.0, quote_volume=3 * price,
                trades=7, source=source, received_at=at + MINUTE_MS,
            )
            for symbol in _SYMBOLS
        ),
    )  # fmt: skip


def alert_of(symbol: str, minute: int) -> Alert:
    """An alert of the minute that closes then."""
    at = NOW + minute * MINUTE_MS
    return Alert(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{symbol}:{at}")),
        triggered_at=at,
        exchange="binance",
        symbol=symbol,
        rule="every_minute",
        title="Every minute",
        direction="up",
        timeframe="5m",
        price=100.0,
        quote_volume=1.0,
        change=None,
        vcp=None,
        state="confirmed",
        rule_version="0" * 16,
        evidence={},
        stamps=Stamps(exchange_close=at, exchange_event=None, received=at, decided=at),
    )


async def prepare(path: Path) -> None:
    """A store that has been in use: minutes, some of them too old, and alerts in the outbox."""
    old = -KEPT_HOURS * 60 - 90
    async with SqliteStore(path, MovedClock(NOW)) as store:
        for symbol in _SYMBOLS:
            await store.set_tracking("binance", {symbol: Span(NOW + old * MINUTE_MS, None)})
        minutes = [*range(old, old + 20), *range(-20, 0)]
        await store.write(*map(batch_of, minutes), alert_of("S0USDT", old))
        for symbol in _SYMBOLS[:2]:
            await store.enqueue(alert_of(symbol, -1), ["hook", "chat"], NOW - MINUTE_MS)


Step = tuple[str, Callable[[], Coroutine[Any, Any, object]]]


def minutes_work(store: SqliteStore) -> list[Step]:
    """What one minute brings, in steps; all of it may be done again."""

    async def deliver() -> None:
        for delivery, _ in await store.due(NOW):
            if delivery.channel == "hook":
                await store.delivered(delivery, NOW + 1)

    async def enqueue() -> None:
        for symbol in _SYMBOLS[1:3]:
            await store.enqueue(alert_of(symbol, 0), ["hook", "chat"], NOW)

    return [
        ("minute", lambda: store.write(batch_of(0))),
        ("corrected", lambda: store.write(batch_of(-1, price=101.0, source="rest"))),
        ("alerts", lambda: store.write(*(alert_of(symbol, 0) for symbol in _SYMBOLS))),
        ("enqueued", enqueue),
        ("delivered", deliver),
        ("pruned", lambda: store.prune(NOW)),
    ]


State = dict[str, list[tuple[Any, ...]]]


def state_of(path: Path) -> State:
    """Every row of every table."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)  # noqa: S608
            for (name,) in tables
        }


@dataclass
class Course:
    """The states a store goes through while the work is done, transaction by transaction.

    Attributes:
        states: from the first to the last, each once.
        told: for each word the number of the state it is told in.
    """

    states: list[State] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)

    def see(self, state: State) -> None:
        """Remembers a state, if it is another."""
        if not self.states or self.states[-1] != state:
            self.states.append(state)

    def fault(self, words: Sequence[str], state: State) -> str | None:
        """What is wrong with a state that was left by a process that told these words."""
        if state not in self.states:
            return f"after {words} half of a transaction is stored"
        order = list(self.told)
        place = self.states.index(state)
        if words and place < self.told[words[-1]]:
            return f"{words[-1]!r} was told and is not stored"
        following = order[len(words)] if len(words) < len(order) else order[-1]
        if place > self.told[following]:
            return f"stored beyond {following!r}, which was not told"
        return None

    @classmethod
    async def run(cls, path: Path) -> Course:
        """Does the work and looks at each step."""
        course = cls()

        def look(statement: str) -> None:
            if statement.startswith("BEGIN"):
                course.see(state_of(path))

        def connect(path: Path) -> sqlite3.Connection:
            connection = open_writer(path)
            connection.set_trace_callback(look)
            return connection

        async with SqliteStore(path, MovedClock(NOW), connect=connect) as store:
            for word, step in minutes_work(store):
                await step()
                course.see(state_of(path))
                course.told[word] = len(course.states) - 1
        return course


CALLS = ("pwrite64", "write", "fdatasync", "ftruncate", "unlink")
"""The system calls that change a file or a pipe, or make a change last."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended that was to be killed at a system call.

    Attributes:
        words: what it had told.
        killed: whether the call came.
        calls: how often each came, by (thread, name).
    """

    words: list[str]
    killed: bool
    calls: Counter[tuple[str, str]]


def kill_at(call: str, number: int, role: str, path: Path) -> Death:
    """Runs the work and kills it as one of its threads enters a system call for the n-th time.

    The call is not made then. It may be several, with commas; each is counted by itself.
    """
    log = path.with_suffix(".strace")
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", str(log)),
            *("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"),
            *(sys.executable, str(VICTIM), role, str(path)),
        ],
        stdout=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
        text=True,
    )
    words = [line.strip() for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    calls = re.findall(r"^(\d+) +(\w+)\(", log.read_text(encoding="utf-8"), re.MULTILINE)
    killed = done.returncode in {-signal.SIGKILL, 128 + signal.SIGKILL}
    assert killed or done.returncode == 0, f"{call} {number}: exit code {done.returncode}"
    return Death(words, killed, Counter(calls))
