"""A year of many symbols through the ten rules, streamed from Parquet: time and memory.

    python benches/year.py [SYMBOLS] [FOLDER]

200 symbols by default: 105 million minutes, 3 GB, written into FOLDER first (by default a folder
under the working directory, deleted after; one that is given is kept, and used again). The minutes
are random walks with bursts of volume, each symbol its own. Floors are off. The replay runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

import screener
from screener.history import Store

YEAR, START = 365 * 1440, 1_735_689_600_000  # 2025
MINUTE_MS = 60_000


def symbol_year(number: int) -> pl.DataFrame:
    """A symbol's minutes of 2025."""
    rng = np.random.default_rng(number)
    steps = rng.standard_t(4, YEAR) * 0.0006
    close = np.round(10 ** rng.uniform(-2, 4) * np.exp(np.cumsum(steps)), 6)
    opened = np.concatenate([close[:1], close[:-1]])
    wick = np.abs(rng.standard_normal((2, YEAR))) * 0.0003
    volume = np.round(rng.lognormal(8, 1.2, YEAR), 3)
    quote = np.round(volume * close, 4)
    return pl.DataFrame(
        {
            "symbol": pl.repeat(f"YEAR{number:03}USDT", YEAR, eager=True),
            "open_time": START + np.arange(YEAR) * MINUTE_MS,
            "open": opened,
            "high": np.round(np.maximum(opened, close) * (1 + wick[0]), 6),
            "low": np.round(np.minimum(opened, close) * (1 - wick[1]), 6),
            "close": close,
            "volume": volume,
            "quote_volume": quote,
            "trades": rng.poisson(120, YEAR),
            "taker_buy_volume": np.round(volume / 2, 3),
            "taker_buy_quote_volume": np.round(quote / 2, 4),
        }
    )


def write(store: Store, symbols: int) -> None:
    """Writes what is not there yet."""
    known = set(store.symbols)
    missing = [n for n in range(symbols) if f"YEAR{n:03}USDT" not in known]
    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(pool.map(lambda n: store.merge(symbol_year(n)), missing), 1):
            if done % 10 == 0:
                print(f"  {done} of {len(missing)} symbols written", file=sys.stderr)


def replay(folder: Path) -> None:
    """Replays all of a store; prints what it took."""
    began, store = time.perf_counter(), Store(folder)
    found = screener.replay_store(store)
    seconds = time.perf_counter() - began
    minutes = found.stats["appended"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet")) / 1024**3
    print(
        f"{len(store.symbols)} symbols, {minutes:,} minutes ({size:.1f} GiB of Parquet): "
        f"{seconds:.1f} s, {minutes / seconds / 1e6:.2f} million a second, "
        f"peak memory {peak:.2f} GiB, {found.alerts.height:,} alerts"
    )


def main() -> None:
    """Writes, then replays in another process."""
    if sys.argv[1:2] == ["--replay"]:
        replay(Path(sys.argv[2]))
        return
    symbols = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    kept = len(sys.argv) > 2
    folder = Path(sys.argv[2]) if kept else Path(tempfile.mkdtemp(prefix="year-", dir="."))
    try:
        write(Store(folder), symbols)
        command = [sys.executable, __file__, "--replay", str(folder)]
        subprocess.run(command, check=True)  # noqa: S603
    finally:
        if not kept:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
