"""How long an alert takes through roles that run alone, over NATS: from its frame to a client.

`python benches/live/cluster.py [--symbols 500 ...] [--workers 1] [--shards 8] [--minutes 20]
[--speed 10] [--takeover] [--plot FILE] [--json]`

Exchange, ingest, workers, persist, notify, serve, NATS (`sync_interval: always`) and PostgreSQL
run on this machine, a process each; the client is a websocket of this one. Told are the times from
the receipt of the close's frame to when the alert is decided, and to when the client has it.
The rules are the preset `futures` and one more, so that there are enough alerts to tell of: it
fires every minute for a few symbols in a hundred, those with KU in their names. With `--takeover`
there is one worker process more, which stands by; at the end one that works is killed, and told is
how long it takes until the other has its place, and has rebuilt what it knew. With several numbers
of symbols each is measured by itself, with a worker for every 500 if `--workers` is 0, and `--plot`
draws them. Servers are started as the tests start theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "daemons"))

from nats_server import NatsServer, free_port
from postgres_server import Postgres

from screenerd import logs
from screenerd.cluster import process, service
from screenerd.config import Config, LogConfig
from screenerd.model import MINUTE_MS

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage

SYMBOLS_A_WORKER = 500
LEFT_OUT = 2
"""Minutes after the start that are not counted."""

RULES = """
[[rule]]
name = "every_minute"
timeframe = "5m"
when = "change_5m > -100"
cooldown = "0m"
enabled = false

[[rule.override]]
symbols = ["*KU*"]
enabled = true
"""

QUANTILES = (50, 90, 99, 100)
READY_SECONDS = 1800.0
OK = 200


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured."""

    symbols: int
    workers: int
    shards: int
    minutes: int
    speed: float
    takeover: bool = False


@dataclass(slots=True)
class Told:
    """What the client has heard: ms of the machine, from the receipt of the frame."""

    decided: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    minutes: set[int] = field(default_factory=set)


def run_role(role: str, config: dict[str, Any], clock: stage.MarketClock, log: str) -> None:
    """A role's process."""
    with Path(log).open("w") as file, contextlib.redirect_stderr(file):
        logs.set_up(LogConfig(format="json"))
        made = Config.model_validate(config)
        if role == "serve":
            uvloop.run(service.serve(made, clock=clock))
        else:
            uvloop.run(process.run(role, made, clock=clock))


@contextlib.contextmanager
def roles(
    setting: Setting, config: dict[str, Any], clock: stage.MarketClock, folder: Path
) -> Iterator[tuple[dict[str, int], dict[str, BaseProcess]]]:
    """Every role; gives the ports at which they answer, and the processes."""
    names = ["ingest", "persist", "notify", "serve"]
    names += [f"screen.{number}" for number in range(setting.workers + setting.takeover)]
    ports = {name: free_port() for name in names}
    processes: dict[str, BaseProcess] = {}
    for name, port in ports.items():
        role = name.partition(".")[0]
        mine = config | {
            "probe": {"port": port},
            "serve": {"port": port, "requests_a_minute": 1_000_000},
        }
        arguments = (role, mine, clock, str(folder / f"{name}.log"))
        processes[name] = stage.PROCESSES.Process(target=run_role, args=arguments, daemon=True)
    try:
        for one in processes.values():
            one.start()
        yield ports, processes
    finally:
        for one in processes.values():
            one.terminate()
        for one in processes.values():
            one.join(10)
            one.kill()


async def ready(ports: dict[str, int], http: aiohttp.ClientSession) -> None:
    """Until every process says so, and the service that everything has caught up.

    The longer bars are asked for when all else is there, for minutes: not what is measured.
    """

    async def told(name: str, path: str) -> tuple[int, str]:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.get(f"http://127.0.0.1:{ports[name]}{path}") as answer:
                return answer.status, await answer.text()
        return 0, ""

    async with asyncio.timeout(READY_SECONDS):
        for name in ports:
            while (await told(name, "/health/ready"))[0] != OK:
                await asyncio.sleep(0.2)
        while "data_collector_bars_ready 1.0" not in (await told("ingest", "/metrics"))[1]:
            await asyncio.sleep(0.2)
        while '"status":"healthy"' not in (await told("serve", "/api/health"))[1]:
            await asyncio.sleep(0.2)


