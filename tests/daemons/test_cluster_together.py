"""Parts that are rebuilt at the same moment ask together, and miss nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from store_values import candle, journalled

from screenerd.cluster import together as module
from screenerd.cluster.together import Together
from screenerd.model import Candle, RuleSwitch
from screenerd.store.port import FOREVER, JournalPage, Past, StoreError

pytestmark = pytest.mark.asyncio


@dataclass
class SlowPast:
    """Sees at once what is stored when it is asked, and answers when it is let."""

    stored: dict[str, int] = field(default_factory=dict)
    candles: list[Candle] = field(default_factory=list)
    asked: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    read: list[tuple[object, ...]] = field(default_factory=list)

    async def newest(self, exchange: str) -> dict[str, int]:
        """What is stored when it is asked."""
        assert exchange == "x"
        self.asked += 1
        found, fails = dict(self.stored), self.fails
        await self.answers.wait()
        if fails:
            raise StoreError("away")
        return found

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """One."""
        return {"flat_1m": RuleSwitch("flat_1m", enabled=False, cooldown_ms=None)}

    async def journal(
        self,
        exchange: str,
        start: int,
        end: int,
        *,
        opens_from: int = 0,
        symbols: Sequence[str] | None = None,
        after: int = 0,
        limit: int,
    ) -> JournalPage:
        """Of these symbols; marks are places in the whole."""
        asked = symbols and "".join(symbols)
        self.read.append((exchange, start, end, opens_from, asked, after, limit))
        await self.answers.wait()
        found = [
            (mark, one)
            for mark, one in enumerate(self.candles, 1)
            if mark > after and (symbols is None or one.symbol in symbols)
        ][:limit]
        more = found[-1][0] if len(found) == limit else None
        return JournalPage([one for _, one in found], more)


@pytest.fixture
def past() -> SlowPast:
    return SlowPast()


@pytest.fixture
def together(past: SlowPast) -> Together:
    return Together(cast("Past", past))


async def turns() -> None:
    """Lets everybody go on as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def begun(ask: Callable[[], Any], count: int = 1) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(ask()) for _ in range(count)]
    await turns()
    return tasks


async def test_those_who_ask_meanwhile_are_answered_together(
    past: SlowPast, together: Together
) -> None:
    first = await begun(lambda: together.newest("x"))
    past.stored["A"] = 1  # after the first has asked, and before the others
    others = await begun(lambda: together.newest("x"), 7)
    assert past.asked == 1
    past.answers.set()
    answers = await asyncio.gather(*first, *others)
    assert answers == [{}, *[{"A": 1}] * 7]
    assert past.asked == 2
    assert await together.newest("x") == {"A": 1}, "and who comes later asks anew"
    assert past.asked == 3


async def test_an_answer_is_each_ones_own(past: SlowPast, together: Together) -> None:
    past.answers.set()
    past.stored["A"] = 1
    one, other = await asyncio.gather(together.newest("x"), together.newest("x"))
    one.clear()
    assert other == {"A": 1}
    switches = await asyncio.gather(together.rule_switches(), together.rule_switches())
    switches[0].clear()
    assert switches[1]


async def test_all_who_asked_with_one_that_failed_are_told_and_the_next_asks_anew(
    past: SlowPast, together: Together
) -> None:
    past.fails = True
    first = await begun(lambda: together.newest("x"), 3)
    past.answers.set()
    told = await asyncio.gather(*first, return_exceptions=True)
    assert [type(one) for one in told] == [StoreError] * 3
    assert past.asked == 1
    past.fails = False
    assert await together.newest("x") == {}


async def test_an_answer_that_does_not_come_is_not_waited_for(
    past: SlowPast, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
    stuck = await begun(lambda: together.newest("x"))
    past.answers = asyncio.Event()
    past.answers.set()
    past.stored["A"] = 1
    assert await together.newest("x") == {"A": 1}
    assert not stuck[0].done()
    stuck[0].cancel()


async def test_one_that_gives_up_takes_the_answer_from_nobody(
    past: SlowPast, together: Together
) -> None:
    first = await begun(lambda: together.newest("x"))
    second, third = await begun(lambda: together.newest("x"), 2)
    first[0].cancel()
    second.cancel()
    await turns()
    past.answers.set()
    assert await third == {}


async def test_the_journal_is_read_once_for_the_symbols_of_all(
    past: SlowPast, together: Together
) -> None:
    past.candles = [candle(symbol) for symbol in "ABCDA"]

    def ask(symbols: Sequence[str] | None, start: int = 5) -> Callable[[], Any]:
        return lambda: together.journal("x", start, FOREVER, opens_from=7, symbols=symbols, limit=9)

    questions = (ask("B"), ask("AC"), ask(["A", "E"]), ask([]), ask("B", start=6), ask(None))
    asked = [await begun(one) for one in questions]
    past.answers.set()
    found = ["".join(c.symbol for c in (await task).candles) for [task] in asked]
    assert found == ["B", "ACA", "AA", "", "B", "ABCDA"]
    whole = ("x", 5, FOREVER, 7)
    assert past.read == [
        (*whole, "B", 0, 9),
        ("x", 6, FOREVER, 7, "B", 0, 9),
        (*whole, None, 0, 9),
        (*whole, "ACE", 0, 9),
    ]


async def test_pages_of_the_journal_that_others_ask_for_as_well_leave_nothing_out(
    past: SlowPast, together: Together
) -> None:
    past.candles = [candle(symbol, minute) for minute, symbol in enumerate("ABBBBCAB" * 3)]
    past.answers.set()

    parts = ("A", "BC", "D")
    found = await asyncio.gather(
        *(journalled(together, "x", 0, FOREVER, symbols=own, limit=3) for own in parts)
    )
    for own, told in zip(parts, found, strict=True):
        assert told == [one for one in past.candles if one.symbol in own]
    assert [asked for *_, asked, after, _ in past.read if after == 0] == ["ABCD"], "read together"


async def test_who_is_at_another_page_gets_that_one(past: SlowPast, together: Together) -> None:
    past.candles = [candle(symbol, minute) for minute, symbol in enumerate("ABABAB")]

    def ask(symbols: Sequence[str], after: int) -> Callable[[], Any]:
        return lambda: together.journal("x", 0, FOREVER, symbols=symbols, after=after, limit=2)

    asked = [await begun(ask("A", 0)), await begun(ask("B", 4)), await begun(ask("A", 2))]
    past.answers.set()
    pages = [await task for [task] in asked]
    assert [page.candles for page in pages] == [
        [past.candles[0], past.candles[2]],
        [past.candles[5]],
        [past.candles[2], past.candles[4]],
    ]
    assert [page.after for page in pages] == [3, None, 5]
