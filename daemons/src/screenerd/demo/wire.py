"""The exchange's side of the wire protocol as functions of values; no socket here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from screener.history import weight
from screenerd.demo.contracts import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    QUOTE,
    TAKER,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    Contract,
    Floats,
)
from screenerd.model import MINUTE_MS

INTERVALS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "8h": 480, "1d": 1440}
"""Minutes of the klines' intervals."""

MOST_ROWS = 1500
_USUAL_ROWS = 500
_PERPETUAL_UNTIL = 4_133_404_800_000
_TRADE_IDS_PER_MINUTE = 1_000_000


class ApiError(Exception):
    """A request that is refused; it costs its weight all the same."""

    def __init__(self, code: int, message: str, status: int = 400, retry_after: int = 0) -> None:
        """Takes the exchange's code and text, the HTTP status, seconds to wait (0: not said)."""
        super().__init__(f"{message} (code {code})")
        self.status = status
        self.retry_after = retry_after
        self.body = orjson.dumps({"code": code, "msg": message})


def klines_weight(limit: str | None) -> int:
    """What a klines request costs by its limit, as measured; without one it costs 5."""
    if limit is None:
        return 5
    return weight.klines_weight(int(limit) if limit.isdecimal() else 0)


@dataclass(slots=True)
class WeightMeter:
    """Counts the weight of requests in UTC minutes and refuses what is too much.

    Above the limit a request is answered 429. Who goes on is banned: 418, for two minutes, each
    time twice as long.

    Attributes:
        limit: weight a minute.
        patience: how many requests a minute are answered 429 before the ban.
        used: weight used in this minute.
        refused: requests answered 429 or 418.
    """

    limit: int
    patience: int = 10
    used: int = 0
    refused: int = 0
    _minute: int = 0
    _over: int = 0
    _ban_seconds: int = 120
    _banned_until: int = 0

    def spend(self, weight: int, now: int) -> None:
        """Takes the weight of a request.

        Raises:
            ApiError: it is too much.
        """
        if now < self._banned_until:
            raise self._ban(now)
        if now // MINUTE_MS != self._minute:
            self._minute, self.used, self._over = now // MINUTE_MS, 0, 0
        self.used += weight
        if self.used <= self.limit:
            return
        self._over += 1
        if self._over > self.patience:
            self._banned_until = now + self._ban_seconds * 1000
            self._ban_seconds *= 2
            raise self._ban(now)
        self.refused += 1
        text = (
            f"Too many requests; current limit of IP(127.0.0.1) is {self.limit} requests per minute"
            ". Please use the websocket for live updates to avoid polling the API."
        )
        left = (self._minute + 1) * MINUTE_MS - now
        raise ApiError(-1003, text, 429, -(-left // 1000))

    def _ban(self, now: int) -> ApiError:
        self.refused += 1
        text = (
            f"Way too many requests; IP(127.0.0.1) banned until {self._banned_until}. Please use "
            "the websocket for live updates to avoid bans."
        )
        return ApiError(-1003, text, 418, -(-(self._banned_until - now) // 1000))


@dataclass(frozen=True, slots=True)
class KlinesQuery:
    """What a klines request asks for: bar `n` begins at minute `n * length`."""

    symbol: int
    length: int
    first: int
    last: int


def parse_klines_query(
    query: Mapping[str, str], symbols: Mapping[str, int], now: int, first_minute: int
) -> KlinesQuery:
    """Reads the parameters of a klines request.

    Args:
        query: the parameters.
        symbols: index of each symbol.
        now: the exchange's time, ms.
        first_minute: the oldest minute there is.

    Raises:
        ApiError: one is missing or wrong.
    """
    length = INTERVALS.get(_required(query, "interval"))
    symbol = symbols.get(_required(query, "symbol"))
    if symbol is None:
        raise ApiError(-1121, "Invalid symbol.")
    if length is None:
        raise ApiError(-1120, "Invalid interval.")
    limit = _whole(query, "limit", _USUAL_ROWS)
    if not 1 <= limit <= MOST_ROWS:
        raise ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    bar = length * MINUTE_MS
    first, last = -(-first_minute // length), now // bar
    last = min(last, _whole(query, "endTime", now) // bar)
    if "startTime" in query:
        first = max(first, -(-_whole(query, "startTime", 0) // bar))
        return KlinesQuery(symbol, length, first, min(last, first + limit - 1))
    return KlinesQuery(symbol, length, max(first, last - limit + 1), last)


def _required(query: Mapping[str, str], name: str) -> str:
    if query.get(name):
        return query[name]
    text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
    raise ApiError(-1102, text)


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()):
        raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)


def klines_body(contract: Contract, length: int, bars: Sequence[int], rows: Floats) -> bytes:
    """The answer of klines.

    Args:
        contract: whose bars they are.
        length: minutes of a bar.
        bars: their numbers.
        rows: the bars, in the units of the contract.
    """
    o, h, low, c, v, q, n, tv, tq = contract.texts
    row = f'[%d,"{o}","{h}","{low}","{c}","{v}",%d,"{q}",{n},"{tv}","{tq}","0"]'
    columns = (rows / contract.scales).T.tolist()
    ms = length * MINUTE_MS
    opens = [bar * ms for bar in bars]
    closes = [open_ + ms - 1 for open_ in opens]
    texts = [
        row % cells for cells in zip(opens, *columns[:QUOTE], closes, *columns[QUOTE:], strict=True)
    ]
    return f"[{','.join(texts)}]".encode()


def kline_event(
    contract: Contract, minute: int, row: Sequence[float], event_time: int, *, closed: bool
) -> str:
    """The kline event of a minute, as raw streams send it; `row` has values, not units."""
    values = [text % value for text, value in zip(contract.texts, row, strict=True)]
    open_time = minute * MINUTE_MS
    first_id = minute * _TRADE_IDS_PER_MINUTE
    trades = int(row[TRADES])
    first, last = (first_id, first_id + trades - 1) if trades else (-1, -1)
    name = contract.symbol
    return (
        f'{{"e":"kline","E":{event_time},"s":"{name}","k":{{"t":{open_time},'
        f'"T":{open_time + MINUTE_MS - 1},"s":"{name}","i":"1m","f":{first},"L":{last},'
        f'"o":"{values[OPEN]}","c":"{values[CLOSE]}","h":"{values[HIGH]}","l":"{values[LOW]}",'
        f'"v":"{values[VOLUME]}","n":{trades},"x":{"true" if closed else "false"},'
        f'"q":"{values[QUOTE]}","V":"{values[TAKER]}","Q":"{values[TAKER_QUOTE]}","B":"0"}}}}'
    )


def combined(stream: str, event: str) -> str:
    """An event as combined streams send it."""
    return f'{{"stream":"{stream}","data":{event}}}'


def stream_of(symbol: str) -> str:
    """The name of a symbol's stream; only ASCII letters have a lower case here."""
    lower = "".join(letter.lower() if letter.isascii() else letter for letter in symbol)
    return f"{lower}@kline_1m"


def correct(row: Floats) -> Floats:
    """A final candle as it looked before its last trades were counted."""
    early = row.copy()
    early[CLOSE] = early[OPEN]
    early[TRADES] -= early[TRADES] > 1
    for column in (VOLUME, TAKER):
        early[column] = np.floor(early[column] * 0.9)
    for column in (QUOTE, TAKER_QUOTE):
        early[column] = np.rint(early[column] * 0.9)
    return early


def exchange_info(contracts: Iterable[Contract], now: int, weight_limit: int) -> bytes:
    """The answer of exchangeInfo; some entries are not for who follows perpetuals in USDT."""
    listed = [_listed(contract) for contract in contracts]
    listed += [
        _other("BTCUSDC", quoteAsset="USDC", marginAsset="USDC"),
        _other("BTCUSDT_261225", contractType="CURRENT_QUARTER", deliveryDate=1_798_185_600_000),
        _other("TSLAUSDT", contractType="TRADIFI_PERPETUAL", underlyingType="EQUITY"),
        _other("SRMUSDT", status="SETTLING", deliveryDate=1_700_000_000_000),
        _other("SOONUSDT", status="PENDING_TRADING"),
    ]
    limit = {"interval": "MINUTE", "intervalNum": 1}
    info = {
        "timezone": "UTC",
        "serverTime": now,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", **limit, "limit": weight_limit},
            {"rateLimitType": "ORDERS", **limit, "limit": 1200},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": listed,
    }
    return orjson.dumps(info)


def _other(symbol: str, **odd: Any) -> dict[str, Any]:
    return _listed(Contract(symbol, 2, 3, 5)) | odd


def _listed(contract: Contract) -> dict[str, Any]:
    base = contract.symbol.removesuffix("USDT")
    tick, lot = 10.0**-contract.price_decimals, 10.0**-contract.lot_decimals
    return {
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_UNTIL,
        "onboardDate": 1_577_836_800_000,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": contract.price_decimals,
        "quantityPrecision": contract.lot_decimals,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": f"{tick:.{contract.price_decimals}f}"},
            {"filterType": "LOT_SIZE", "stepSize": f"{lot:.{contract.lot_decimals}f}"},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def ticker(contract: Contract, row: Floats, now: int) -> dict[str, Any]:
    """The 24-hour statistics of a symbol, from one bar of the last day."""
    values = (row / contract.scales).tolist()
    texts = [text % value for text, value in zip(contract.texts, values, strict=True)]
    change = values[CLOSE] - values[OPEN]
    average = values[QUOTE] / values[VOLUME] if values[VOLUME] else values[CLOSE]
    price = contract.texts[CLOSE]
    return {
        "symbol": contract.symbol,
        "priceChange": price % change,
        "priceChangePercent": f"{change / values[OPEN] * 100:.3f}",
        "weightedAvgPrice": price % average,
        "lastPrice": texts[CLOSE],
        "openPrice": texts[OPEN],
        "highPrice": texts[HIGH],
        "lowPrice": texts[LOW],
        "volume": texts[VOLUME],
        "quoteVolume": texts[QUOTE],
        "openTime": now - 1440 * MINUTE_MS,
        "closeTime": now,
        "firstId": 0,
        "lastId": int(values[TRADES]),
        "count": int(values[TRADES]),
    }


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, and with which code and reason to close, if at all."""

    text: str | None = None
    close: tuple[int, str] | None = None


@dataclass(slots=True)
class Session:
    """The requests of one connection: its subscriptions and its limits.

    Attributes:
        combined: whether frames name their stream.
        most_streams: one more closes the connection.
        most_messages: one more in a second closes it.
        names: what was subscribed to, in order, whether it exists or not.
    """

    combined: bool
    most_streams: int = 1024
    most_messages: int = 10
    names: dict[str, None] = field(default_factory=dict)
    _arrivals: deque[int] = field(default_factory=deque)

    def receive(self, text: str | bytes, now: int) -> Reply:
        """Takes a message of the client.

        Args:
            text: the message.
            now: when it came, ms.
        """
        if self.too_many(now):
            return Reply(close=(1008, "Too many requests"))
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return _error(3, f"Invalid JSON: {error}")
        if not isinstance(message, dict):
            return _error(2, "Invalid request: not an object")
        number = message.get("id")
        if number is not None and (not isinstance(number, int) or number < 0):
            return _error(2, "Invalid request: request ID must be an unsigned integer")
        return self._request(message.get("method"), message.get("params", []), number)

    def too_many(self, now: int) -> bool:
        """Counts a message; whether it is one too many for its second."""
        while self._arrivals and self._arrivals[0] <= now - 1000:
            self._arrivals.popleft()
        self._arrivals.append(now)
        return len(self._arrivals) > self.most_messages

    def _request(self, method: object, params: object, number: int | None) -> Reply:
        if not isinstance(params, list):
            return _error(2, "Invalid request: params must be a list", number)
        match method:
            case "LIST_SUBSCRIPTIONS":
                return _result(list(self.names), number)
            case "GET_PROPERTY":
                return _result(self.combined, number)
            case "SET_PROPERTY" if len(params) == 2 and params[0] == "combined":
                self.combined = bool(params[1])
                return _result(None, number)
            case "SUBSCRIBE" | "UNSUBSCRIBE" if all(isinstance(name, str) for name in params):
                return self._change(str(method), params, number)
        return _error(2, "Invalid request: unknown method or parameters", number)

    def _change(self, method: str, params: list[str], number: int | None) -> Reply:
        if method == "UNSUBSCRIBE":
            for name in params:
                self.names.pop(name, None)
            return _result(None, number)
        self.names |= dict.fromkeys(params)
        if len(self.names) > self.most_streams:
            error = {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": number}
            return Reply(orjson.dumps(error).decode(), (1008, "Invalid request"))
        return _result(None, number)


def _result(result: object, number: int | None) -> Reply:
    return Reply(orjson.dumps({"result": result, "id": number}).decode())


def _error(code: int, message: str, number: int | None = None) -> Reply:
    error: dict[str, object] = {"code": code, "msg": message}
    return Reply(orjson.dumps(error if number is None else error | {"id": number}).decode())
