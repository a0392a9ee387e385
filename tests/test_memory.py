"""A symbol's memory is bounded, whatever its candles do."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path

import polars as pl

import screener


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def day(symbol: str) -> pl.DataFrame:
    minutes = pl.int_range(3000, eager=True)
    close = {"calm": pl.lit(100.0), "falling": 4000.0 - pl.col("n")}[sys.argv[1]]
    return pl.DataFrame({"n": minutes}).select(
        symbol=pl.lit(symbol),
        open_time=1_767_225_600_000 + pl.col("n") * 60_000,
        open=close, high=close, low=close, close=close,
        volume=pl.lit(1.5), quote_volume=pl.lit(150.0),
        trades=pl.lit(3.0), taker_buy_volume=pl.lit(0.5), taker_buy_quote_volume=pl.lit(50.0),
    )


engine = screener.Engine()
engine.warm_up(day("FIRST"))
before = resident()
for number in range(200):
    engine.warm_up(day(f"SYMBOL{number}"))
print((resident() - before) / 200 / 1000)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
@pytest.mark.parametrize("market", ["calm", "falling"])
def test_memory_of_a_symbol(market: str) -> None:
    """At most 160 KB with every default metric (SPEC 6), also where no high is ever beaten."""
    run = [sys.executable, "-c", SCRIPT, market]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    kilobytes = float(done.stdout)
    print(f"{market}: {kilobytes:.1f} KB a symbol")
    assert 90 < kilobytes <= 160
