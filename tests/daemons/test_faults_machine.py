"""Processes stopped, tasks that fail, disks that fail: nothing is lost, and health tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import machine_faults
import pytest
import rig as rigging
from killing import NOW, Orders, SharedClock, integrity
from machine_faults import (
    RULES,
    SCREENERD,
    SECONDS,
    Child,
    Disk,
    broken,
    full,
    unsynced,
    until,
    verdict,
)
from rig import Rig
from typer.testing import CliRunner

from screenerd import cli, config, run
from screenerd.clock import SystemClock
from screenerd.config import Config, ExchangeConfig, RulesConfig, StoreConfig
from screenerd.demo import DemoExchange, Limits, Market
from screenerd.exchange.binance.stream import BinanceStream
from screenerd.ingest.bursts import Bursts
from screenerd.ingest.service import Ingest
from screenerd.lag import LoopLag
from screenerd.model import MINUTE_MS, Alert, CandleBatch
from screenerd.notify.outbox import Notifier
from screenerd.persist.service import Persist
from screenerd.run import Roles, up
from screenerd.screen.service import Screen
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore

SYMBOLS = 6
SPEED = 120.0
STOP_SECONDS = 5.0
"""A daemon that begins to stop has stopped after so long: its own stages take 4 at most."""

END_SECONDS = 15.0
"""After so long its process is gone: files were synced and closed, and the interpreter ended."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.toml"
    file.write_text(RULES, encoding="utf-8")
    return file


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@contextlib.asynccontextmanager
async def child_of(starting: Any) -> AsyncIterator[Child]:
    """Leaves no process behind."""
    child: Child = await starting
    try:
        yield child
    finally:
        await child.kill()


# Signals.


async def stopped(child: Child, *signals: signal.Signals) -> None:
    """Asks a process to stop, and looks how long that takes."""
    began = time.monotonic()
    child.signal(*signals)
    code = await child.ended()
    took = time.monotonic() - began
    assert code == 0, (code, child.other)
    assert child.other == []
    assert took < END_SECONDS, f"ended after {took:.1f} s"
    began_at, stopped_at = (told_at(child, name) for name in ("stopping", "stopped"))
    assert (stopped_at - began_at).total_seconds() < STOP_SECONDS, (began_at, stopped_at)


def told_at(child: Child, name: str) -> datetime:
    """When it told the only event of a name."""
    [event] = child.named(name)
    return datetime.fromisoformat(event["timestamp"])


@pytest.mark.asyncio
async def test_asked_to_stop_under_load_it_stops_soon_and_keeps_everything(
    db: Path, rules: Path
) -> None:
    options = ("--rules", rules, "--symbols", 20)
    state, market = db.with_name("a.db.engine"), Market(symbols=20)
    async with child_of(Child.up(db, "--speed", SPEED, *options)) as first:
        await first.tells("status")  # every symbol has its day by then
        await first.tells("alert", 100)
        await stopped(first, signal.SIGTERM)
    told = first.named("stopped")[0]
    found = await verdict(db, market)
    assert found.wrong == []
    assert found.candles == told["candles"]
    assert len(found.alerts) == told["alerts"] >= 100
    assert set(first.alerts) == found.alerts
    assert state.exists()
    async with child_of(Child.up(db, "--speed", 4 * SPEED, *options)) as second:
        await second.until(lambda: set(second.alerts) - found.alerts, "a new alert")
        assert not state.exists()
        await stopped(second, signal.SIGTERM)
    assert not any("rebuilding" in event["event"] for event in second.events)
    assert not found.alerts & set(second.alerts)
    again = await verdict(db, market)
    assert again.wrong == []
    assert again.alerts == found.alerts | set(second.alerts)
    for loss, word in LOSSES:
        with closing(sqlite3.connect(db)) as connection, connection:
            assert connection.execute(loss).rowcount > 0
        wrong = (await verdict(db, market)).wrong
        assert any(line.endswith(word) for line in wrong), f"unnoticed: {loss}"


LOSSES = (
    (
        "DELETE FROM candles_1m WHERE time = (SELECT min(newest) - 600000 FROM"
        " (SELECT max(time) AS newest FROM candles_1m GROUP BY symbol))",
        ": missing",
    ),
    ("DELETE FROM alert_history WHERE id = (SELECT min(id) FROM alert_history)", ": lost"),
)
"""The control: what the check has to see, a minute that every symbol is past among it."""


