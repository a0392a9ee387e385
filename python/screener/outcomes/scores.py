"""Outcomes to a row a rule and horizon."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from screener.errors import DataError
from screener.outcomes.alerts import SIGNS
from screener.outcomes.frames import as_polars, refuse_missing
from screener.outcomes.horizons import in_minutes
from screener.outcomes.pool import Placed, pools
from screener.outcomes.significance import (
    benjamini_hochberg,
    bootstrap,
    p_value,
    profit_factor,
    wilson,
)

if TYPE_CHECKING:
    from screener.outcomes.paths import Paths
    from screener.outcomes.pool import Pool
    from screener.types import ArrowFrame

__all__ = ["scores"]

_MEANS: Final = ("mfe", "mae", "against_benchmark", "against_market")
_NEEDED: Final = (
    "symbol",
    "rule",
    "direction",
    "horizon",
    "entry_time",
    "return",
    "label",
    *_MEANS,
)
_COUNTS: Final = ("n", "missing")
_FIGURES: Final = (
    *("hit_rate", "hit_rate_low", "hit_rate_high"),
    *("mean", "mean_low", "mean_high"),
    *("median", "median_low", "median_high"),
    *("profit_factor", "profit_factor_low", "profit_factor_high"),
    *_MEANS,
    *("target_share", "stop_share", "end_share"),
    *("random_mean", "p", "p_adjusted"),
)
_SCHEMA: Final = {
    "rule": pl.String,
    "horizon": pl.String,
    **dict.fromkeys(_COUNTS, pl.Int64),
    **dict.fromkeys(_FIGURES, pl.Float64),
}
_LABELS: Final = {"target_share": 1, "stop_share": -1, "end_share": 0}


def scores(
    outcomes: ArrowFrame,
    paths: Paths,
    *,
    permutations: int,
    resamples: int,
    level: float,
    seed: int,
) -> pl.DataFrame:
    """The figures of each rule and horizon; columns as in `scorecard`.

    Raises:
        DataError: A column is missing, or the candles have not what an outcome was measured on.
    """
    given = as_polars(outcomes)
    refuse_missing(given, _NEEDED, "screener.outcomes gives the columns this needs")
    names = given["horizon"].unique(maintain_order=True).to_list()
    horizons = in_minutes(names) if names else {}
    by_horizon = dict(zip(names, pools(paths, list(horizons.values())), strict=True))
    rows = []
    for (rule, horizon), part in given.group_by("rule", "horizon", maintain_order=True):
        told = part.filter(pl.col("return").is_not_null())
        row: dict[str, Any] = {"rule": rule, "horizon": horizon}
        row |= {"n": told.height, "missing": part.height - told.height}
        if told.height:
            # Its own chance: what a rule gets does not depend on what else is in the frame.
            name = zlib.crc32(str(rule).encode())
            luck = [seed, name, horizons[str(horizon)]]
            placed = _placed(told, paths)
            row |= _figures(told, placed, resamples, level, np.random.default_rng([*luck, 0]))
            row |= _against_chance(
                told, placed, by_horizon[horizon], permutations, np.random.default_rng([*luck, 1])
            )
        rows.append(row)
    frame = pl.DataFrame(rows, schema=_SCHEMA)
    return _adjusted(frame)


def _placed(told: pl.DataFrame, paths: Paths) -> Placed:
    signs = told["direction"].replace_strict(SIGNS, return_dtype=pl.Float64).to_numpy()
    return Placed.of(paths.codes(told["symbol"]), told["entry_time"].to_numpy() // 60_000, signs)


def _figures(
    told: pl.DataFrame, placed: Placed, resamples: int, level: float, rng: np.random.Generator
) -> dict[str, float | None]:
    returns = told["return"].to_numpy()
    hits = int((returns > 0).sum())
    gained, lost = (np.array([side[side > 0].sum()]) for side in (returns, -returns))
    row: dict[str, float | None] = {
        "hit_rate": hits / len(returns),
        "mean": float(returns.mean()),
        "median": float(np.median(returns)),
        "profit_factor": _finite(float(profit_factor(gained, lost)[0])),
    }
    row["hit_rate_low"], row["hit_rate_high"] = wilson(hits, len(returns), level)
    if placed.blocks > 1:
        for name, ends in bootstrap(returns, placed.block, resamples, level, rng).items():
            row[f"{name}_low"], row[f"{name}_high"] = map(_finite, ends)
    row |= told.select(pl.col(_MEANS).mean()).row(0, named=True)
    labels = told["label"].drop_nulls()
    if len(labels):
        row |= {name: int((labels == label).sum()) / len(labels) for name, label in _LABELS.items()}
    return row


def _against_chance(
    told: pl.DataFrame, placed: Placed, pool: Pool, permutations: int, rng: np.random.Generator
) -> dict[str, float]:
    if pool.lacks(placed):
        raise DataError(
            reason="the candles have not what these outcomes were measured on",
            remedy="pass the candles that outcomes was given",
        )
    random = pool.means(placed, permutations, rng)
    # Summed as the draws are, so that a draw of the very same minutes is a tie.
    observed = told["return"].to_numpy()[np.newaxis].mean(axis=1)[0]
    return {"random_mean": float(random.mean()), "p": p_value(observed, random)}


def _adjusted(frame: pl.DataFrame) -> pl.DataFrame:
    tested = frame["p"].is_not_null()
    adjusted = np.full(frame.height, np.nan)
    adjusted[tested.to_numpy()] = benjamini_hochberg(frame["p"].drop_nulls().to_numpy())
    return frame.with_columns(pl.Series("p_adjusted", adjusted, nan_to_null=True))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
