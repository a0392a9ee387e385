"""A process of one role, at the clock of the test that starts it.

`clustered.py ROLE`; its orders come on standard input, a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from careless import be_careless
from killing import SharedClock

from screenerd import logs
from screenerd.cluster import parts, process, service
from screenerd.config import Config


def main(role: str) -> None:
    orders = json.loads(sys.stdin.readline())
    config, clock = Config.model_validate(orders["config"]), SharedClock(**orders["clock"])
    logs.set_up(config.log)
    be_careless(orders["careless"])
    parts.MOST_WAITING = orders["most_waiting"]
    if role == "serve":
        asyncio.run(service.serve(config, clock=clock))
    else:
        asyncio.run(process.run(role, config, clock=clock))


if __name__ == "__main__":
    main(*sys.argv[1:])