Told = Callable[[Child], object]
WHEN: dict[str, tuple[Told, str, tuple[signal.Signals, ...]]] = {
    "SIGTERM twice": (lambda c: c.named("status"), "status", (signal.SIGTERM,) * 2),
    "SIGTERM three times in warm-up": (
        lambda c: c.named("warming up"), "warming up", (signal.SIGTERM,) * 3,
    ),
    "SIGINT in warm-up": (
        lambda c: len(c.named("warming up")) > 1, "warming up", (signal.SIGINT,),
    ),
    "SIGINT twice in warm-up": (
        lambda c: c.named("warming up"), "warming up", (signal.SIGINT,) * 2,
    ),
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("name", WHEN)
async def test_signals_at_any_time_end_it_cleanly(name: str, db: Path, rules: Path) -> None:
    condition, told, signals = WHEN[name]
    symbols = 60 if "warm-up" in name else 6
    async with child_of(
        Child.up(db, "--speed", SPEED, "--symbols", symbols, "--rules", rules)
    ) as child:
        await child.until(lambda: condition(child), told)
        await stopped(child, *signals)
    assert bool(child.named("status")) != ("warm-up" in name)
    assert integrity(db) == ["ok"]
    async with SqliteStore(db, SystemClock()) as store:
        alerts = await store.alerts(0)
    assert {alert.id for alert in alerts} == set(child.alerts)


@dataclass
class Elsewhere:
    """An exchange here, for a process that follows it."""

    exchange: DemoExchange
    market: Market
    clock: SharedClock
    orders: Orders

    def child(self) -> Any:
        """Starts the process."""
        return Child.start(sys.executable, machine_faults.__file__, "follow", self.orders.text())


@contextlib.asynccontextmanager
async def elsewhere(
    db: Path, rules: Path, speed: float, limits: Limits
) -> AsyncIterator[Elsewhere]:
    clock = SharedClock(NOW, time.monotonic(), speed)
    market = Market(symbols=SYMBOLS)
    async with DemoExchange(market, clock, limits=limits) as exchange:
        orders = Orders(clock, db, rules, exchange.rest_url, exchange.stream_url)
        yield Elsewhere(exchange, market, clock, orders)


def complete(db: Path, until_ms: int) -> bool:
    """Whether every symbol has all minutes of the last hours before a time."""
    with closing(sqlite3.connect(db)) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM candles_1m WHERE time >= ? AND time < ?",
            (until_ms - 120 * MINUTE_MS, until_ms),
        ).fetchone()
    return bool(count == 120 * SYMBOLS)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("speed", "limits", "cut"),
    [(120.0, Limits(), False), (600.0, Limits(pong_within=300.0, ping_every=60.0), True)],
    ids=["frames wait", "connection cut"],
)
async def test_a_process_that_was_frozen_catches_up(
    db: Path, rules: Path, speed: float, limits: Limits, *, cut: bool
) -> None:
    async with elsewhere(db, rules, speed, limits) as there, child_of(there.child()) as child:
        await child.tells("alert", 20)
        await child.until(lambda: "ok" in child.states, "health is ok")
        child.signal(signal.SIGSTOP)
        opened = there.exchange.counters.connections
        frozen_at = there.clock.now_ms()
        await asyncio.sleep(0.5)  # what it has said before is read
        before = len(child.events)
        await asyncio.sleep(2)  # how long it is frozen
        assert len(child.events) == before
        assert (there.exchange.open_connections == 0) == cut
        thawed_at = there.clock.now_ms()
        seen = len(child.states)
        child.signal(signal.SIGCONT)
        target = thawed_at // MINUTE_MS * MINUTE_MS
        began = time.monotonic()
        await child.until(lambda: complete(db, target), "the gap is filled")
        took = time.monotonic() - began
        assert took < 60.0, f"filled after {took:.1f} s"
        await child.until(lambda: child.troubles("process"), "held up is told")
        await child.until(
            lambda: (there.exchange.counters.connections > opened) == cut, "connected again"
        )
        await stopped(child, signal.SIGTERM)
    assert thawed_at - frozen_at >= 2 * speed * 1000
    assert {"down", "degraded"} & set(child.states[seen:])
    assert len(child.alerts) == len(set(child.alerts))
    found = await verdict(db, there.market)
    assert found.wrong == []
    assert found.alerts == set(child.alerts)


# Tasks that fail, are cancelled, or keep the loop.


class BrokenError(Exception):
    """What a task fails with."""


async def fail(*_: object) -> None:
    raise BrokenError("broken")


BACKGROUND = {
    "prunes": (Persist, "_prune"),
    "writes": (Persist, "_write"),
    "publishes": (Bursts, "_send"),
    "watches closes": (Ingest, "_watch_closes"),
    "reads again": (Ingest, "_reread"),
    "follows listings": (Ingest, "_follow_listings"),
    "asks for bars": (Ingest, "_warm_bars"),
    "follows the stream": (BinanceStream, "run"),
    "screens": (Screen, "_take"),
    "delivers": (Notifier, "run"),
    "measures": (LoopLag, "run"),
    "tells alerts": (run, "_tell_alerts"),
    "tells health": (run, "_tell_health"),
}


