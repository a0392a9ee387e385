"""How long a closing minute takes through the live screener: from its frames to alerts and store.

`python benches/live/latency.py [--symbols 500] [--minutes 60] [--speed 10] [--json]`

The exchange runs in a process of its own, on another core where there is one. At a speed of 10 a
minute lasts 6 seconds, but the updates of running minutes come as often a second as at 1.
First a bare client receives the same bursts and only parses their JSON: what socket and loop cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import math
import resource
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import aiohttp
import orjson

from screenerd.bus.port import Message
from screenerd.exchange.binance import messages
from screenerd.exchange.binance.stream import ROUTE, SYMBOLS_A_CONNECTION
from screenerd.model import MINUTE_MS, Alert, Candle, CandleBatch
from screenerd.run import Roles, up

if TYPE_CHECKING:
    from benches.live import stage
else:
    import stage

LEFT_OUT = 2
"""Minutes after the start that are not counted."""

IDLE_AFTER = 1.5
"""Seconds after the end of a minute from which on the loop is called idle."""

QUANTILES = (50.0, 90.0, 99.0, 99.9)

ROWS = {
    "bus": "frame read -> alert on the bus",
    "subscriber": "frame read -> alert with a subscriber",
    "alert stored": "frame read -> alert stored",
    "candle stored": "frame read -> candle stored",
    "judged": "frame read -> all rules judged",
    "bus, from first": "first frame of the burst -> alert on the bus",
    "judged, from first": "first frame of the burst -> all rules judged",
    "alert, from due": "exchange sends -> alert on the bus",
    "late": "minute over -> exchange begins to send",
    "read": "exchange begins to send -> frame read",
    "lag": "lateness of the idle loop",
}


@dataclass(slots=True)
class Series:
    """Times of one kind, ms."""

    values: list[float] = field(default_factory=list)

    def quantile(self, percent: float) -> float:
        """The value that so many percent do not exceed; NaN of none."""
        if not self.values:
            return math.nan
        ranked = sorted(self.values)
        return ranked[max(math.ceil(len(ranked) * percent / 100) - 1, 0)]

    def summary(self) -> dict[str, float]:
        """Count, quantiles and the largest."""
        told = {f"p{percent:g}": round(self.quantile(percent), 3) for percent in QUANTILES}
        return {"n": len(self.values), **told, "max": round(self.quantile(100), 3)}


@dataclass(slots=True)
class Probe:
    """Notes when each thing happens, in seconds of the machine's monotonic clock."""

    clock: stage.MarketClock
    counted_from: int
    read: dict[tuple[str, int], float] = field(default_factory=dict)
    first_read: dict[int, float] = field(default_factory=dict)
    last_judged: dict[int, float] = field(default_factory=dict)
    worked: dict[int, tuple[float, float]] = field(default_factory=dict)
    series: defaultdict[str, Series] = field(default_factory=lambda: defaultdict(Series))
    collections: list[Series] = field(default_factory=lambda: [Series(), Series(), Series()])
    _collecting: float = 0.0

    def parsed(self, frame: messages.Frame, began: float) -> None:
        """A frame has been read; closes begin here."""
        if not isinstance(frame, Candle) or not frame.closed:
            return
        self.read.setdefault((frame.symbol, frame.open_time), began)
        if frame.open_time not in self.first_read:
            self.first_read[frame.open_time] = began
            self.worked[frame.open_time] = time.thread_time(), math.nan
        if frame.open_time >= self.counted_from and frame.event_time is not None:
            sent = self.clock.machine_time(frame.event_time)
            self._add("late", sent, self.clock.machine_time(frame.close_time))
            self._add("read", began, sent)

    def judged(self, candle: Candle) -> None:
        """The engine has judged a candle, and its alerts are on the bus."""
        began = self._began(candle.symbol, candle.open_time)
        if began is None or candle.source != "stream":
            return
        now = time.monotonic()
        self._add("judged", now, began)
        self._add("judged, from first", now, self.first_read[candle.open_time])
        self.last_judged[candle.open_time] = now
        self.worked[candle.open_time] = self.worked[candle.open_time][0], time.thread_time()

    def published(self, alert: Alert) -> None:
        """An alert is on the bus."""
        open_time = alert.stamps.exchange_close - MINUTE_MS
        began = self._began(alert.symbol, open_time)
        if began is None:
            return
        now = time.monotonic()
        self._add("bus", now, began)
        self._add("bus, from first", now, self.first_read[open_time])
        if alert.stamps.exchange_event is not None:
            sent = self.clock.machine_time(alert.stamps.exchange_event)
            self._add("alert, from due", now, sent)

    def taken(self, alert: Alert) -> None:
        """A subscriber has an alert."""
        began = self._began(alert.symbol, alert.stamps.exchange_close - MINUTE_MS)
        if began is not None:
            self._add("subscriber", time.monotonic(), began)

    def stored(self, items: tuple[object, ...]) -> None:
        """Items are committed."""
        now = time.monotonic()
        for item in items:
            if isinstance(item, Alert):
                began = self._began(item.symbol, item.stamps.exchange_close - MINUTE_MS)
                if began is not None:
                    self._add("alert stored", now, began)
            elif isinstance(item, CandleBatch):
                for candle in item.candles:
                    began = self._began(candle.symbol, candle.open_time)
                    if began is not None and candle.source == "stream":
                        self._add("candle stored", now, began)

    def collected(self, phase: str, info: dict[str, int]) -> None:
        """The garbage collector begins or ends; everything waits for it."""
        now = time.monotonic()
        if phase == "start":
            self._collecting = now
        else:
            self.collections[info["generation"]].values.append((now - self._collecting) * 1000)

    async def measure_lag(self) -> None:
        """How late the loop is when nothing is to be done."""
        while True:
            planned = time.monotonic() + 0.005
            await asyncio.sleep(0.005)
            now = time.monotonic()
            into = self.clock.real(self.clock.now_ms() % MINUTE_MS / 1000)
            if into > IDLE_AFTER and self.clock.now_ms() > self.counted_from:
                self._add("lag", now, planned)

    def spread(self) -> Series:
        """From the first frame of each burst to its last candle judged."""
        return Series(
            [
                (last - self.first_read[minute]) * 1000
                for minute, last in self.last_judged.items()
                if minute >= self.counted_from
            ]
        )

    def work(self) -> Series:
        """The loop's own processor time in each burst: what it would take on an idle machine."""
        return Series(
            [
                (end - begin) * 1000
                for minute, (begin, end) in self.worked.items()
                if minute >= self.counted_from and not math.isnan(end)
            ]
        )

    def _began(self, symbol: str, open_time: int) -> float | None:
        return self.read.get((symbol, open_time)) if open_time >= self.counted_from else None

    def _add(self, name: str, now: float, began: float) -> None:
        self.series[name].values.append((now - began) * 1000)


