"""Which symbols are followed, read from exchangeInfo; never guessed from a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from screenerd.exchange.binance.messages import UnknownFrameError

DEFAULT_WEIGHT_LIMIT = 2400
"""Weight a minute, where exchangeInfo does not say."""


@dataclass(frozen=True, slots=True)
class Universe:
    """What exchangeInfo says: the symbols to follow, sorted, and the weight limit a minute."""

    symbols: tuple[str, ...]
    weight_limit: int


def parse_universe(body: bytes, *, quote: str = "USDT", tradfi: bool = False) -> Universe:
    """Symbols that trade and are perpetual, quoted in `quote`.

    Args:
        body: the answer of exchangeInfo. Unknown types, states and fields are no error.
        quote: the quote asset.
        tradfi: whether perpetuals on shares, metals and the like are followed too.

    Raises:
        UnknownFrameError: the answer does not list symbols.
    """
    try:
        info = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnknownFrameError(f"exchangeInfo: not JSON: {error}") from error
    if not isinstance(info, dict) or not isinstance(info.get("symbols"), list):
        raise UnknownFrameError('exchangeInfo: no list "symbols"')
    kinds = {"PERPETUAL", "TRADIFI_PERPETUAL"} if tradfi else {"PERPETUAL"}
    followed = {
        entry["symbol"]
        for entry in info["symbols"]
        if isinstance(entry, dict)
        and isinstance(entry.get("symbol"), str)
        and entry.get("contractType") in kinds
        and entry.get("status") == "TRADING"
        and entry.get("quoteAsset") == quote
    }
    return Universe(tuple(sorted(followed)), _weight_limit(info.get("rateLimits")))


def _weight_limit(limits: Any) -> int:
    for limit in limits if isinstance(limits, list) else ():
        if (
            isinstance(limit, dict)
            and limit.get("rateLimitType") == "REQUEST_WEIGHT"
            and limit.get("interval") == "MINUTE"
            and limit.get("intervalNum") == 1
            and isinstance(limit.get("limit"), int)
        ):
            return int(limit["limit"])
    return DEFAULT_WEIGHT_LIMIT
