"""What the benchmarks share: the candles, and the table of ratios at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import screener

if TYPE_CHECKING:
    import polars as pl

_FIGURES = pytest.StashKey[dict[str, float]]()


@pytest.fixture(scope="session")
def market() -> pl.DataFrame:
    """Four symbols of 28 days, seeded."""
    return screener.demo_market(symbols=4, days=28)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> dict[str, float]:
    """Medians by name, in nanoseconds where the name says nothing else, for the ratios."""
    return pytestconfig.stash.setdefault(_FIGURES, {})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints what each thing costs, and the ratio to its peer of the same run."""
    figures = config.stash.get(_FIGURES, {})
    if figures:
        terminalreporter.section("medians of this run")
        peer = figures.get("peers per row")
        for name, figure in figures.items():
            ratio = f"   {figure / peer:.2f} of the peers" if peer and "row" in name else ""
            unit = "B" if "in bytes" in name else "ns"
            terminalreporter.write_line(f"{name:<58}{figure:>14,.0f} {unit}{ratio}")