@contextlib.contextmanager
def watching(probe: Probe, roles: Roles) -> Iterator[None]:
    """Lets the probe see frames, judgements, alerts and commits; nothing else changes."""
    parse, judge = messages.parse_frame, roles.screen._judge._judge_one
    publish, write = roles.bus.publish, roles.store.write

    def parse_frame(raw: bytes | str, received_at: int) -> messages.Frame:
        began = time.monotonic()
        frame = parse(raw, received_at)
        probe.parsed(frame, began)
        return frame

    def judged(candle: Candle) -> list[Alert]:
        told = judge(candle)
        probe.judged(candle)
        return told

    async def published(message: Message) -> None:
        await publish(message)
        if isinstance(message, Alert):
            probe.published(message)

    async def written(*items: Any) -> None:
        await write(*items)
        probe.stored(items)

    gc.callbacks.append(probe.collected)
    with (
        patch.object(messages, "parse_frame", parse_frame),
        patch.object(roles.screen._judge, "_judge_one", judged),
        patch.object(roles.bus, "publish", published),
        patch.object(roles.store, "write", written),
    ):
        yield
    gc.callbacks.remove(probe.collected)


async def take_alerts(probe: Probe, roles: Roles) -> None:
    """Another subscriber, as a page or a notification would be."""
    async for received in roles.bus.subscribe("benchmark", Alert, limit=100_000):
        if isinstance(received.message, Alert):
            probe.taken(received.message)


