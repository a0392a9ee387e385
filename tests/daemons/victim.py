"""The process that the tests kill. It tells how far it has come, a line at a time.

`victim.py up` runs every role once it is sent its orders, in a line. `victim.py write PATH` does
one minute's work on a store, and `victim.py boast PATH` does it wrongly: it tells what is done
before it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import structlog
from killing import NOW, Orders, minutes_work
from scripted import MovedClock

from screenerd.config import Config, ExchangeConfig, RulesConfig, StoreConfig
from screenerd.run import Roles, up
from screenerd.serve.settings import ServeConfig
from screenerd.store.sqlite import SqliteStore, writer


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def run_all(orders: Orders) -> None:
    config = Config(
        exchange=ExchangeConfig(rest_url=orders.rest_url, stream_url=orders.stream_url),
        store=StoreConfig(path=orders.path),
        serve=ServeConfig(port=0),
        rules=RulesConfig(name=str(orders.rules), floors=False),
    )
    ready: asyncio.Future[Roles] = asyncio.get_running_loop().create_future()
    watching = asyncio.create_task(watch(ready))
    try:
        await up(config, clock=orders.clock, ready=ready)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    tell("stopped")


async def watch(ready: asyncio.Future[Roles]) -> None:
    """Tells each phase, then up to when every symbol is complete."""
    roles = await ready
    tell("assembled")
    await roles.screen.rebuilt.wait()
    tell("rebuilt", roles.screen.judged_from)
    while not roles.ingest.status.started:
        await asyncio.sleep(0.002)
    tell("filled")
    first = complete = min(roles.ingest.known_until().values())
    while True:
        complete = min(roles.ingest.known_until().values())
        if complete > first:
            tell("following", complete)
            first = complete
        await asyncio.sleep(0.01)


async def work(path: Path, *, boasting: bool) -> None:
    """One minute's work, each step told once it is committed."""
    # Every commit is followed by a checkpoint, so that its calls are among those a kill comes at.
    vars(writer)["_CHECKPOINT_ROWS"] = 1
    async with SqliteStore(path, MovedClock(NOW)) as store:
        for word, step in minutes_work(store):
            if boasting:
                tell(word)
                await step()
            else:
                await step()
                tell(word)


def main(role: str, *arguments: str) -> None:
    only_errors = structlog.make_filtering_bound_logger(40)
    to_stderr = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(wrapper_class=only_errors, logger_factory=to_stderr)
    if role != "up":
        asyncio.run(work(Path(arguments[0]), boasting=role == "boast"))
        return
    tell("loaded")
    if orders := sys.stdin.readline():
        asyncio.run(run_all(Orders.parse(orders)))


if __name__ == "__main__":
    main(*sys.argv[1:])