@dataclass
class Here:
    """An exchange, and what it takes to follow it in this process."""

    clock: SystemClock
    exchange: DemoExchange

    def config(self, db: Path) -> Config:
        """Of a daemon with its store there."""
        there = self.exchange
        return Config(
            exchange=ExchangeConfig(rest_url=there.rest_url, stream_url=there.stream_url),
            store=StoreConfig(path=db),
            serve=ServeConfig(port=0),
            rules=RulesConfig(floors=False),
        )


@contextlib.asynccontextmanager
async def here(symbols: int, speed: float) -> AsyncIterator[Here]:
    clock = SystemClock(speed)
    async with DemoExchange(Market(symbols=symbols), clock) as exchange:
        yield Here(clock, exchange)


def ours() -> list[asyncio.Task[Any]]:
    """Tasks of the daemon that are not done: those whose coroutine is its code."""
    package = Path(run.__file__).parent

    def is_ours(task: asyncio.Task[Any]) -> bool:
        code = getattr(task.get_coro(), "cr_code", None)
        path = Path(code.co_filename) if code else Path()
        return path.is_relative_to(package) and not path.is_relative_to(package / "demo")

    return [task for task in asyncio.all_tasks() if is_ours(task)]


async def gave_back(db: Path) -> None:
    """Waits for the thread that writes to end, then opens the store as the next process does."""
    await until(
        lambda: not any(one.name.startswith("store-writer") for one in threading.enumerate()),
        "the writer's end",
    )
    async with SqliteStore(db, SystemClock()) as store:
        await store.newest("binance")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", BACKGROUND)
async def test_a_task_that_fails_ends_everything_and_is_told(
    name: str, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, what = BACKGROUND[name]
    monkeypatch.setattr(where, what, fail)
    async with here(1, 600.0) as there, asyncio.timeout(SECONDS):
        with pytest.raises(ExceptionGroup) as raised:
            await up(there.config(db), clock=there.clock)
    _, others = raised.value.split(BrokenError)
    assert others is None
    assert ours() == []
    await gave_back(db)


@pytest.mark.asyncio
@pytest.mark.parametrize("error", ["StoreError", "RuntimeError"])
async def test_a_process_whose_task_fails_says_why(error: str, db: Path) -> None:
    command = (sys.executable, machine_faults.__file__, "broken", error, "up", "--demo")
    options = ("--db", db, "--port", "0", "--log", "json")
    async with child_of(Child.start(*command, *options)) as child:
        code = await child.ended()
    assert code == 1
    if error == "StoreError":
        assert child.other == ["screenerd: the broom is broken"]
    else:
        assert sum("RuntimeError: the broom is broken" in line for line in child.other) == 1


@pytest.mark.asyncio
async def test_cancelled_at_any_moment_it_ends_and_leaves_nothing(tmp_path: Path) -> None:
    chance = random.Random(30)
    phases: list[str] = []
    async with here(2, 240.0) as there:
        for number in range(30 + MORE_TRIES):
            if number >= 30 and {*phases} == CANCELLED_WHEN:
                break
            # Every other one finds what those before have left.
            db = tmp_path / (f"{number}.db" if number % 2 else "a.db")
            ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(up(there.config(db), clock=there.clock, ready=ready))
            if number < 12:
                for _ in range(round(2 ** chance.uniform(0, 8))):
                    await asyncio.sleep(0)
            else:
                # On a slow machine it takes longer until anything is followed.
                await asyncio.sleep(chance.uniform(0.0, 0.5 if number < 30 else 5.0))
            phases.append(phase_of(ready))
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=END_SECONDS)
            assert done, f"{number}: still runs, cancelled when {phases[-1]}"
            assert task.cancelled(), f"{number}: {task}"
            assert ours() == []
            await gave_back(db)
    assert {*phases} == CANCELLED_WHEN, phases


CANCELLED_WHEN = {"assembling", "warming up", "following"}
MORE_TRIES = 30
"""As long as one of the phases was not hit by chance."""


def phase_of(ready: asyncio.Future[Roles]) -> str:
    assert ours() != []
    if not ready.done():
        return "assembling"
    return "following" if ready.result().ingest.status.started else "warming up"


