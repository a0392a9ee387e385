"""Files of rules while the daemon runs: what can be in force comes into force, the rest is told."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from screenerd import rulewatch
from screenerd.bus.memory import MemoryBus
from screenerd.clock import SystemClock
from screenerd.model import RulesChanged
from screenerd.rulefiles import RulesError, RuleSources
from screenerd.rulewatch import GONE_SECONDS, SETTLE_SECONDS, RulesWatch

pytestmark = pytest.mark.asyncio


def rule(name: str = "jump", when: str = "change_5m >= 1", more: str = "") -> str:
    return f'[[rule]]\nname = "{name}"\ntimeframe = "5m"\nwhen = "{when}"\n{more}\n'


@dataclass
class Watched:
    """A watch that runs, and what it has told."""

    watch: RulesWatch
    told: list[RulesChanged] = field(default_factory=list)

    async def until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Waits for a condition."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def loads(self, count: int) -> None:
        """Waits for so many changes that came into force."""
        await self.until(lambda: self.watch.status.loads == count)

    async def failures(self, count: int) -> None:
        """Waits for so many refusals."""
        await self.until(lambda: self.watch.status.failures == count)


@contextlib.asynccontextmanager
async def watching(*files: Path, name: str = "classic") -> AsyncIterator[Watched]:
    bus = MemoryBus()
    heard = bus.subscribe("test", RulesChanged, limit=1_000)
    watched = Watched(RulesWatch(bus, SystemClock(), RuleSources(name, files, floors=False)))

    async def listen() -> None:
        async for received in heard:
            assert isinstance(received.message, RulesChanged)
            watched.told.append(received.message)

    tasks = [asyncio.create_task(watched.watch.run()), asyncio.create_task(listen())]
    try:
        yield watched
        assert not any(task.done() for task in tasks), "it has ended by itself"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(rule())
    return file


async def test_a_change_comes_into_force_and_is_told(mine: Path) -> None:
    async with watching(mine) as it:
        before = it.watch.rules["jump"].version
        mine.write_text(rule(when="change_5m >= 2"))
        await it.loads(1)
        await it.until(lambda: it.told)
        [told] = it.told
        assert told.rules is it.watch.rules
        assert told.fault is None
        assert told.rules["jump"].version != before
        assert "bull_whale" in told.rules, "the preset stays beside it"


async def test_an_error_keeps_the_rules_and_is_told_until_it_is_mended(mine: Path) -> None:
    async with watching(mine) as it:
        kept = it.watch.rules
        mine.write_text(rule(when="chnge_5m >= 2"))
        await it.failures(1)
        fault = it.watch.status.fault
        assert fault is not None
        assert (fault.file, fault.line) == (str(mine), 4)
        assert fault.column
        assert "change_5m" in fault.told, "it suggests"
        assert it.watch.rules is kept
        mine.write_text(rule(when="change_5m >="))
        await it.failures(2)
        mine.write_text(rule())
        await it.until(lambda: it.watch.status.fault is None)
        await it.until(lambda: len(it.told) == 3)
        assert it.watch.rules == kept
        assert it.watch.status.loads == 0, "they are the rules that were in force all the time"
        assert [told.fault is None for told in it.told] == [False, False, True]


async def test_what_changes_nothing_is_no_change(mine: Path) -> None:
    async with watching(mine) as it:
        os.utime(mine, (1, 1))
        mine.write_text("# a remark\n" + rule())
        other = mine.with_name("other.toml")
        other.write_text("# a remark\n" + rule())
        other.replace(mine)
        await asyncio.sleep(2)
        assert it.watch.status.loads == it.watch.status.failures == 0
        assert it.told == []


async def test_a_hundred_changes_in_a_second_are_one(mine: Path) -> None:
    """One, and one more whenever the machine stood still for so long that it looked settled."""
    written = [time.monotonic()]
    async with watching(mine) as it:
        for number in range(100):
            mine.write_text(rule(when=f"change_5m >= {number}"))
            await asyncio.sleep(0.01)
            written.append(time.monotonic())
        await it.until(lambda: it.watch.rules["jump"].when == "change_5m >= 99")
        pauses = sum(b - a >= SETTLE_SECONDS for a, b in itertools.pairwise(written))
        assert it.watch.status.failures == 0
        assert it.watch.status.loads <= 1 + pauses


async def test_what_is_the_same_at_every_look_may_have_changed_between_them(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes a file empties it first; chance may have it that each look falls into that."""
    looks = 0

    def emptied(file: Path) -> bytes:
        nonlocal looks
        looks += 1
        file.write_text(rule(when=f"change_5m >= {looks}"))
        return b"[[rule]]"

    async with watching(mine) as it:
        with monkeypatch.context() as unlucky:
            unlucky.setattr(rulewatch, "read", emptied)
            await it.until(lambda: looks == 5)
        await it.until(lambda: it.watch.rules["jump"].when == "change_5m >= 5")
        assert it.watch.status.failures == 0


async def test_what_is_half_written_is_waited_for(mine: Path) -> None:
    """A file that is whole at every cut between rules would lose rules for a moment."""
    text = "".join(rule(f"jump_{n}") for n in range(12))
    async with watching(mine) as it:
        with mine.open("w") as file:
            for part in text.splitlines(keepends=True):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.03)
        await it.loads(1)
        assert it.watch.rules.names[-12:] == [f"jump_{n}" for n in range(12)]
        assert it.watch.status.failures == 0


