"""What a judge knew before it died: from the file of a clean stop, or else from the store."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path

import screener
from screenerd.clock import Clock
from screenerd.columns import TIMEFRAMES
from screenerd.model import MINUTE_MS, Alert, Candle
from screenerd.screen import state
from screenerd.screen.judge import Judge
from screenerd.screen.scope import Scope
from screenerd.store.port import FOREVER, Past
from screenerd.switches import without

REWIND_MS = 60 * MINUTE_MS
"""After a crash what arrived in so long before the newest stored minute is judged again, however
old its minutes are: it may have been stored and not judged when the process died. Alerts that are
stored already are not raised again."""

WARM_UP_MS = 1441 * MINUTE_MS
SYMBOLS_AT_ONCE = 50
JOURNAL_AT_ONCE = 50_000
"""So many minutes are read of the journal at once: an hour of 800 symbols, some 40 MB."""

CANDLES_AT_ONCE = 1_000
"""So many of the past are judged, or taken as history, before others of the process have a turn."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Brings a judge to where it was.

    Attributes:
        store: what happened.
        clock: what tells the time.
        exchange: whose candles.
        scope: which part of the work is the judge's.
        state_file: where a clean stop has left the engine, if anywhere.
        publish: tells alerts that were not raised before the crash.
    """

    store: Past
    clock: Clock
    exchange: str
    scope: Scope
    state_file: Path | None
    publish: Callable[[Sequence[Alert]], Awaitable[None]]

    async def run(self, judge: Judge) -> None:
        """The engine as it was saved, or else as the store has it.

        What closed before the very first start is not judged, nor what closed before a symbol was
        listed: it was nobody's.

        Raises:
            StoreError: the store does not answer, or not rightly.
        """
        judge.switches = await self.store.rule_switches()
        await judge.apply_rules()
        mark, now = f"screen:{self.exchange}", self.clock.now_ms()
        [judge.judged_from] = await self.store.first_seen([mark], now - MINUTE_MS)
        judge.listed = await self.store.judged_from(self.exchange)
        held = await self.store.newest(self.exchange)
        symbols = self.scope.symbols(held)
        newest = max((held[symbol] for symbol in symbols), default=None)
        if newest is not None and not await self._load(judge, newest):
            await self._read(judge, symbols, newest)

    async def noted_since(self, rules: screener.RuleSet) -> dict[str, int]:
        """When each rule came into force as it is, by name, ms; 0 where nobody knows.

        A rule that was not heard of before is noted as in force from now on; those of the very
        first start were so before it.
        """
        names = ["rules", *(f"rule:{rule.name}:{rule.version}" for rule in rules)]
        first, *since = await self.store.first_seen(names, self.clock.now_ms())
        return {rule.name: 0 if at <= first else at for rule, at in zip(rules, since, strict=True)}

    async def _load(self, judge: Judge, newest: int) -> bool:
        if self.state_file is None:
            return False
        kept = await asyncio.to_thread(state.take, self.state_file, newest=newest)
        if kept is None:
            return False
        judge.engine, judge.judged_from = kept
        await judge.apply_rules()
        judge.status.last_minute = newest
        return True

    async def _read(self, judge: Judge, symbols: Sequence[str], newest: int) -> None:
        """Warms up to the last hour, restores cooldowns, and judges that hour as it arrived."""
        rewound = newest - REWIND_MS
        oldest = await self.store.oldest_arrival(
            self.exchange, rewound, opens_from=judge.judged_from
        )
        judge.judged_from = max(judge.judged_from, min(rewound, oldest or rewound))
        for timeframe in TIMEFRAMES:
            bars = await self.store.bars(self.exchange, timeframe, symbols=symbols)
            judge.engine.warm_up_bars(bars, timeframe)
        start = judge.judged_from - WARM_UP_MS
        for at in range(0, len(symbols), SYMBOLS_AT_ONCE):
            some = symbols[at : at + SYMBOLS_AT_ONCE]
            judge.engine.warm_up(
                await self.store.minutes(self.exchange, some, start, judge.judged_from)
            )
        alerts = await self.store.alerts(start, symbols=symbols)
        await self._judge_again(judge, self._arrivals(judge, symbols), alerts)

    async def _arrivals(
        self, judge: Judge, symbols: Sequence[str]
    ) -> AsyncGenerator[Sequence[Candle]]:
        """What arrived of the minutes to be judged again, page by page: it may be days of them."""
        after: int | None = 0
        while after is not None:
            page = await self.store.journal(
                self.exchange,
                judge.judged_from,
                FOREVER,
                opens_from=judge.judged_from,
                symbols=symbols,
                after=after,
                limit=JOURNAL_AT_ONCE,
            )
            after = page.after
            # What was listed meanwhile is in the journal, too.
            judge.listed = await self.store.judged_from(self.exchange)
            if page.candles:
                yield page.candles

    async def _judge_again(
        self, judge: Judge, arrivals: AsyncGenerator[Sequence[Candle]], alerts: Sequence[Alert]
    ) -> None:
        """What arrived in the last hour, by each rule from when it came into force as it is.

        Cooldowns come from the alerts before that; those in it are known, and not told again.
        """
        rules, now = judge.engine.rules, self.clock.now_ms()
        candles = await anext(arrivals, None)
        judge.restore([alert for alert in alerts if alert.triggered_at <= judge.judged_from])
        judge.known = {
            (alert.id, alert.state) for alert in alerts if alert.triggered_at > judge.judged_from
        }
        since = await self.noted_since(rules)
        arrived = candles[0].received_at if candles else now
        missing = {name for name, at in since.items() if at > arrived}
        if missing and len(missing) < len(since):
            await judge.set_rules(without(rules, missing))
        while candles:
            for run in runs(candles, since.values(), judge.is_history):
                if begun := {name for name in missing if since[name] <= run[0].received_at}:
                    missing -= begun
                    await _begin(judge, without(rules, missing), begun, alerts)
                if len(missing) == len(since) or judge.is_history(run[0]):
                    judge.warm_up(run)
                else:
                    for candle in run:
                        await self.publish(judge.judge([candle]))
                # What others of this process have to tell, that it lives for one, does not wait.
                await asyncio.sleep(0)
            candles = await anext(arrivals, None)
        if missing:
            await _begin(judge, rules, missing, alerts)
        judge.known.clear()


async def _begin(
    judge: Judge, rules: screener.RuleSet, begun: Collection[str], alerts: Sequence[Alert]
) -> None:
    """Some rules are in force from here on; as others of their names they may have raised."""
    await judge.set_rules(rules)
    judge.restore([alert for alert in alerts if alert.rule in begun])


def runs(
    candles: Iterable[Candle], since: Iterable[int], is_history: Callable[[Candle], bool]
) -> Iterator[Sequence[Candle]]:
    """Candles in order of arrival, as many together as are taken alike, `CANDLES_AT_ONCE` at most.

    All of a run are history or none is, no rule comes into force (`since`, ms) within it, and its
    minutes do not go back: an engine that is given it whole takes it in this order.
    """
    begins = sorted(since)
    run: list[Candle] = []
    kind: tuple[int, bool] | None = None
    for candle in candles:
        its = bisect_right(begins, candle.received_at), is_history(candle)
        goes_on = its == kind and len(run) < CANDLES_AT_ONCE
        if run and not (goes_on and run[-1].open_time <= candle.open_time):
            yield run
            run = []
        kind = its
        run.append(candle)
    if run:
        yield run