@contextlib.asynccontextmanager
async def judging(
    db: Path, rules: Path, monkeypatch: pytest.MonkeyPatch, *, speed: float = SPEED
) -> AsyncIterator[Rig]:
    """All roles in this process, by rules that tell every minute; held against the market."""
    monkeypatch.setattr(rigging, "RulesConfig", partial(RulesConfig, name=str(rules)))
    async with rigging.running(db, symbols=SYMBOLS, speed=speed) as rig:
        yield rig
        await rig.minutes(2)
    found = await verdict(db, rig.market)
    assert found.wrong == []
    assert len(found.alerts) == rig.roles.persist.status.alerts > 2 * SYMBOLS


def troubles(rig: Rig, where: str) -> list[str]:
    """What health tells of something."""
    return [one.told for one in rig.roles.health.troubles if one.where == where]


@pytest.mark.asyncio
async def test_a_call_that_blocks_the_loop_is_told_and_costs_nothing(
    db: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judging(db, rules, monkeypatch) as rig:
        before = rig.roles.lag.recent
        heard = rig.roles.bus.subscribe("test", CandleBatch, limit=10_000)
        async for _ in heard:
            time.sleep(2.0)
            break
        await rig.until(lambda: rig.roles.lag.recent > max(before, 1.5))
        [told] = troubles(rig, "process")
        assert f"held up for {rig.roles.lag.recent:.1f} s" in told
        assert rig.roles.health.state in {"degraded", "down"}


# Disks.


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(run, "SqliteStore", partial(SqliteStore, connect=disk.connect))
    return disk


def stored_alerts(db: Path) -> int:
    """How many alerts are committed."""
    with closing(sqlite3.connect(db)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM alert_history").fetchone()
    return int(count)


def begin(disk: Disk, name: str) -> None:
    match name:
        case "full":
            disk.before = full
        case "write fails":
            disk.before = broken
        case "sync fails":
            disk.after = unsynced
        case "all I/O fails":
            disk.dead = broken


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("full", "database or disk is full"),
        ("write fails", "disk I/O error"),
        ("sync fails", "disk I/O error"),
        ("all I/O fails", "disk I/O error"),
    ],
)
async def test_a_disk_that_fails_stops_no_alert_and_loses_nothing(
    name: str, reason: str, db: Path, rules: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judging(db, rules, monkeypatch) as rig:
        await rig.until(lambda: stored_alerts(db) > 0)
        begin(disk, name)
        await rig.until(lambda: disk.failed)
        before = stored_alerts(db)
        heard = rig.roles.bus.subscribe("test", Alert, limit=10_000)
        await rig.minutes(3)
        await rig.until(lambda: heard.status.waiting >= 3 * SYMBOLS)
        health = rig.roles.health
        assert health.state == "down"
        [told] = troubles(rig, "store")
        assert reason in told
        if name != "sync fails":
            assert stored_alerts(db) == before
        disk.works()
        await rig.until(lambda: not troubles(rig, "store"))
        await rig.until(lambda: rig.roles.health.state != "down")
        await rig.until(lambda: stored_alerts(db) >= before + 3 * SYMBOLS)
    assert disk.failed > 1


@pytest.mark.asyncio
async def test_a_slow_disk_holds_no_alert_up(
    db: Path, rules: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(41)
    async with judging(db, rules, monkeypatch) as rig:
        disk.delay = lambda: chance.uniform(0.05, 0.5)
        heard = rig.roles.bus.subscribe("test", Alert, limit=10_000)
        waiting = 0
        while len(disk.slow) < 6:
            done = rig.roles.persist.status.alerts
            waiting = max(waiting, rig.roles.screen.status.alerts - done)
            await asyncio.sleep(0.01)
        assert waiting >= SYMBOLS  # on the bus, and not yet stored
        assert heard.status.waiting >= SYMBOLS
        assert troubles(rig, "store") == []


@pytest.mark.asyncio
async def test_a_disk_that_hangs_is_told_and_holds_no_alert_up(
    db: Path, rules: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with judging(db, rules, monkeypatch) as rig:
        disk.hung.clear()
        try:
            await rig.until(lambda: disk.hanging)
            heard = rig.roles.bus.subscribe("test", Alert, limit=10_000)
            done = rig.roles.persist.status.alerts
            await rig.until(lambda: troubles(rig, "store"))
            [told] = troubles(rig, "store")
            assert "no commit for" in told
            assert rig.roles.health.state == "down"
            assert disk.hanging
            assert heard.status.waiting >= 3 * SYMBOLS
            assert rig.roles.persist.status.alerts == done
            assert rig.roles.lag.recent < 2.5  # half of how long the commit has hung
        finally:
            disk.hung.set()
        await rig.until(lambda: not troubles(rig, "store"))
        await rig.until(lambda: rig.roles.persist.status.alerts >= done + 3 * SYMBOLS)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own of 24 MiB."""
    image, folder = tmp_path / "disk", tmp_path / "small"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(24 << 20)
    made = shutil.which("mkfs.ext4") and all(
        subprocess.run(command, capture_output=True, check=False).returncode == 0
        for command in (
            ("mkfs.ext4", "-q", "-m", "0", image),
            ("mount", "-o", "loop", image, folder),
        )
    )
    if not made:
        pytest.skip("a disk image cannot be mounted here: run as root, with loop devices")
    try:
        yield folder
    finally:
        subprocess.run(("umount", folder), check=True)


def fill(ballast: Path) -> int:
    """Takes all the room there is; gives how many bytes that was."""
    taken = 0
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while written := file.write(bytes(4096)):
            taken += written
    return taken


@pytest.mark.asyncio
async def test_a_disk_that_is_really_full_loses_nothing(
    small: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, ballast = small / "a.db", small / "ballast"
    async with judging(db, rules, monkeypatch, speed=2 * SPEED) as rig:
        await rig.until(lambda: stored_alerts(db) > 0)
        assert fill(ballast) > 0
        heard = rig.roles.bus.subscribe("test", Alert, limit=10_000)
        await rig.until(lambda: troubles(rig, "store"))
        before = heard.status.waiting
        await rig.until(lambda: heard.status.waiting >= before + 3 * SYMBOLS)
        [told] = troubles(rig, "store")
        assert "full" in told
        assert rig.roles.health.state == "down"
        assert os.statvfs(small).f_bavail < 16  # blocks of 1 KiB
        ballast.unlink()
        await rig.until(lambda: not troubles(rig, "store"))


# Configurations that cannot be.


def mentioned(lines: list[str], name: str) -> bool:
    """Whether there is one line only, and it names something."""
    return len(lines) == 1 and lines[0].startswith("screenerd: ") and name in lines[0]


@pytest.mark.parametrize(
    ("named", "toml", "environment", "flags"),
    [
        ("store.colour", '[store]\ncolour = "red"', {}, ()),
        ("demo.symbols", '[demo]\nsymbols = "many"', {}, ()),
        ("a.toml is not TOML", "[store", {}, ()),
        ("none.toml cannot be read", "", {}, ("--config", "none.toml")),
        ("colour", "", {"SCREENER_COLOUR": "red"}, ()),
        ("store.retention_hours", "", {"SCREENER_STORE__RETENTION_HOURS": "1"}, ()),
        ("demo.speed", "", {}, ("--speed", "0")),
        ("log.format", "", {}, ("--log", "xml")),
    ],
)
def test_a_setting_that_cannot_be_is_named_in_a_line(
    named: str, toml: str, environment: dict[str, str], flags: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "a.toml"
    file.write_text(toml, encoding="utf-8")
    command = ["up", "--demo", "--config", str(file), *flags]
    result = CliRunner().invoke(cli.app, command, env=environment)
    assert result.exit_code == 2
    assert mentioned(result.stderr.splitlines(), named), result.stderr


async def told_at_the_start(folder: Path, *flags: str) -> list[str]:
    """What `screenerd up` says as it ends at once, event lines left out."""
    (folder / "wrong.toml").write_text("[[rule]]\nname = 7\n", encoding="utf-8")
    command = (SCREENERD, "up", "--demo", "--port", "0", "--log", "json", *flags)
    async with (
        SqliteStore(folder / "taken.db", SystemClock()),
        child_of(Child.start(*command)) as child,
    ):
        await child.end_or(lambda: child.named("warming up"))
        assert not child.named("warming up"), "it runs"
        assert await child.ended() > 0
        return child.other


STARTS = {
    "none_such.toml": ("--rules", "none_such.toml"),
    "/proc/none/a.db cannot be opened": ("--db", "/proc/none/a.db"),
    "wrong.toml/a.db cannot be opened": ("--db", "wrong.toml/a.db"),
    "taken.db is in use by process": ("--db", "taken.db"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("named", STARTS)
async def test_what_cannot_be_used_is_named_in_a_line(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = await told_at_the_start(tmp_path, *STARTS[named])
    assert mentioned(told, named), told


@pytest.mark.asyncio
async def test_rules_that_cannot_be_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = await told_at_the_start(tmp_path, "--rules", "wrong.toml")
    assert mentioned(told, "wrong.toml"), told


def test_a_word_for_a_section_is_named() -> None:
    with pytest.raises(config.ConfigError, match="store"):
        config.load(None, {"SCREENER_STORE": "red"}, {"store": {"path": None}})
