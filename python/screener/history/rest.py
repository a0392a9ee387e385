"""The exchange's REST answers as values: rows of klines, and what is traded. No socket here.

Everything takes parsed JSON, so that the daemons read the same rows with their own parser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from screener.errors import DataError
from screener.history.precedence import VALUES
from screener.history.weight import DEFAULT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

__all__ = [
    "KLINES",
    "PAGE",
    "REST_URL",
    "Contract",
    "Kline",
    "Universe",
    "kline",
    "klines_frame",
    "turnovers",
    "universe",
]

REST_URL: Final = "https://fapi.binance.com"
KLINES: Final = "/fapi/v1/klines"
PAGE: Final = 500
"""Rows a request: the most for a weight of 2, and the most for a weight."""

PERPETUAL: Final = "PERPETUAL"
TRADFI: Final = "TRADIFI_PERPETUAL"
TRADING: Final = "TRADING"


class Kline(NamedTuple):
    """A row of the klines route: times in ms, prices in the quote asset."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int
    taker_buy_volume: float
    taker_buy_quote_volume: float
    close_time: int


def kline(row: Sequence[Any]) -> Kline:
    """A row as values: whole numbers are whole, decimals come as text.

    Raises:
        IndexError: A value is missing.
        TypeError: One is of another kind.
        ValueError: A text is no number.
    """
    return Kline(
        _whole(row[0]),
        _number(row[1]),
        _number(row[2]),
        _number(row[3]),
        _number(row[4]),
        _number(row[5]),
        _number(row[7]),
        _whole(row[8]),
        _number(row[9]),
        _number(row[10]),
        _whole(row[6]),
    )


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a decimal in quotes")
    return float(value)


def klines_frame(rows: object, symbol: str, *, now: int) -> pl.DataFrame:
    """The closed minutes of an answer, oldest first; one that is still open is left out.

    Args:
        rows: The answer, parsed.
        symbol: Whose klines were asked for (rows do not say).
        now: The exchange's time, ms: what closes later is still open.

    Returns:
        `symbol, open_time, open … taker_buy_quote_volume`.

    Raises:
        DataError: The answer is not a list of klines.
    """
    import polars as pl

    if not isinstance(rows, list):
        raise DataError(reason=f"klines of {symbol}: the answer is not a list")
    try:
        parsed = [kline(row) for row in rows]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(reason=f"klines of {symbol}: {error}") from error
    closed = [row[:-1] for row in parsed if row.close_time < now]
    types = {name: pl.Int64 if name == "trades" else pl.Float64 for name in VALUES}
    frame = pl.DataFrame(closed, schema={"open_time": pl.Int64, **types}, orient="row")
    return frame.select(pl.lit(symbol).alias("symbol"), pl.all())


@dataclass(frozen=True, slots=True)
class Contract:
    """What is traded, or was.

    Attributes:
        symbol: Its name.
        quote: The asset its price is in.
        kind: `PERPETUAL`, `TRADIFI_PERPETUAL`, `CURRENT_QUARTER` or another.
        trading: Whether it trades now.
        since: When it was listed, ms; `None` if the exchange does not say.
        until: When it stopped trading, ms; `None` for what trades.
    """

    symbol: str
    quote: str
    kind: str
    trading: bool
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Universe:
    """What exchangeInfo says: every contract, and the weight limit a minute."""

    contracts: tuple[Contract, ...]
    weight_limit: int

    def symbols(
        self, *, quote: str | None = "USDT", tradfi: bool = False, delisted: bool = False
    ) -> tuple[str, ...]:
        """Perpetuals, sorted.

        Args:
            quote: Only those quoted in this asset.
            tradfi: Also those on shares, metals and the like.
            delisted: Also those that no longer trade.
        """
        kinds = {PERPETUAL, TRADFI} if tradfi else {PERPETUAL}
        return tuple(
            sorted(
                contract.symbol
                for contract in self.contracts
                if contract.kind in kinds
                and (contract.trading or (delisted and contract.until is not None))
                and quote in (None, contract.quote)
            )
        )


def universe(info: object) -> Universe:
    """What exchangeInfo says; unknown kinds, states and fields are no error.

    Raises:
        DataError: The answer does not list symbols.
    """
    if not isinstance(info, dict) or not isinstance(info.get("symbols"), list):
        raise DataError(reason='exchangeInfo: no list "symbols"')
    contracts = tuple(
        _contract(entry)
        for entry in info["symbols"]
        if isinstance(entry, dict) and isinstance(entry.get("symbol"), str)
    )
    return Universe(contracts, _weight_limit(info.get("rateLimits")))


_NOT_YET: Final = ("PENDING_TRADING",)


def _contract(entry: dict[str, Any]) -> Contract:
    status = entry.get("status")
    since, until = entry.get("onboardDate"), entry.get("deliveryDate")
    over = status != TRADING and status not in _NOT_YET
    return Contract(
        symbol=entry["symbol"],
        quote=str(entry.get("quoteAsset", "")),
        kind=str(entry.get("contractType", "")),
        trading=status == TRADING,
        since=since if isinstance(since, int) else None,
        until=until if over and isinstance(until, int) else None,
    )


def _weight_limit(limits: object) -> int:
    for limit in limits if isinstance(limits, list) else ():
        if (
            isinstance(limit, dict)
            and limit.get("rateLimitType") == "REQUEST_WEIGHT"
            and limit.get("interval") == "MINUTE"
            and limit.get("intervalNum") == 1
            and isinstance(limit.get("limit"), int)
        ):
            return int(limit["limit"])
    return DEFAULT_LIMIT


def turnovers(tickers: object) -> dict[str, float]:
    """What each symbol traded in the last day, in its quote asset, by the 24-hour statistics.

    Raises:
        DataError: The answer is not a list of statistics.
    """
    if not isinstance(tickers, list):
        raise DataError(reason="ticker/24hr: the answer is not a list")
    try:
        return {str(entry["symbol"]): float(entry["quoteVolume"]) for entry in tickers}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(reason=f"ticker/24hr: {error}") from error
