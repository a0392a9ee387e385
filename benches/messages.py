"""How many messages a day the rules send over real candles, and what telling them once costs.

    python benches/messages.py [FOLDER]

FOLDER holds Parquet files of minutes in folders (by default ../shared/data/klines, of perpetuals).
Floors are on. A move is what is told of one symbol in one direction until nothing has been for an
hour. A digest is what is told of one symbol in one minute, by however many rules. A move of the
rules as they are is missed by the profile when it tells nothing of it between its first alert and
an hour after its last.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

import screener
from screener.cooldowns import with_cooldowns

HERE = Path(__file__).parents[2] / "shared" / "data" / "klines"
HOUR_MS = 3_600_000
DAY_MINUTES = 1440
NUMBERS = ["open", "high", "low", "close", "volume", "quote_volume"]


def market(folder: Path) -> pl.DataFrame:
    """The candles of every folder of perpetuals; quote volume from the typical price if unknown."""
    frames = []
    for path in sorted(folder.glob("um_*/*.parquet")):
        frame = pl.read_parquet(path)
        if "quote_volume" not in frame.columns or frame["quote_volume"].null_count():
            typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
            frame = frame.with_columns(quote_volume=pl.col("volume") * typical)
        # Months of one symbol that lie apart are replayed apart.
        named = pl.format("{}@{}", "symbol", pl.lit(path.parent.name))
        frames.append(frame.select(named.alias("symbol"), "open_time", *NUMBERS))
    if not frames:
        sys.exit(f"no files um_*/*.parquet in {folder}: give the folder of the candles")
    return pl.concat(frames)


def told(candles: pl.DataFrame, rules: screener.RuleSet) -> pl.DataFrame:
    """The alerts, each with its direction and the number of its move."""
    directions = pl.DataFrame({"rule": rules.names, "way": [rule.direction for rule in rules]})
    alerts = screener.replay(candles, rules).alerts.join(directions, on="rule")
    begins = pl.col("triggered_at").diff().over("symbol", "way").fill_null(HOUR_MS * 2) > HOUR_MS
    return alerts.sort("triggered_at").with_columns(
        move=begins.cast(pl.Int64).cum_sum().over("symbol", "way")
    )


def missed(plain: pl.DataFrame, quiet: pl.DataFrame) -> tuple[int, int]:
    """Moves of the rules as they are, and those of them the profile tells nothing of."""
    moves = plain.group_by("symbol", "way", "move").agg(
        first=pl.col("triggered_at").min(), last=pl.col("triggered_at").max() + HOUR_MS
    )
    seen = moves.join(quiet.select("symbol", "way", "triggered_at"), on=["symbol", "way"]).filter(
        pl.col("triggered_at").is_between("first", "last")
    )
    return moves.height, moves.height - seen.select("symbol", "way", "move").unique().height


def line(name: str, alerts: pl.DataFrame, days: float) -> str:
    """What one set of rules sends."""
    moves = alerts.select("symbol", "way", "move").n_unique()
    digests = alerts.select("symbol", "triggered_at").n_unique()
    return (
        f"{name:<10}{alerts.height:>8,}{alerts.height / days:>9.1f}{digests / days:>9.1f}"
        f"{moves / days:>8.1f}{500 * digests / days:>12,.0f}"
    )


def scores(name: str, alerts: pl.DataFrame, candles: pl.DataFrame) -> str:
    """What became of the alerts within an hour, in %."""
    found = screener.outcomes(alerts, candles, ["1h"]).drop_nulls("return")
    change = pl.col("return")
    mean, median, hits, best, worst = found.select(
        change.mean().alias("mean"),
        change.median().alias("median"),
        (change > 0).mean().alias("hits"),
        pl.col("mfe").mean(),
        pl.col("mae").mean(),
    ).row(0)
    told = f"{name:<10}{found.height:>8,}{hits:>8.1%}{mean:>+9.3f}{median:>+9.3f}"
    return f"{told}{best:>8.2f}{worst:>8.2f}"


def main() -> None:
    """Prints both tables."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    candles = market(folder)
    days = candles.height / DAY_MINUTES
    sets = {name: screener.RuleSet.load(name, floors=True) for name in ("futures", "quiet")}
    sets["quiet, 4h"] = with_cooldowns(
        sets["quiet"], dict.fromkeys(sets["quiet"].names, 4 * HOUR_MS)
    )
    alerts = {name: told(candles, rules) for name, rules in sets.items()}
    print(f"{days:,.0f} symbol-days of {candles['symbol'].n_unique()} symbols' months, floors on\n")
    print("rules       alerts   a day  digests   moves  500 symbols")
    for name, its in alerts.items():
        print(line(name, its, days))
    print()
    for name in ("quiet", "quiet, 4h"):
        moves, lost = missed(alerts["futures"], alerts[name])
        share = f"{lost} ({lost / moves:.1%})"
        print(f"of {moves:,} moves that futures tells, {name} tells nothing of {share}")
    print()
    print("within 1h   n        hits     mean   median  at best at worst")
    for name, its in alerts.items():
        print(scores(name, its, candles))


if __name__ == "__main__":
    main()