async def test_a_file_that_is_away_for_a_moment_is_no_error(mine: Path) -> None:
    """Editors move a file away and write another; a rename leaves no gap at all."""
    async with watching(mine) as it:
        mine.rename(mine.with_suffix(".bak"))
        await asyncio.sleep(GONE_SECONDS / 2)
        new = mine.with_name(".mine.toml.swp")
        new.write_text(rule(when="change_5m >= 3"))
        new.replace(mine)
        await it.loads(1)
        assert it.watch.status.failures == 0
        assert it.watch.rules["jump"].when == "change_5m >= 3"


async def test_a_file_that_is_deleted_is_told_and_comes_back(mine: Path) -> None:
    async with watching(mine) as it:
        kept = it.watch.rules
        mine.unlink()
        await it.failures(1)
        assert it.watch.rules is kept
        assert it.watch.status.fault is not None
        assert "no such file" in it.watch.status.fault.told
        mine.write_text(rule("leap"))
        await it.loads(1)
        assert it.watch.status.fault is None
        assert "leap" in it.watch.rules
        assert "jump" not in it.watch.rules


async def test_what_cannot_be_read_is_told(mine: Path) -> None:
    wrong: dict[str, Callable[[], object]] = {
        "folder": mine.mkdir,
        "symbolic links": lambda: mine.symlink_to(mine.name),
        "more than 1 MiB": lambda: mine.write_bytes(b"#" * 10_000_000),
        "UTF-8": lambda: mine.write_bytes(bytes(range(256))),
        "no file": lambda: os.mkfifo(mine),
    }
    async with watching(mine) as it:
        kept = it.watch.rules
        for number, (words, make) in enumerate(wrong.items(), 1):
            if mine.is_dir():
                mine.rmdir()
            else:
                mine.unlink()
            make()
            await it.failures(number)
            assert it.watch.status.fault is not None
            assert words in it.watch.status.fault.told
        assert it.watch.rules is kept


async def test_a_link_that_is_swapped_as_kubernetes_does(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "mine.toml").write_text(rule(when=f"change_5m >= {number}"))
    (tmp_path / "..data").symlink_to("..1")
    mine = tmp_path / "mine.toml"
    mine.symlink_to("..data/mine.toml")
    async with watching(mine) as it:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await it.loads(1)
        assert it.watch.rules["jump"].when == "change_5m >= 2"
        assert it.watch.status.failures == 0


async def test_one_of_two_files_is_wrong(mine: Path) -> None:
    other = mine.with_name("other.toml")
    other.write_text(rule("leap"))
    async with watching(mine, other) as it:
        mine.write_text(rule("leap"))
        await it.failures(1)
        assert it.watch.status.fault is not None
        assert (it.watch.status.fault.file, it.watch.status.fault.line) == (str(other), 2)
        other.write_text(rule("hop"))
        await it.loads(1)
        assert it.watch.rules.names[-2:] == ["leap", "hop"]


async def test_who_asks_need_not_wait(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulewatch, "LOOK_SECONDS", 3600.0)  # from the first pause on
    monkeypatch.setattr(rulewatch, "SETTLE_SECONDS", 3600.0)
    async with watching(mine) as it:
        await asyncio.sleep(0.1)
        mine.write_text(rule(when="change_5m >= 4"))
        it.watch.hurry()
        await it.loads(1)


async def test_rules_that_cannot_be_in_force_are_refused_at_the_start(mine: Path) -> None:
    mine.write_text(rule(when="nothing"))
    with pytest.raises(RulesError, match=rf"{mine}, line 4"):
        RulesWatch(MemoryBus(), SystemClock(), RuleSources("classic", (mine,)))


async def test_the_configuration_makes_shadow_rules(mine: Path) -> None:
    """Whatever the files say, also after they have changed."""
    sources = RuleSources("classic", (mine,), shadow=("jump", "flat_8h"))
    watch = RulesWatch(MemoryBus(), SystemClock(), sources)
    assert {rule.name for rule in watch.rules if rule.shadow} == {"jump", "flat_8h"}
    mine.write_text(rule("leap", more="shadow = true") + rule(when="change_5m >= 9"))
    later = RulesWatch(MemoryBus(), SystemClock(), sources)
    assert {rule.name for rule in later.rules if rule.shadow} == {"jump", "flat_8h", "leap"}
    mine.write_text(rule("leap"))
    with pytest.raises(RulesError, match=r"rules\.shadow: there is no rule 'jump'"):
        RulesWatch(MemoryBus(), SystemClock(), sources)


async def test_what_happens_is_logged(mine: Path) -> None:
    with structlog.testing.capture_logs() as events:
        async with watching(mine) as it:
            mine.write_text(rule("leap") + rule("jump", "change_5m >= 7"))
            await it.loads(1)
            mine.write_text("[[rule]]")
            await it.failures(1)
    loaded, refused = (one for one in events if one["event"].startswith("rules "))
    assert (loaded["added"], loaded["changed"]) == (["leap"], ["jump"])
    assert "removed" not in loaded
    assert (refused["log_level"], refused["where"]) == ("warning", f"{mine}, line 1, column 1")
