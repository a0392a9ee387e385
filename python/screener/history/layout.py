"""Names and paths: of the exchange's archive, and of the local store. Pure text.

A symbol is any text the exchange uses (`币安人生USDT`), so it is percent-encoded in UTF-8 wherever
it becomes part of a path, as the archive's own addresses are.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = [
    "ARCHIVE_URL",
    "CHECKSUM_SUFFIX",
    "LISTING_URL",
    "archive_folder",
    "archive_path",
    "default_root",
    "exchange_folder",
    "file_months",
    "file_name",
    "is_symbol",
    "month_of_file",
    "month_path",
    "plain_path",
    "symbol_folder",
    "symbol_of",
]

ARCHIVE_URL = "https://data.binance.vision"
"""Where the exchange keeps its archive."""

LISTING_URL = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
"""Where the archive's bucket tells what lies in its folders; the archive's own address does not."""

CHECKSUM_SUFFIX = ".CHECKSUM"
"""What the address of a file's SHA-256 adds to the file's own."""

ROOT_VARIABLE = "SCREENER_HISTORY"
"""The environment variable that names the local store."""

_SYMBOL = "symbol="
_SUFFIX = ".parquet"
_NO_NAME = '%/\\:*?"<>|'
_DAY_LENGTH = len("2025-02-03")
_LONGEST_SYMBOL = 40
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)


def file_name(symbol: str, period: str) -> str:
    """The archive's name of a file of minutes.

    Args:
        symbol: Whose minutes they are.
        period: A month such as `2025-02`, or a day such as `2025-02-03`.

    Example:
        >>> file_name("NEARUSDT", "2025-02")
        'NEARUSDT-1m-2025-02.zip'
    """
    return f"{symbol}-1m-{period}.zip"


def archive_path(symbol: str, period: str, *, market: str = "futures/um") -> str:
    """The path of a file below the archive's address, ready for a request.

    Args:
        symbol: Whose minutes they are.
        period: A month (the monthly file) or a day (the daily one).
        market: The archive's folder of the market: `futures/um` or `spot`.

    Example:
        >>> archive_path("NEARUSDT", "2025-02-03")
        '/data/futures/um/daily/klines/NEARUSDT/1m/NEARUSDT-1m-2025-02-03.zip'
    """
    kind = "daily" if len(period) == _DAY_LENGTH else "monthly"
    encoded = quote(symbol, safe="")
    return f"/data/{market}/{kind}/klines/{encoded}/1m/{file_name(encoded, period)}"


def archive_folder(symbol: str | None = None, *, market: str = "futures/um") -> str:
    """The folder of all symbols' monthly files, or of one's, as a listing calls it.

    Example:
        >>> archive_folder()
        'data/futures/um/monthly/klines/'
        >>> archive_folder("NEARUSDT")
        'data/futures/um/monthly/klines/NEARUSDT/1m/'
    """
    folder = f"data/{market}/monthly/klines/"
    return folder if symbol is None else f"{folder}{symbol}/1m/"


def month_of_file(symbol: str, name: str) -> str | None:
    """The month of a monthly file of the archive, by its name; `None` for what is none.

    Example:
        >>> month_of_file("NEARUSDT", "NEARUSDT-1m-2025-02.zip")
        '2025-02'
    """
    month = name.removeprefix(f"{symbol}-1m-").removesuffix(".zip")
    known = _MONTH.fullmatch(month) and file_name(symbol, month) == name
    return month if known else None


def is_symbol(name: str) -> bool:
    """Whether a name can be a symbol's: letters of any script, digits and `_`, not too many."""
    letters = name.replace("_", "")
    return letters.isalnum() and len(name) <= _LONGEST_SYMBOL


def plain_path(symbol: str, month: str, *, market: str = "futures/um") -> Path:
    """Where a monthly file of the archive lies in a folder; the symbol is in its plain name.

    What would lead elsewhere or is no part of a file's name stays percent-encoded: slashes,
    control characters, `%`, and dots in front, which name other folders or hide a file.

    Example:
        >>> plain_path("币安人生USDT", "2025-02").name
        '币安人生USDT-1m-2025-02.zip'
        >>> plain_path("../x", "2025-02").parts[-3:]
        ('%2E%2E%2Fx', '1m', '%2E%2E%2Fx-1m-2025-02.zip')
    """
    plain = "".join(
        quote(one, safe="") if one in _NO_NAME or not one.isprintable() else one for one in symbol
    )
    dots = len(plain) - len(plain.lstrip("."))
    plain = "%2E" * dots + plain[dots:]
    return Path("data", market, "monthly", "klines", plain, "1m", file_name(plain, month))


def default_root() -> Path:
    """Where the local store is unless somebody says otherwise.

    `$SCREENER_HISTORY`, else `screener/history` in the platform's folder for data.
    """
    named = os.environ.get(ROOT_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "screener" / "history"


def exchange_folder(root: Path, exchange: str) -> Path:
    """The folder of an exchange in the store."""
    return root / f"exchange={quote(exchange, safe='')}"


def symbol_folder(root: Path, exchange: str, symbol: str) -> Path:
    """The folder of a symbol in the store."""
    return exchange_folder(root, exchange) / f"{_SYMBOL}{quote(symbol, safe='')}"


def symbol_of(folder: Path) -> str | None:
    """The symbol whose folder this is, or `None`."""
    name = folder.name
    return unquote(name.removeprefix(_SYMBOL)) if name.startswith(_SYMBOL) else None


def month_path(root: Path, exchange: str, symbol: str, month: str) -> Path:
    """The file of a symbol's month in the store.

    Example:
        >>> month_path(Path("store"), "binance", "BTCUSDT", "2025-02").as_posix()
        'store/exchange=binance/symbol=BTCUSDT/2025-02.parquet'
    """
    return symbol_folder(root, exchange, symbol) / f"{month}{_SUFFIX}"


def file_months(folder: Path) -> list[str]:
    """The months that a symbol's folder has files of, in order; none where it is not there."""
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    kept = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
    return sorted(name for name in kept if not name.startswith("."))
