"""What an operator asks and mends, on a file and on a database."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from databases import empty
from nats_server import NatsServer
from pydantic import SecretStr
from store_places import Place, PostgresPlace, SqlitePlace
from store_values import NOW, alert, batch, candle
from test_doctor import NOWHERE, minutes
from typer.testing import CliRunner

from screenerd import __version__, doctor
from screenerd.bus.jetstream.settings import BusSettings
from screenerd.cli import app
from screenerd.clock import SystemClock
from screenerd.cluster import scale
from screenerd.config import Config, ExchangeConfig, StoreConfig
from screenerd.doctor import Check, examine
from screenerd.model import MINUTE_MS
from screenerd.store.port import Span

pytestmark = pytest.mark.asyncio

HOOK = """
[[notify.channels]]
kind = "webhook"
name = "hook"
url = "https://example.org/hook"
secret = "nothing but a test"
"""


@pytest.fixture
def configured(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that names the store."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "screenerd.toml"
    if isinstance(place, PostgresPlace):
        file.write_text(f'[store]\nurl = "{place.url}"\n{HOOK}')
    else:
        assert isinstance(place, SqlitePlace)
        file.write_text(f'[store]\npath = "{place.path}"\n{HOOK}')
    return file


def run(*words: str, file: Path) -> tuple[int, str]:
    """Runs the command; its code and what it says."""
    told = CliRunner().invoke(app, [*words, "--config", str(file)])
    return told.exit_code, told.output


async def test_it_says_which_it_is() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output) == (0, f"screenerd {__version__}\n")


async def test_what_was_given_up_is_listed_and_sent_again(place: Place, configured: Path) -> None:
    async with place.opened() as store:
        await store.enqueue(alert(1), ["hook", "another"], NOW)
        for delivery, _ in await store.due(NOW):
            await store.postponed(replace(delivery, state="dead", attempts=9, last_error="410"))
    code, told = await in_thread("dead", file=configured)
    assert (code, told.splitlines()) == (
        0,
        [
            f"hook: alert {alert(1).id}: 410",
            "1 deliveries given up; `screenerd resend CHANNEL` sends them again",
        ],
    )
    code, told = await in_thread("resend", "hook", file=configured)
    assert (code, told.startswith("1 deliveries of hook are tried again ")) == (0, True)
    states = "SELECT channel, state, attempts FROM outbox ORDER BY channel"
    assert await place.rows(states) == [("another", "dead", 9), ("hook", "pending", 0)]
    assert (await in_thread("dead", file=configured))[1].startswith("0 deliveries")
    code, told = await in_thread("resend", "nobody", file=configured)
    assert (code, "no channel is called 'nobody'; configured: hook" in told) == (1, True)


async def test_the_audit_names_holes(place: Place, configured: Path) -> None:
    clock = SystemClock()
    begin = clock.now_ms() // MINUTE_MS * MINUTE_MS - 30 * MINUTE_MS
    kept = [n for n in range(20) if n not in (7, 8)]
    minutes = [replace(candle(), open_time=begin + n * MINUTE_MS) for n in kept]
    async with place.opened(clock) as store:
        await store.set_tracking("binance", {"BTCUSDT": Span(begin, begin + 20 * MINUTE_MS)})
        await store.write(batch(*minutes, exchange="binance"))
    code, told = await in_thread("audit", file=configured)
    assert code == 1
    assert "BTCUSDT: 2 min missing from " in told
    assert "1 symbols: 20 minutes expected, 18 held, 0 absent at the source, 2 missing" in told


async def test_a_file_that_is_named_goes_before_the_database(
    place: Place, configured: Path, tmp_path: Path
) -> None:
    other = SqlitePlace(tmp_path / "other.db")
    async with place.opened() as store, other.opened() as there:
        await store.enqueue(alert(1), ["hook"], NOW)
        await there.enqueue(alert(2), ["hook"], NOW)
        for one in (store, there):
            [(delivery, _)] = await one.due(NOW)
            await one.postponed(replace(delivery, state="dead", last_error="410"))
    _, told = await in_thread("dead", "--db", str(other.path), file=configured)
    assert alert(2).id in told
    assert alert(1).id not in told


async def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = tmp_path / "screenerd.toml"
    file.write_text(f'[store]\nurl = "postgresql://nobody@127.0.0.1:1/none"\n{HOOK}')
    for words in (["dead"], ["audit"], ["resend", "hook"]):
        code, told = await in_thread(*words, file=file)
        assert code == 1
        assert "127.0.0.1:1" in told
        assert "Traceback" not in told


async def test_a_broker_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "ANSWER_SECONDS", 0.5)
    file = tmp_path / "screenerd.toml"
    file.write_text('[bus]\nservers = ["nats://127.0.0.1:1"]\n')
    code, told = await in_thread("scale", "2", file=file)
    assert code == 1
    assert "no broker at nats://127.0.0.1:1 answers" in told
    assert "Traceback" not in told


async def test_the_doctor_looks_at_the_database(database: str) -> None:
    exchange = ExchangeConfig(rest_url=NOWHERE, stream_url=NOWHERE.replace("http", "ws"))

    async def found(url: str) -> list[Check]:
        config = Config(exchange=exchange, store=StoreConfig(url=SecretStr(url)))
        return [one for one in await examine(config) if one.name in {"store", "data"}]

    [there] = await found("postgresql://me:secret@127.0.0.1:1/none")
    assert not there.well
    assert "127.0.0.1:1" in there.told
    assert "secret" not in there.told
    newest = minutes()
    for late in (0, 10):
        empty(database)
        async with PostgresPlace(database).opened(SystemClock()) as store:
            assert (await found(database))[1] == Check("data", True, "nothing is stored yet")
            moved = [
                replace(one, open_time=one.open_time - late * MINUTE_MS) for one in newest[-2:]
            ]
            await store.write(batch(*moved, exchange="binance"))
            there, data = await found(database)
        assert there.well
        assert data.well is (late == 0)
        assert data.told.endswith("lack it")


@pytest.mark.parametrize(
    ("sync", "runs", "well", "words"),
    [
        ('"always"', True, True, "nats-server 2."),
        ("", True, False, "its sync_interval is not `always`"),
        ('"always"', False, False, "nats://127.0.0.1:"),
    ],
)
async def test_the_doctor_looks_at_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, runs: bool, well: bool, words: str
) -> None:
    monkeypatch.setattr(doctor, "BROKER_SECONDS", 5.0 if runs else 0.5)
    server = NatsServer(tmp_path / "nats", sync=sync).start()
    try:
        if not runs:
            server.kill()
        config = Config(
            exchange=ExchangeConfig(rest_url=NOWHERE, stream_url=NOWHERE.replace("http", "ws")),
            store=StoreConfig(url=SecretStr("postgresql://127.0.0.1:1/none")),
            bus=BusSettings(servers=(server.url,), monitor=server.monitor),
        )
        [found] = [one for one in await examine(config) if one.name == "broker"]
    finally:
        if runs:
            server.stop()
    assert found.well is well
    assert words in found.told
    assert bool(found.remedy) is not well


async def test_one_process_asks_for_no_broker(tmp_path: Path) -> None:
    exchange = ExchangeConfig(rest_url=NOWHERE, stream_url=NOWHERE.replace("http", "ws"))
    config = Config(exchange=exchange, store=StoreConfig(path=tmp_path / "s.db"))
    assert "broker" not in {one.name for one in await examine(config)}


async def in_thread(*words: str, file: Path) -> tuple[int, str]:
    """The command beside the test's own loop, as it begins one."""
    return await asyncio.to_thread(run, *words, file=file)


async def test_one_process_does_not_load_the_brokers_client() -> None:
    """It is memory that `screenerd up` has no use for."""
    code = (
        "import asyncio, sys, screenerd.run; from screenerd.cli import common; "
        "common.run_daemon(asyncio.sleep(0)); sys.exit('nats' in sys.modules)"
    )
    assert await asyncio.to_thread(subprocess.call, [sys.executable, "-c", code]) == 0
