"""Which symbols are followed, read from exchangeInfo; never guessed from a name."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from screener.errors import DataError
from screener.history import rest
from screenerd.exchange.binance.messages import UnknownFrameError


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
        found = rest.universe(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise UnknownFrameError(f"exchangeInfo: not JSON: {error}") from error
    except DataError as error:
        raise UnknownFrameError(error.reason) from error
    return Universe(found.symbols(quote=quote, tradfi=tradfi), found.weight_limit)
