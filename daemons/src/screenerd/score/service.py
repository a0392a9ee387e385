"""The role: every alert is scored once its longest horizon is over, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import polars as pl
import structlog

from screener import ScreenerError
from screenerd.clock import Clock
from screenerd.model import MINUTE_MS, Alert, AlertScore
from screenerd.score.measure import (
    LONGEST_MS,
    is_whole,
    measured,
    minutes_of,
    over_at,
    spans,
    unmeasured,
)
from screenerd.store.port import Store, StoreError

log = structlog.get_logger("score")

AT_ONCE: Final = 25
"""Alerts of one piece: at most some 6,000 minutes, ten milliseconds of a processor."""

LATE_MS: Final = 3 * MINUTE_MS
"""Minutes may be late for so long before anybody looks at them."""

PATIENCE_MS: Final = 12 * 60 * MINUTE_MS
"""So long after its end a horizon may have holes: minutes are asked for again until then."""

LOOK_SECONDS: Final = 30.0
LOOK_AGAIN_SECONDS: Final = 900.0
"""Alerts whose minutes were missing, or that were stored late, are looked at so often."""

PAUSE_SECONDS: Final = 0.05
"""Of the machine, between two pieces."""

QUIET_MS: Final = 30_000
"""How long after the start of a minute nothing else is to be done."""


@dataclass(slots=True)
class ScoreStatus:
    """What Prometheus asks of this role.

    Attributes:
        scored: alerts scored since the start.
        unknown: those among them of which some horizon stays unknown.
        waiting: alerts whose minutes were missing when they were last looked at.
    """

    scored: int = 0
    unknown: int = 0
    waiting: int = 0


class Score:
    """Reads alerts and minutes from the store, and puts their scores there."""

    def __init__(self, store: Store, clock: Clock, *, exchange: str) -> None:
        """Takes its ports.

        Args:
            store: what it reads from and writes to.
            clock: market time.
            exchange: whose alerts.
        """
        self.status = ScoreStatus()
        self._store, self._clock, self._exchange = store, clock, exchange
        self._after = (0, "")
        self._waiting = 0
        self._began = clock.monotonic()

    async def run(self) -> None:
        """Scores until cancelled.

        Its thread has no lower priority: put aside while it holds the interpreter, it would hold up
        everybody. It is quick instead, and works when little else is to be done.
        """
        with ThreadPoolExecutor(1, "score") as beside:
            while True:
                await self._quiet()
                try:
                    more = await self._piece(beside)
                except StoreError as error:
                    log.warning("not scored", error=str(error))
                    more = False
                if more:
                    await asyncio.sleep(PAUSE_SECONDS)
                else:
                    await self._clock.sleep(LOOK_SECONDS)

    async def _quiet(self) -> None:
        """Waits for the second half of the minute: in the first the screener has to be quick."""
        past = self._clock.now_ms() % MINUTE_MS
        if past < QUIET_MS:
            await self._clock.sleep((QUIET_MS - past) / 1000)

    async def _piece(self, beside: ThreadPoolExecutor) -> bool:
        """Scores the next few alerts; whether there may be more."""
        now = self._clock.now_ms()
        alerts = await self._store.unscored(
            self._exchange, self._after, now - LONGEST_MS - LATE_MS, AT_ONCE
        )
        if not alerts:
            self._begin_again()
            return False
        self._after = (alerts[-1].triggered_at, alerts[-1].id)
        minutes = await self._store.stretches(self._exchange, spans(alerts))
        loop = asyncio.get_running_loop()
        scores = await loop.run_in_executor(beside, _scores, alerts, minutes)
        final = [
            score
            for alert, score in zip(alerts, scores, strict=True)
            if is_whole(score) or now >= over_at(alert) + PATIENCE_MS
        ]
        await self._store.write_scores(final)
        self._waiting += len(scores) - len(final)
        self.status.scored += len(final)
        self.status.unknown += sum(not is_whole(score) for score in final)
        return True

    def _begin_again(self) -> None:
        """Now and then all alerts without a score are looked at once more."""
        now = self._clock.monotonic()
        if now - self._began >= LOOK_AGAIN_SECONDS:
            self.status.waiting, self._waiting = self._waiting, 0
            self._after, self._began = (0, ""), now


def _scores(alerts: Sequence[Alert], minutes: pl.DataFrame) -> list[AlertScore]:
    """The scores of alerts; one that cannot be measured does not keep the others from it."""
    try:
        return measured(alerts, minutes)
    except ScreenerError as error:
        if len(alerts) == 1:
            log.warning("alert cannot be scored", id=alerts[0].id, error=str(error))
            return [unmeasured(alerts[0])]
    return [score for one in alerts for score in _scores([one], minutes_of(one, minutes))]