def cpu_seconds(processes: dict[str, BaseProcess]) -> dict[str, float]:
    """Processor time each process has used so far; nothing where the system does not tell."""
    told = {}
    for name, one in processes.items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
            told[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return told


async def listen(port: int, clock: stage.MarketClock, setting: Setting, told: Told) -> None:
    """Hears alerts until enough minutes are over."""
    begin = clock.now_ms() // MINUTE_MS * MINUTE_MS + LEFT_OUT * MINUTE_MS
    end = begin + setting.minutes * MINUTE_MS
    seconds = clock.real((end - clock.now_ms()) / 1000 + 60)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/ws/alerts") as socket,
    ):
        await socket.send_str('{"type":"subscribe","channels":["alerts"]}')
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for message in socket:
                    now = clock.now_ms()
                    value = orjson.loads(message.data)
                    if value["type"] == "ping":
                        await socket.send_str('{"type":"pong"}')
                    elif value["type"] == "alert":
                        take(value["data"], now, begin, setting.speed, told)


def take(data: dict[str, Any], now: int, begin: int, speed: float, told: Told) -> None:
    """An alert that the client has just read."""
    stamps = data["metadata"]["stamps"]
    closed, received, decided = (
        datetime.fromisoformat(stamps[name]).timestamp() * 1000
        for name in ("exchange_close", "received", "decided")
    )
    if closed > begin:
        told.minutes.add(int(closed))
        told.decided.append((decided - received) / speed)
        told.delivered.append((now - received) / speed)


async def taken_over(processes: dict[str, BaseProcess], folder: Path) -> dict[str, float]:
    """Kills a worker; seconds until the standby has its place, and until it has rebuilt it all."""
    workers = [name for name in processes if name.startswith("screen")]
    taken = {name: [at for _, at in events(folder, name, "lease taken")] for name in workers}
    standby = next(name for name in workers if not taken[name])
    victim = next(name for name in workers if taken[name])
    parts = {event["part"] for event, _ in events(folder, victim, "rebuilt")}
    processes[victim].kill()
    killed = time.time()
    async with asyncio.timeout(120):
        rebuilt = events(folder, standby, "rebuilt")
        while {one["part"] for one, _ in rebuilt} < parts:
            await asyncio.sleep(0.1)
            rebuilt = events(folder, standby, "rebuilt")
    place = events(folder, standby, "lease taken")[0][1]
    done = max(at for _, at in rebuilt)
    return {
        "symbols": sum(event["symbols"] for event, _ in rebuilt),
        "place_seconds": round(place - killed, 2),
        "rebuilt_seconds": round(done - place, 2),
    }


def events(folder: Path, name: str, event: str) -> list[tuple[dict[str, Any], float]]:
    """A process's events of one kind, each with its time in seconds."""
    lines = (folder / f"{name}.log").read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.startswith(b"{") and line.endswith(b"\n")]
    found = [one for one in map(orjson.loads, whole) if one["event"] == event]
    return [(one, datetime.fromisoformat(one["timestamp"]).timestamp()) for one in found]


def quantile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed; NaN of none."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)] if ranked else math.nan


