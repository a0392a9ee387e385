"""`screener fetch` killed with SIGKILL again and again ends with the market's own minutes."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from random import Random

import pytest
from fetching import END, START, Rig, rigged, stored, truth, until

from screener.history import Store
from screener.history.absent import absent_spans
from screenerd.model import MINUTE_MS


async def killed(rig: Rig, root: Path, random: Random) -> bool:
    """Runs the command and kills it after some requests, or while it writes; whether it died."""
    process = await asyncio.create_subprocess_exec(
        *rig.command(root),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    enough = rig.asked + random.randint(3, 16)
    while_writing = random.random() < 0.5

    def reached() -> bool:
        if process.returncode is not None:
            return True
        if rig.asked < enough:
            return False
        return not while_writing or any(root.rglob(".screener-*.tmp")) or rig.asked >= enough + 8

    await until(reached)
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    return await process.wait() == -signal.SIGKILL


async def finish(rig: Rig, root: Path) -> dict[str, object]:
    """Runs the command to its end; what it tells."""
    process = await asyncio.create_subprocess_exec(
        *rig.command(root, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    document: dict[str, object] = json.loads(out)
    return document


async def is_the_market(symbols: int, kills: int, root: Path, seed: int) -> None:
    random = Random(seed)
    async with rigged(symbols, seed=seed) as rig:
        died = [await killed(rig, root, random) for _ in range(kills)]
        assert sum(died) == kills, "it was done before it was killed as often: ask for more"
        told = await finish(rig, root)
        assert told["complete"]
        store = Store(root)
        assert stored(store).equals(truth(rig.market, rig.planted))
        for symbol in rig.symbols:
            lost = {at for name, at in rig.planted.lost if name == symbol}
            spans = absent_spans(store, symbol)
            assert {at for low, high in spans for at in range(low, high, MINUTE_MS)} == lost
        before = rig.asked
        again = await finish(rig, root)
    assert (again["stored"], again["absent"], again["held"]) == (0, 0, again["minutes"])
    assert rig.asked - before == 2, "what is stored is asked for again"
    assert not [*root.rglob(".screener-*.tmp")]


@pytest.mark.asyncio
async def test_killed_and_run_again_it_ends_complete(tmp_path: Path) -> None:
    await is_the_market(symbols=5, kills=8, root=tmp_path, seed=11)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_killed_fifty_times_it_ends_complete(tmp_path: Path) -> None:
    await is_the_market(symbols=20, kills=50, root=tmp_path, seed=12)


def test_a_month_is_meant() -> None:
    assert (END - START) // MINUTE_MS == 28 * 1440
