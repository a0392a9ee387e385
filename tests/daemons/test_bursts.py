"""Candles on their way to the bus: together, several bursts at once, each symbol in its order."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from screenerd.bus.port import Message
from screenerd.ingest.bursts import (
    LARGEST_BURST,
    LONGEST_WAIT,
    MOST_AHEAD_MS,
    MOST_FLYING,
    MOST_NOTES,
    QUIET_SECONDS,
    Bursts,
)
from screenerd.model import MINUTE_MS, Candle, CandleBatch, DeadLetter, Reconnected

pytestmark = pytest.mark.asyncio


def candle(symbol: str, minute: int = 0, received_at: int = 0) -> Candle:
    values = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    return Candle(symbol, minute * MINUTE_MS, *values, received_at=received_at)


@dataclass
class HeldBus:
    """Keeps what is published until it is let go."""

    arrived: list[Message] = field(default_factory=list)
    safe: list[Message] = field(default_factory=list)
    holds: list[asyncio.Event] = field(default_factory=list)
    held: bool = True

    async def publish(self, message: Message) -> None:
        """Takes a message, and waits."""
        self.arrived.append(message)
        if self.held:
            self.holds.append(asyncio.Event())
            await self.holds[-1].wait()
        self.safe.append(message)

    def release(self) -> None:
        """Lets all go, and what comes."""
        self.held = False
        for hold in self.holds:
            hold.set()


@contextlib.asynccontextmanager
async def running(bus: HeldBus) -> AsyncIterator[Bursts]:
    bursts = Bursts(bus, "binance")  # type: ignore[arg-type]  # only publishes
    task = asyncio.create_task(bursts.run())
    try:
        yield bursts
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def arrived(bus: HeldBus, count: int) -> None:
    async with asyncio.timeout(5):
        while len(bus.arrived) < count:
            await asyncio.sleep(0.001)


def candles(message: Message) -> tuple[Candle, ...]:
    assert isinstance(message, CandleBatch)
    return message.candles


def symbols(message: Message) -> list[str]:
    return [one.symbol for one in candles(message)]


async def test_what_comes_together_is_one_message() -> None:
    bus = HeldBus(held=False)
    async with running(bus) as bursts:
        for name in "ABC":
            bursts.add(candle(name))
        await arrived(bus, 1)
        assert symbols(bus.arrived[0]) == ["A", "B", "C"]


async def test_another_burst_does_not_wait_for_the_first_to_be_safe() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        for count, name in enumerate("ABC", 1):
            bursts.add(candle(name))
            await arrived(bus, count)
        assert bus.safe == []


async def test_a_symbol_waits_for_its_earlier_minute() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        bursts.add(candle("A", 0))
        await arrived(bus, 1)
        bursts.add(candle("B", 0))
        bursts.add(candle("A", 1))
        await asyncio.sleep(0.05)
        assert len(bus.arrived) == 1
        bus.holds[0].set()
        await arrived(bus, 2)
        assert symbols(bus.arrived[1]) == ["B", "A"]


async def test_only_so_many_are_on_their_way_and_the_rest_is_one_burst() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        for number in range(MOST_FLYING):
            bursts.add(candle(f"S{number}"))
            await arrived(bus, number + 1)
        for number in range(10):
            bursts.add(candle(f"T{number}"))
            await asyncio.sleep(0.005)
        assert len(bus.arrived) == MOST_FLYING
        bus.release()
        await arrived(bus, MOST_FLYING + 1)
        assert len(symbols(bus.arrived[-1])) == 10


async def test_notes_follow_the_candles_before_them() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        bursts.add(candle("A"))
        bursts.note(Reconnected("binance", 1, ("A",), 0, 1))
        await arrived(bus, 1)
        await asyncio.sleep(0.02)
        assert len(bus.arrived) == 1
        bus.release()
        await arrived(bus, 2)
        assert isinstance(bus.arrived[1], Reconnected)


async def test_candles_go_before_any_number_of_notes() -> None:
    class Endless(HeldBus):
        async def publish(self, message: Message) -> None:
            """One more letter comes for each that is published."""
            await asyncio.sleep(0)
            self.arrived.append(message)
            if isinstance(message, DeadLetter):
                bursts.note(message)

    bus = Endless()
    async with running(bus) as bursts:
        bursts.note(DeadLetter("binance", 0, "odd", b""))
        await arrived(bus, 10)
        bursts.add(candle("A"))
        async with asyncio.timeout(5):
            while not any(isinstance(one, CandleBatch) for one in bus.arrived):
                await asyncio.sleep(0.001)


async def test_what_was_received_much_later_waits_for_what_is_on_its_way() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        bursts.add(candle("A", received_at=10_000))
        await arrived(bus, 1)
        bursts.add(candle("B", received_at=10_000 + MOST_AHEAD_MS))
        await arrived(bus, 2)
        bursts.add(candle("C", received_at=10_001 + MOST_AHEAD_MS))
        await asyncio.sleep(0.05)
        assert len(bus.arrived) == 2
        bus.holds[0].set()
        await arrived(bus, 3)


async def test_a_pause_is_waited_for_and_no_pause_not_for_ever() -> None:
    bursts = Bursts(HeldBus(held=False), "binance")  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    with pytest.raises(StopIteration):  # none has come yet: it does not wait at all
        bursts.quiet().send(None)
    newest = loop.time()
    bursts.add(candle("A"))
    await bursts.quiet()
    assert loop.time() - newest >= QUIET_SECONDS * 0.99

    waiting = asyncio.create_task(bursts.quiet())
    began = loop.time()
    async with asyncio.timeout(20 * LONGEST_WAIT):
        while not waiting.done():
            bursts.add(candle("A"))
            await asyncio.sleep(0.005)
    assert loop.time() - began >= LONGEST_WAIT * 0.99


async def test_letters_are_bounded_and_what_became_of_connections_is_not() -> None:
    bursts = Bursts(HeldBus(held=False), "binance")  # type: ignore[arg-type]
    letter = DeadLetter("binance", 0, "odd", b"")
    assert [bursts.note(letter) for _ in range(MOST_NOTES + 1)].count(False) == 1
    assert bursts.note(Reconnected("binance", 1, (), 0, 1))


async def test_what_was_not_safe_when_it_was_stopped_is_flushed() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        bursts.add(candle("A"))
        await arrived(bus, 1)
        bursts.add(candle("B"))
        await arrived(bus, 2)
        bus.holds[1].set()
        await asyncio.sleep(0.005)
    bursts.add(candle("C"))
    bus.release()
    await bursts.flush()
    assert sorted(name for one in bus.safe for name in symbols(one)) == ["A", "B", "C"]


async def test_what_waits_for_others_when_it_was_stopped_is_flushed() -> None:
    bus = HeldBus()
    async with running(bus) as bursts:
        bursts.add(candle("A", 0))
        await arrived(bus, 1)
        bursts.add(candle("A", 1))
        bursts.note(Reconnected("binance", 1, ("A",), 0, 1))
        await asyncio.sleep(0.02)
    bus.release()
    await bursts.flush()
    assert isinstance(bus.safe[-1], Reconnected)
    minutes = [one.open_time // MINUTE_MS for batch in bus.safe[:-1] for one in candles(batch)]
    assert minutes == [0, 1]


async def test_a_flush_returns_when_everything_is_safe() -> None:
    bus = HeldBus()
    bursts = Bursts(bus, "binance")  # type: ignore[arg-type]
    for number in range(LARGEST_BURST + 1):
        bursts.add(candle(f"S{number}"))
    flushing = asyncio.create_task(bursts.flush())
    await arrived(bus, 2)
    assert not flushing.done()
    bus.release()
    await flushing
    assert sum(len(symbols(one)) for one in bus.safe) == LARGEST_BURST + 1


async def test_a_bus_that_fails_ends_it() -> None:
    class Broken(HeldBus):
        async def publish(self, message: Message) -> None:
            raise OSError(f"cannot take {type(message).__name__}")

    bursts = Bursts(Broken(), "binance")  # type: ignore[arg-type]
    bursts.add(candle("A"))
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await bursts.run()


@pytest.mark.parametrize("seed", range(5))
async def test_each_symbol_keeps_its_order_whatever_takes_how_long(seed: int) -> None:
    chance = random.Random(seed)
    safe: list[Candle] = []

    class Slow(HeldBus):
        async def publish(self, message: Message) -> None:
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))
            assert isinstance(message, CandleBatch)
            safe.extend(message.candles)

    sent: list[Candle] = []
    minutes = dict.fromkeys("ABCDEFGH", 0)
    async with running(Slow()) as bursts:
        for _ in range(300):
            name = chance.choice("ABCDEFGH")
            minutes[name] += 1
            sent.append(candle(name, minutes[name]))
            bursts.add(sent[-1])
            if chance.random() < 0.3:
                await asyncio.sleep(chance.choice([0, 0.001, 0.003]))
        await bursts.flush()
        await asyncio.sleep(0.05)
    assert len(safe) == len(sent)
    for name in minutes:
        assert [one for one in safe if one.symbol == name] == [
            one for one in sent if one.symbol == name
        ]
