"""The contracts of a market: their names, and in which units their candles are counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COLUMNS = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""The columns of every array of candles here, in this order."""

OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, TRADES, TAKER, TAKER_QUOTE = range(len(COLUMNS))


@dataclass(frozen=True)
class Contract:
    """A perpetual, and how many decimals its numbers have.

    Candles are arrays of whole numbers: prices in ticks, volumes in lots. So the stream and the
    REST rows print the same text, however a number was reached.

    Attributes:
        symbol: its name, such as `BTCUSDT`.
        price_decimals: of prices.
        lot_decimals: of amounts of the base asset.
        quote_decimals: of amounts of the quote asset.
    """

    symbol: str
    price_decimals: int
    lot_decimals: int
    quote_decimals: int

    @cached_property
    def scales(self) -> Floats:
        """What each column is divided by to give its value."""
        price, lot, quote = (10.0**decimals for decimals in self._decimals)
        return np.array([price, price, price, price, lot, quote, 1.0, lot, quote])

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """How each column is printed."""
        price, lot, quote = (f"%.{decimals}f" for decimals in self._decimals)
        return (price, price, price, price, lot, quote, "%d", lot, quote)

    @property
    def _decimals(self) -> tuple[int, int, int]:
        return self.price_decimals, self.lot_decimals, self.quote_decimals


# Names as exchanges have them: a leading digit, a thousand-fold unit, letters beyond ASCII.
# Symbol, first price in ticks, decimals of prices and lots, usual USDT a minute.
_KNOWN: tuple[tuple[str, int, int, int, int], ...] = (
    ("BTCUSDT", 838_602, 1, 3, 2_400_000),
    ("ETHUSDT", 274_218, 2, 3, 1_500_000),
    ("SOLUSDT", 138_420, 3, 2, 900_000),
    ("XRPUSDT", 21_437, 4, 1, 600_000),
    ("1000PEPEUSDT", 71_930, 7, 0, 420_000),
    ("币安人生USDT", 16_384, 5, 0, 260_000),
    ("1INCHUSDT", 18_240, 5, 0, 90_000),
    ("DOGEUSDT", 152_310, 6, 0, 700_000),
    ("BNBUSDT", 87_412, 2, 2, 500_000),
    ("ADAUSDT", 46_120, 5, 0, 300_000),
    ("SUIUSDT", 161_830, 5, 1, 380_000),
    ("LINKUSDT", 13_377, 3, 2, 280_000),
    ("AVAXUSDT", 14_912, 3, 1, 250_000),
    ("1000SHIBUSDT", 88_210, 7, 0, 240_000),
    ("龙虾USDT", 35_210, 6, 0, 120_000),
    ("LTCUSDT", 84_120, 3, 3, 210_000),
    ("BCHUSDT", 51_240, 2, 3, 180_000),
    ("NEARUSDT", 17_730, 4, 0, 200_000),
    ("DOTUSDT", 23_160, 4, 1, 190_000),
    ("UNIUSDT", 56_810, 4, 1, 160_000),
    ("AAVEUSDT", 17_423, 2, 2, 150_000),
    ("WLDUSDT", 62_140, 5, 0, 210_000),
    ("0GUSDT", 12_480, 4, 0, 110_000),
    ("TIAUSDT", 64_310, 5, 0, 120_000),
    ("ENAUSDT", 28_360, 5, 0, 220_000),
    ("HYPEUSDT", 36_118, 3, 2, 640_000),
    ("ARBUSDT", 21_480, 5, 0, 140_000),
    ("OPUSDT", 32_170, 5, 0, 120_000),
    ("INJUSDT", 58_210, 4, 1, 110_000),
    ("1000BONKUSDT", 97_340, 7, 0, 130_000),
    ("FILUSDT", 15_890, 4, 1, 120_000),
    ("APTUSDT", 25_640, 4, 1, 130_000),
    ("TRXUSDT", 27_718, 5, 0, 170_000),
    ("ETCUSDT", 13_742, 3, 2, 100_000),
    ("2ZUSDT", 11_930, 5, 0, 90_000),
    ("SEIUSDT", 13_120, 5, 0, 110_000),
    ("XLMUSDT", 24_810, 5, 0, 140_000),
    ("PENGUUSDT", 11_240, 6, 0, 150_000),
    ("VIRTUALUSDT", 93_120, 5, 1, 100_000),
    ("CRVUSDT", 38_170, 5, 0, 90_000),
)


@dataclass(frozen=True, slots=True)
class Listing:
    """A contract of the made-up market with its usual price and turnover.

    Attributes:
        contract: what is traded.
        ticks: its price where the market stands at its usual level.
        usdt_per_minute: the usual turnover.
    """

    contract: Contract
    ticks: int
    usdt_per_minute: int


def listing(index: int) -> Listing:
    """The listing of a number: the known names first, then made-up ones without end."""
    if index < len(_KNOWN):
        symbol, ticks, price, lot, turnover = _KNOWN[index]
        return Listing(Contract(symbol, price, lot, price + lot), ticks, turnover)
    number = index - len(_KNOWN)
    # Steps without a common divisor with their range, so that neighbours differ in everything.
    ticks = 12_000 + number * 7_919 % 80_000
    turnover = 20_000 + number * 3_571 % 90_000
    price = 3 + number * 7 % 4
    return Listing(Contract(f"{_name(number)}USDT", price, 1, price + 1), ticks, turnover)


_HEADS = ("B", "C", "D", "F", "G", "H", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Z")
_VOWELS = ("A", "E", "I", "O", "U")


def _name(number: int) -> str:
    """Three syllables for each number; below 512,000 no two share a name."""
    # A factor without a common divisor with their count mixes the names and keeps them apart.
    number = (number + 1) * 155_921 % 80**3
    text = ""
    for _ in range(3):
        number, syllable = divmod(number, 80)
        text += _HEADS[syllable // 5] + _VOWELS[syllable % 5]
    return text
