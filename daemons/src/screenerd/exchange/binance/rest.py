"""The exchange's REST interface, within its weight budget."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp

from screener.history import weight
from screener.history.rest import PAGE, REST_URL
from screenerd.backoff import Backoff
from screenerd.clock import Clock
from screenerd.exchange.binance import messages, symbols
from screenerd.exchange.port import ExchangeError, RefusedError, UnknownSymbolError
from screenerd.model import MINUTE_MS, Candle

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)
LARGEST_ANSWER = 32 << 20
ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class BinanceRest:
    """Symbols and history of Binance USDⓈ-M by request.

    Requests wait for their weight; at most `at_once` are on their way at a time.
    """

    name = "binance"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        clock: Clock,
        *,
        url: str = REST_URL,
        quote: str = "USDT",
        tradfi: bool = False,
        at_once: int = 8,
    ) -> None:
        """Takes a session, which stays the caller's."""
        self.budget = weight.Budget(weight.DEFAULT_LIMIT)
        self._session, self._clock, self._url = session, clock, url.rstrip("/")
        self._quote, self._tradfi = quote, tradfi
        self._slots = asyncio.Semaphore(at_once)
        self._backoff = Backoff(first=0.4, longest=30.0)
        self._alone = asyncio.Lock()
        self._resume_at = self._failed_at = 0.0

    async def symbols(self) -> tuple[str, ...]:
        """The symbols to follow now, sorted.

        Raises:
            ExchangeError: there was no usable answer.
        """
        answer = await self._get("/fapi/v1/exchangeInfo", {}, 1)
        try:
            universe = symbols.parse_universe(answer.body, quote=self._quote, tradfi=self._tradfi)
        except messages.UnknownFrameError as error:
            raise ExchangeError(error.reason) from error
        self.budget.limit = universe.weight_limit
        return universe.symbols

    async def minutes(self, symbol: str, start: int, end: int) -> list[Candle]:
        """Closed minutes that open in [start, end) ms, oldest first; those that exist.

        Raises:
            ExchangeError: there was no usable answer.
        """
        found: list[Candle] = []
        while start < end:
            wanted = min(PAGE, messages.minutes_between(start, end))
            page = await self._minutes_page(symbol, start, end, wanted)
            found.extend(candle for candle in page if start <= candle.open_time < end)
            if len(page) < wanted:
                break
            start = page[-1].open_time + MINUTE_MS
        return found

    async def bars(self, symbol: str, timeframe: str, count: int) -> list[tuple[int, float]]:
        """The newest closed bars as (open_time, close), oldest first; at most 1500.

        Raises:
            ExchangeError: there was no usable answer.
        """
        now = self._clock.now_ms()
        length = messages.TIMEFRAME_MS[timeframe]
        only_closed = {"endTime": str(now - now % length - 1), "limit": str(count)}
        answer = await self._klines(symbol, timeframe, only_closed, count)
        try:
            return messages.parse_bars(answer.body, symbol, now=now)
        except messages.UnknownFrameError as error:
            raise ExchangeError(error.reason) from error

    async def _minutes_page(self, symbol: str, start: int, end: int, wanted: int) -> list[Candle]:
        span = {"startTime": str(start), "endTime": str(end - 1), "limit": str(wanted)}
        answer = await self._klines(symbol, "1m", span, wanted)
        now = self._clock.now_ms()
        try:
            return messages.parse_klines(answer.body, symbol, now, now=now)
        except messages.UnknownFrameError as error:
            raise ExchangeError(error.reason) from error

    async def _klines(
        self, symbol: str, interval: str, more: Mapping[str, str], limit: int
    ) -> _Answer:
        query = {"symbol": symbol, "interval": interval, **more}
        return await self._get("/fapi/v1/klines", query, weight.klines_weight(limit))

    async def _get(self, path: str, query: Mapping[str, str], cost: int) -> _Answer:
        """An answer of status 200, within the budget, tried again where that may help."""
        trouble = ""
        async with self._slots:
            for _ in range(ATTEMPTS):
                async with self._turn() as began:
                    try:
                        answer = await self._ask(path, query, cost)
                        if answer.status == 200:
                            self._backoff.succeeded()
                            return answer
                        trouble = self._trouble(answer, path, query)
                    except (aiohttp.ClientError, TimeoutError) as error:
                        trouble = f"{type(error).__name__}: {error}"
                    self._failed(began)
        raise ExchangeError(f"{path} {dict(query)}: no answer after {ATTEMPTS} tries: {trouble}")

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[float]:
        """While the exchange fails, one request at a time asks whether it is back."""
        if not self._backoff.failures:
            yield self._clock.monotonic()
            return
        async with self._alone:
            await self._clock.sleep(max(0.0, self._resume_at - self._clock.monotonic()))
            yield self._clock.monotonic()

    def _failed(self, began: float) -> None:
        """Counts a failure; requests that were on their way together count as one."""
        if began >= self._failed_at:
            self._failed_at = self._clock.monotonic()
            self._resume_at = self._failed_at + self._backoff.failed()

    async def _ask(self, path: str, query: Mapping[str, str], cost: int) -> _Answer:
        while wait := self.budget.wait_ms(cost, self._clock.now_ms()):
            await self._clock.sleep(min(wait / 1000, 5.0))
        request = self._session.get(
            self._url + path, params=dict(query), timeout=TIMEOUT, allow_redirects=False
        )
        async with request as response:
            body = await response.content.read(LARGEST_ANSWER)
            while not response.content.at_eof() and len(body) < LARGEST_ANSWER:
                body += await response.content.read(LARGEST_ANSWER - len(body))
            answer = _Answer(response.status, response.headers, body)
        used = answer.headers.get(weight.HEADER, "")
        if used.isdigit():
            self.budget.answered(int(used), self._clock.now_ms())
        return answer

    def _trouble(self, answer: _Answer, path: str, query: Mapping[str, str]) -> str:
        """What an answer other than 200 says.

        Raises:
            RefusedError: this address is not served.
            UnknownSymbolError: the symbol is not known.
            ExchangeError: the request itself is wrong.
        """
        text = answer.body[:300].decode("utf-8", "replace")
        said = f"{path} {dict(query)}: status {answer.status}: {text}"
        match answer.status:
            case 429 | 418:
                after = answer.headers.get("Retry-After", "")
                self.budget.refused(
                    answer.status,
                    float(after) if after.replace(".", "", 1).isdigit() else None,
                    weight.banned_until(answer.body),
                    self._clock.now_ms(),
                )
            case 451:
                raise RefusedError(
                    "the exchange does not serve this location (status 451): run from another "
                    f"region, or set another REST address. {said}"
                )
            case 403:
                raise RefusedError(f"the exchange's firewall refuses this address. {said}")
            case 400:
                self._backoff.succeeded()
                raise (UnknownSymbolError if "-1121" in text else ExchangeError)(said)
        return said