@contextlib.asynccontextmanager
async def screener(
    exchange: stage.Exchange, clock: stage.MarketClock, folder: Path
) -> AsyncIterator[Roles]:
    """The whole of `screenerd up`, warmed up."""
    ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
    config = stage.config(exchange.rest_url, exchange.stream_url, folder / "screener.db")
    running = asyncio.create_task(up(config, clock=clock, ready=ready))
    both: set[asyncio.Future[Any]] = {running, ready}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    roles = ready.result()
    try:
        async with asyncio.timeout(900):
            while not roles.ingest.status.bars_ready:
                assert not running.done(), "the screener has ended by itself"
                await asyncio.sleep(0.1)
        yield roles
    finally:
        roles.stop.set()
        await running


async def measure(
    exchange: stage.Exchange, clock: stage.MarketClock, folder: Path, minutes: int
) -> dict[str, Any]:
    """The screener under so many minutes of the market."""
    began = time.monotonic()
    async with screener(exchange, clock, folder) as roles:
        warm_up = time.monotonic() - began
        first = clock.now_ms() // MINUTE_MS * MINUTE_MS + LEFT_OUT * MINUTE_MS
        probe = Probe(clock, first)
        helpers = [
            asyncio.create_task(helper)
            for helper in (take_alerts(probe, roles), probe.measure_lag())
        ]
        with watching(probe, roles):
            await until(clock, first)
            frames, used, at = (
                received(roles),
                resource.getrusage(resource.RUSAGE_SELF),
                time.monotonic(),
            )
            await until(clock, first + minutes * MINUTE_MS + 5_000)
            seconds = time.monotonic() - at
            now = resource.getrusage(resource.RUSAGE_SELF)
        for helper in helpers:
            helper.cancel()
        status = roles.ingest.status
        return {
            "warm_up_seconds": round(warm_up, 1),
            "frames_a_second": round((received(roles) - frames) / seconds),
            "cpu_share": round(
                (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / seconds, 3
            ),
            "preempted": now.ru_nivcsw - used.ru_nivcsw,
            "closes": len(probe.series["judged"].values),
            "closes_expected": status.symbols * minutes,
            "missing": status.missing,
            "rejected": status.rejected,
            "burst": probe.spread().summary(),
            "work": probe.work().summary(),
            "collections": [
                {"n": len(one.values), "max": round(one.quantile(100), 2)}
                for one in probe.collections
            ],
            "series": probe.series,
        }


def received(roles: Roles) -> int:
    """Frames that all connections have delivered so far."""
    return sum(connection.frames for connection in roles.stream.connections)


async def until(clock: stage.MarketClock, market_ms: int) -> None:
    """Waits for a market time."""
    await asyncio.sleep(max(clock.machine_time(market_ms) - time.monotonic(), 0))


async def measure_bare(
    exchange: stage.Exchange, clock: stage.MarketClock, minutes: int
) -> dict[str, float]:
    """The same frames through as many connections, and nothing done but to parse their JSON."""
    first_read: dict[int, float] = {}
    last_parsed: dict[int, float] = {}

    async def receive(session: aiohttp.ClientSession, symbols: list[str]) -> None:
        url = exchange.stream_url + ROUTE
        async with session.ws_connect(url, compress=0, max_msg_size=messages.MAX_FRAME) as socket:
            names = [messages.stream_name(symbol) for symbol in symbols]
            await socket.send_str(messages.subscribe(names, 1).decode())
            async for message in socket:
                began = time.monotonic()
                kline = orjson.loads(message.data).get("data", {}).get("k")
                if kline and kline["x"]:
                    first_read.setdefault(kline["t"], began)
                    last_parsed[kline["t"]] = time.monotonic()

    async with aiohttp.ClientSession() as session:
        async with session.get(exchange.rest_url + "/fapi/v1/exchangeInfo") as answer:
            symbols = [one["symbol"] for one in orjson.loads(await answer.read())["symbols"]]
        shares = math.ceil(len(symbols) / SYMBOLS_A_CONNECTION)
        tasks = [asyncio.create_task(receive(session, symbols[n::shares])) for n in range(shares)]
        first = clock.now_ms() // MINUTE_MS * MINUTE_MS + LEFT_OUT * MINUTE_MS
        await until(clock, first + minutes * MINUTE_MS + 5_000)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    spreads = [
        (last_parsed[minute] - began) * 1000
        for minute, began in first_read.items()
        if minute >= first
    ]
    return Series(spreads).summary()


def histogram(series: Series) -> list[str]:
    """A line a bucket, each twice as wide as the one before it."""
    edges = [2.0**power for power in range(-3, 9)]
    counts = [0] * (len(edges) + 1)
    for value in series.values:
        counts[sum(value > edge for edge in edges)] += 1
    used = [number for number, count in enumerate(counts) if count]
    lines = []
    for number in range(used[0], used[-1] + 1) if used else ():
        label = f"<= {edges[number]:g}" if number < len(edges) else f"> {edges[-1]:g}"
        share = counts[number] / len(series.values)
        bar = "#" * math.ceil(share * 50)
        lines.append(f"  {label:>8} ms {counts[number]:>8} {share:>7.2%} {bar}")
    return lines


def report(result: dict[str, Any]) -> None:
    """Prints it for people."""
    live = result["screener"]
    print(
        f"{result['symbols']} symbols, {result['minutes']} minutes at {result['speed']:g}x; "
        f"load {result['load_before']} -> {result['load_after']}\n"
        f"{live['frames_a_second']} frames a second, CPU {live['cpu_share']:.1%} of a core, "
        f"preempted {live['preempted']} times, warm-up {live['warm_up_seconds']} s\n"
        f"{live['closes']} of {live['closes_expected']} closes judged, {live['missing']} missing, "
        f"{live['rejected']} rejected; collector, longest by generation: "
        + ", ".join(f"{one['max']:g} ms ({one['n']})" for one in live["collections"])
    )
    print(f"\n{'ms':<48}{'n':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}")
    rows = {label: live["series"][name].summary() for name, label in ROWS.items()}
    rows["burst: first frame read -> last candle judged"] = live["burst"]
    rows["burst: processor time of the loop in it"] = live["work"]
    rows["burst: bare client, JSON parsed and no more"] = result["bare"]
    for label, row in rows.items():
        print(
            f"{label:<48}" + f"{row['n']:>8}" + "".join(f"{v:>9.2f}" for v in [*row.values()][1:])
        )
    for name in ("bus", "judged"):
        print(f"\n{ROWS[name]}")
        print("\n".join(histogram(live["series"][name])))


async def run(
    arguments: argparse.Namespace, folder: Path, cores: tuple[int | None, ...]
) -> dict[str, Any]:
    """The bare client first, then the screener, with an exchange of its own each."""
    told = {"symbols": arguments.symbols, "minutes": arguments.minutes, "speed": arguments.speed}
    before = stage.load()

    def set_up() -> stage.Setup:
        clock = stage.MarketClock(arguments.speed, time.monotonic())
        update_ms = int(stage.UPDATE_MS * arguments.speed)
        return stage.Setup(arguments.symbols, clock, update_ms, cores[0])

    setup = set_up()
    with stage.exchange(setup) as exchange:
        bare = await measure_bare(exchange, setup.clock, max(arguments.minutes // 6, 2))
    setup = set_up()
    with stage.exchange(setup) as exchange:
        live = await measure(exchange, setup.clock, folder, arguments.minutes)
    return {
        **told,
        "load_before": before,
        "load_after": stage.load(),
        "bare": bare,
        "screener": live,
    }


def main() -> None:
    """Reads the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cores = stage.cores()
    stage.pin(cores[1])
    with stage.scratch() as folder, stage.logging(folder):
        result = asyncio.run(run(arguments, folder, cores))
    if arguments.json:
        series = result["screener"]["series"]
        result["screener"]["series"] = {name: series[name].summary() for name in ROWS}
        result["screener"]["histogram"] = {
            name: histogram(series[name]) for name in ("bus", "judged")
        }
        print(json.dumps(result, indent=2))
    else:
        report(result)
    if result["screener"]["closes"] != result["screener"]["closes_expected"]:
        sys.exit("not every close was judged as it came: the figures stand for less than they say")


if __name__ == "__main__":
    main()
