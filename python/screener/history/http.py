"""The exchange and its archive by request, within the weight budget; the only module with a socket.

Needs `screener[history]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from screener.errors import DataError, SourceError
from screener.history import archive, folders, layout, rest, weight

__all__ = ["HttpSource", "Traffic", "open_source"]

ATTEMPTS: Final = 5
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
LONGEST_SLEEP: Final = 5.0

_TIMEOUT = aiohttp.ClientTimeout(total=300, connect=10, sock_read=30)
_LARGEST_ANSWER: Final = 64 << 20
_NO_SUCH_SYMBOL: Final = -1121


@dataclass(slots=True)
class Traffic:
    """What has gone over the wire.

    Attributes:
        requests: requests that were sent.
        bytes: bytes of the answers' bodies.
        retries: requests that were sent again.
        weight: what they cost of the exchange's budget, by our own count.
    """

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    weight: int = 0


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def _clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class HttpSource:
    """Binance USDⓈ-M: minutes by its archive and by REST.

    Requests wait for their weight, a refusal (429, 418) is obeyed, and what fails is tried again.

    Attributes:
        session: The connections; stay the caller's.
        rest_url: Where REST is.
        archive_url: Where the archive is.
        listing_url: Where its folders are listed.
        at_once: How many requests may be on their way to each of the two.
        clock: Tells the time, ms.
        sleep: Waits for so many seconds.
        traffic: What has gone over the wire.
    """

    session: aiohttp.ClientSession
    rest_url: str = rest.REST_URL
    archive_url: str = layout.ARCHIVE_URL
    listing_url: str = layout.LISTING_URL
    at_once: int = 8
    clock: Callable[[], int] = _clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    traffic: Traffic = field(default_factory=Traffic)
    budget: weight.Budget = field(default_factory=lambda: weight.Budget(weight.DEFAULT_LIMIT))
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)

    async def server_time(self) -> int:
        """The exchange's time, ms.

        Raises:
            SourceError: There was no usable answer.
        """
        answer = await self._rest("/fapi/v1/time", {}, 1)
        if not isinstance(answer, dict) or not isinstance(answer.get("serverTime"), int):
            raise SourceError(reason="the answer tells no time", path=self.rest_url)
        return int(answer["serverTime"])

    async def universe(self) -> rest.Universe:
        """What is traded, and the weight limit, which is kept from now on.

        Raises:
            SourceError: There was no usable answer.
        """
        found = rest.universe(await self._rest("/fapi/v1/exchangeInfo", {}, 1))
        self.budget.limit = found.weight_limit
        return found

    async def turnovers(self) -> dict[str, float]:
        """What each symbol traded in the last day, in its quote asset.

        Raises:
            SourceError: There was no usable answer.
        """
        return rest.turnovers(await self._rest("/fapi/v1/ticker/24hr", {}, 40))

    async def klines(self, symbol: str, start: int, end: int) -> list[object] | None:
        """Rows of the minutes that open in [start, end) ms, at most a page.

        Returns:
            The rows as the exchange gives them; `None` where it knows no such symbol.

        Raises:
            SourceError: There was no usable answer.
        """
        limit = (end - start) // 60_000
        span = {"startTime": str(start), "endTime": str(end - 1), "limit": str(limit)}
        query = {"symbol": symbol, "interval": "1m", **span}
        try:
            rows = await self._rest(rest.KLINES, query, weight.klines_weight(limit))
        except SourceError as error:
            if error.code == _NO_SUCH_SYMBOL:
                return None
            raise
        if not isinstance(rows, list):
            raise SourceError(reason=f"klines of {symbol}: not a list", path=self.rest_url)
        return rows

    async def archive_file(self, symbol: str, period: str) -> bytes | None:
        """A file of the archive that is what its checksum says.

        Args:
            symbol: Whose minutes.
            period: A month (`2025-02`) or a day (`2025-02-03`).

        Returns:
            The zip file; `None` where the archive has none, or no checksum of it.

        Raises:
            DataError: The checksum is wrong, also the second time.
            SourceError: There was no usable answer.
        """
        path = layout.archive_path(symbol, period)
        name = layout.file_name(symbol, period)
        for is_last in (False, True):
            said = await self._archive(path + layout.CHECKSUM_SUFFIX)
            data = None if said is None else await self._archive(path)
            if data is None or said is None:
                return None
            try:
                archive.verify(data, archive.checksum(said, name), name)
            except DataError:
                if is_last:
                    raise
            else:
                return data
        return None

    async def archive_names(self, prefix: str) -> list[str]:
        """What lies in a folder of the archive, without the folder's own name.

        Args:
            prefix: The folder, as `layout.archive_folder` names it.

        Raises:
            DataError: The answers are no listing, or have no end.
            SourceError: There was no usable answer.
        """

        async def page(after: str | None) -> bytes:
            answer = await self._get(self.listing_url, "/", folders.query(prefix, after), 0)
            if answer.status == HTTPStatus.NOT_FOUND:
                raise SourceError(
                    reason="there is no listing",
                    path=self.listing_url,
                    status=answer.status,
                    remedy="check the address",
                )
            return answer.body

        return await folders.names_in(page, prefix)

    # -- requests --------------------------------------------------------------------------------

    async def _archive(self, path: str) -> bytes | None:
        answer = await self._get(self.archive_url, path, {}, 0)
        return None if answer.status == HTTPStatus.NOT_FOUND else answer.body

    async def _rest(self, path: str, query: Mapping[str, str], cost: int) -> object:
        answer = await self._get(self.rest_url, path, query, cost)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise SourceError(
                reason="there is no such route",
                path=self.rest_url + path,
                status=answer.status,
                remedy="check the address",
            )
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise SourceError(
                reason=f"the answer is no JSON; it starts with {_excerpt(answer.body)!r}",
                path=self.rest_url + path,
                status=answer.status,
                remedy="check the address, and whether something between answers in its place",
            ) from error

    async def _get(self, url: str, path: str, query: Mapping[str, str], cost: int) -> _Answer:
        """An answer of status 200 or 404, tried again where that may help."""
        trouble = SourceError(reason="not asked", path=url + path)
        async with self._slots.setdefault(url, asyncio.Semaphore(self.at_once)):
            for attempt in range(ATTEMPTS):
                if attempt:
                    self.traffic.retries += 1
                    await self.sleep(min(FIRST_WAIT * 2.0 ** (attempt - 1), LONGEST_WAIT))
                try:
                    answer = await self._ask(url.rstrip("/") + path, query, cost)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    trouble = _no_answer(url, error)
                    continue
                if answer.status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    return answer
                trouble = self._refusal(answer, url + path)
        raise trouble

    async def _ask(self, url: str, query: Mapping[str, str], cost: int) -> _Answer:
        while cost and (wait := self.budget.wait_ms(cost, self.clock())):
            await self.sleep(min(wait / 1000, LONGEST_SLEEP))
        self.traffic.requests += 1
        self.traffic.weight += cost
        # The path is encoded already, and must not be so twice.
        address = URL(url, encoded=True).update_query(query)
        async with self.session.get(address, timeout=_TIMEOUT, allow_redirects=False) as response:
            body = await response.content.read(_LARGEST_ANSWER)
            while not response.content.at_eof() and len(body) < _LARGEST_ANSWER:
                body += await response.content.read(_LARGEST_ANSWER - len(body))
            answer = _Answer(response.status, response.headers, body)
        self.traffic.bytes += len(body)
        used = answer.headers.get(weight.HEADER, "")
        if used.isdigit():
            self.budget.answered(int(used), self.clock())
        return answer

    def _refusal(self, answer: _Answer, address: str) -> SourceError:
        """What to say if no later try succeeds.

        Raises:
            SourceError: No later try can.
        """
        status, said = answer.status, _excerpt(answer.body)
        code = _code(answer.body)
        error = SourceError(
            reason=f"status {status}: {said}",
            path=address,
            status=status,
            code=code,
            remedy="run it again later: what is stored is not asked for again",
        )
        match status:
            case 429 | 418:
                after = answer.headers.get("Retry-After", "")
                self.budget.refused(
                    status,
                    float(after) if after.replace(".", "", 1).isdigit() else None,
                    weight.banned_until(answer.body),
                    self.clock(),
                )
            case 451:
                error.reason = f"this location is not served (status 451): {said}"
                error.remedy = "run it from another region, or name another address"
                raise error
            case 403:
                error.reason = f"this address is refused (status 403): {said}"
                error.remedy = "wait, run it from another address, or name another server"
                raise error
            case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
                error.remedy = "check the address and the symbol"
                raise error
        return error


def _no_answer(url: str, error: Exception) -> SourceError:
    cause = getattr(error, "os_error", error)
    told = getattr(cause, "strerror", None) or str(cause) or type(error).__name__
    return SourceError(
        reason=f"no answer: {told}",
        path=url,
        remedy="check the network and the address, then run it again: what is stored is not asked "
        "for again",
    )


def _excerpt(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")


def _code(body: bytes) -> int | None:
    with contextlib.suppress(ValueError, AttributeError):
        code = json.loads(body).get("code")
        return code if isinstance(code, int) else None
    return None


@contextlib.asynccontextmanager
async def open_source(
    *,
    rest_url: str = rest.REST_URL,
    archive_url: str = layout.ARCHIVE_URL,
    listing_url: str | None = None,
    at_once: int = 8,
) -> AsyncIterator[HttpSource]:
    """A source with connections of its own, which are closed at the end.

    Args:
        rest_url: Where REST is.
        archive_url: Where the archive is.
        listing_url: Where its folders are listed; by default at the bucket of the exchange's own
            archive, and at the archive's address for any other.
        at_once: How many requests may be on their way to each of the two.
    """
    archive_url = archive_url.rstrip("/")
    if listing_url is None:
        is_own = archive_url == layout.ARCHIVE_URL
        listing_url = layout.LISTING_URL if is_own else archive_url
    connector = aiohttp.TCPConnector(limit=2 * at_once)
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
        yield HttpSource(
            session, rest_url.rstrip("/"), archive_url, listing_url.rstrip("/"), at_once
        )
