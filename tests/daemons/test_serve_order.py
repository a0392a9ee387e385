"""An alert does not wait for what else the bus brings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from scripted import candle
from served import an_alert, serving

from screenerd.model import MINUTE_MS, Candle, CandleBatch
from screenerd.serve.board import Board

pytestmark = pytest.mark.asyncio
BATCHES = 50


async def test_an_alert_passes_candles_that_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def take(board: Board, candles: Iterable[Candle]) -> None:  # noqa: ARG001
        taken.append(len(taken))

    async with serving(tmp_path / "s.db") as served, served.socket() as listener:
        await listener.say({"type": "subscribe", "channels": ["alerts"]})
        await listener.hear("subscribed")
        monkeypatch.setattr(Board, "take_candles", take)
        heard_after: list[int] = []
        publish = served.serve.hub.publish

        def tell(*given: Any, **more: Any) -> None:
            heard_after.append(len(taken))
            publish(*given, **more)

        monkeypatch.setattr(served.serve.hub, "publish", tell)
        for number in range(BATCHES):
            batch = CandleBatch("binance", (candle("BTCUSDT", number),))
            await served.bus.publish(batch)
        await served.bus.publish(an_alert(served.now + MINUTE_MS))
        await listener.hear("alert")
        assert heard_after[0] <= 2
        while len(taken) < BATCHES:
            await served.get("/health/live")