def measure(setting: Setting) -> dict[str, Any]:
    """Runs everything, and tells the times."""
    clock = stage.MarketClock(setting.speed, time.monotonic() - 1)
    update = int(stage.UPDATE_MS * setting.speed)
    told = Told()
    takeover: dict[str, float] = {}
    cpu: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(stage.scratch())
        rules = folder / "rules.toml"
        rules.write_text(RULES)
        nats = NatsServer(folder / "nats").start()
        stack.callback(nats.stop)
        database = stack.enter_context(Postgres.running())
        setup = stage.Setup(setting.symbols, clock, update, None)
        exchange = stack.enter_context(stage.exchange(setup))
        config = {
            "exchange": {"rest_url": exchange.rest_url, "stream_url": exchange.stream_url},
            "bus": {
                "servers": [nats.url], "monitor": nats.monitor, "shards": setting.shards,
            },
            "store": {"url": database.url},
            "screen": {"workers": setting.workers},
            "rules": {"files": [str(rules)], "floors": False},
        }  # fmt: skip
        ports, processes = stack.enter_context(roles(setting, config, clock, folder))

        async def hear() -> None:
            async with aiohttp.ClientSession() as http:
                await ready(ports, http)
            before, begin = cpu_seconds(processes), clock.now_ms()
            await listen(ports["serve"], clock, setting, told)
            minutes = (clock.now_ms() - begin) / MINUTE_MS
            cpu.update({
                name: round((seconds - before[name]) * 1000 / minutes)
                for name, seconds in cpu_seconds(processes).items()
            })  # fmt: skip
            if setting.takeover:
                takeover.update(await taken_over(processes, folder))

        try:
            asyncio.run(hear())
        except TimeoutError:
            for log in sorted(folder.glob("*.log")):
                sys.stderr.write(f"--- {log.name}\n{log.read_text()[-1500:]}\n")
            raise
    rows = {"decided": told.decided, "delivered": told.delivered}
    return {
        "symbols": setting.symbols,
        "workers": setting.workers,
        "alerts": len(told.delivered),
        "minutes": len(told.minutes),
        "takeover": takeover,
        "cpu_ms_a_minute": cpu,
        **{
            name: {f"p{percent}": round(quantile(values, percent), 1) for percent in QUANTILES}
            for name, values in rows.items()
        },
    }


def plot(found: list[dict[str, Any]], speed: float, file: str) -> None:
    """Draws how the times grow with the number of symbols."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    symbols = [one["symbols"] for one in found]
    for percent, color in ((50, "tab:green"), (90, "tab:orange"), (99, "tab:red")):
        for name, style in (("delivered", "o-"), ("decided", "o:")):
            times = [one[name][f"p{percent}"] for one in found]
            axes.plot(symbols, times, style, color=color, label=f"{name}, p{percent}")
    workers = ", ".join(f"{one['workers']}" for one in found)
    axes.set(
        title=f"From a close's frame to a client over NATS\n{os.cpu_count()} cores with everything "
        f"on them, {speed:g}x; workers: {workers}",
        xlabel="symbols",
        ylabel="ms",
        ylim=(0, None),
        xticks=symbols,
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[500])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--takeover", action="store_true")
    parser.add_argument("--plot", metavar="FILE", help="a picture of it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = []
    for symbols in given.symbols:
        workers = given.workers or math.ceil(symbols / SYMBOLS_A_WORKER)
        settings = (workers, given.shards, given.minutes, given.speed, given.takeover)
        found.append(measure(Setting(symbols, *settings)))
    if given.plot:
        plot(found, given.speed, given.plot)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{os.cpu_count()} cores, speed {given.speed:g}; ms from the receipt of the frame")
    print("symbols  workers  alerts  minutes  " + "  ".join(
        f"{name} p{percent:<3}" for name in ("decided", "delivered") for percent in QUANTILES
    ))  # fmt: skip
    for one in found:
        numbers = [
            one[name][f"p{percent}"] for name in ("decided", "delivered") for percent in QUANTILES
        ]
        print(f"{one['symbols']:7}  {one['workers']:7}  {one['alerts']:6}  {one['minutes']:7}  "
              + "  ".join(f"{number:12.1f}" for number in numbers))  # fmt: skip
        print("processor time a minute, ms: " + ", ".join(
            f"{name} {ms}" for name, ms in one["cpu_ms_a_minute"].items()
        ))  # fmt: skip
        if told := one["takeover"]:
            print(f"killed: place taken after {told['place_seconds']} s, {told['symbols']} symbols "
                  f"rebuilt {told['rebuilt_seconds']} s later")  # fmt: skip


if __name__ == "__main__":
    main()
