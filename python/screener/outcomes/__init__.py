"""What came after alerts, and whether it was any better than chance.

The way of an alert: `alerts` (a frame -> whose, when, which way) meets `paths` (candles -> sorted
minutes, runs without a hole, the minute of entry). `extremes` finds highest values and first
touches; `measure` takes returns and excursions from them, `barriers` the triple barrier, and
`market` what the benchmark and all symbols did meanwhile. `table` makes the frame. For a scorecard
`pool` has the random entries, `significance` intervals and p-values, `scores` makes the frame and
`card` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from screener.errors import DataError
from screener.outcomes.card import Scorecard

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from screener.types import ArrowFrame, Rules

__all__ = ["Scorecard", "outcomes", "scorecard"]


def outcomes(
    alerts: ArrowFrame,
    candles: ArrowFrame,
    horizons: Sequence[str] = ("5m", "15m", "1h", "4h"),
    *,
    rules: Rules | None = None,
    benchmark: str | None = "BTCUSDT",
    target: float = 5.0,
    stop: float = 5.0,
    atr: int = 14,
) -> pl.DataFrame:
    """Measure what the price did after each alert, over each horizon.

    **Entry** is the open of the first minute that opens at or after `triggered_at`: the first of
    which nothing was known yet. Where that minute is missing there is no outcome; a later one is
    never taken instead. A horizon of `5m` is the five minutes from the entry on and ends with the
    close of the fifth. One that is not over at the end of the candles, or has a hole in it, is
    null and never cut short; `reason` says which.

    **Signs** are the alert's: what it expected is positive, so the return of a rule that expects
    a fall is positive when the price falls. The direction is the column `direction` of the alerts
    (up, down, flat) where there is one, else that of the rule, by its name in `rules`, or in the
    presets of this package. `flat`, and an alert that names no rule, are measured as `up`.

    **Barriers** lie `target` and `stop` average true ranges from the entry, and the horizon is the
    longest holding. The label is 1 if the target is touched first by high or low, -1 if the stop
    is, 0 if neither. When one minute touches both, the stop counts, as nobody can tell their
    order. The exit is at the barrier's price, of a stop at the open of its minute where that is
    worse already, and at the horizon's last close where neither is touched. The average true range
    is Wilder's over one-minute candles (J. W. Wilder, New Concepts in Technical Trading Systems,
    1978): the mean of the first `atr` true ranges, then `((atr - 1) * average + x) / atr`, up to
    the minute before the entry. It starts afresh after a hole; there is no label until it is
    ready, nor while it is 0.

    One row an alert and horizon, and not a column a horizon: rules and horizons are grouped by in
    one go, and the columns do not depend on what was asked.

    Args:
        alerts: Columns `symbol` and `triggered_at` (ms, UTC), and what there is of `id`, `rule`
            and `direction`, as `Replay.alerts` has them. A row told again (provisional, then
            confirmed or withdrawn) counts once; one withdrawn later stays, as nobody knew.
        candles: One-minute candles of all symbols in any order: `symbol, open_time` (ms), `open,
            high, low, close`. Rows with `closed` false are left out.
        horizons: Lengths such as `"5m"`, `"4h"`, `"1d"`: from 1m to 30d.
        rules: A `RuleSet`, a preset's name or the path of a `.toml` file: which way each rule
            expects the price to go. By default the presets tell.
        benchmark: The symbol to compare with; null columns where the candles have it not.
        target: Distance of the barrier on the favourable side, in average true ranges, above 0.
        stop: Distance of the one on the adverse side, in average true ranges, above 0.
        atr: Minutes the average true range looks back, at least 1.

    Returns:
        One row an alert and horizon, in the order of the alerts and then of `horizons`. What
        cannot be told is null.

        | column | meaning |
        |---|---|
        | `alert` | row of the alert in `alerts`, from 0 |
        | `id` `symbol` `rule` `triggered_at` | as in `alerts`; `id` and `rule` may be null |
        | `direction` | up, down or flat |
        | `horizon` | as asked |
        | `entry_time` `entry` | open time (ms) and price of the entry |
        | `return` | of the last close against the entry, % |
        | `mfe` `mae` | furthest the price went for and against the alert, %; >= 0 and <= 0 |
        | `mfe_after` `mae_after` | minutes from the entry to the first minute that got there |
        | `against_benchmark` | `return` less the benchmark's over the same minutes, % points |
        | `against_market` | `return` less the mean of all symbols whose horizon is whole |
        | `atr` `target` `stop` | average true range and the two barriers, prices |
        | `label` `label_after` `label_return` | 1, -1 or 0; minutes to the exit; its return, % |
        | `reason` | null, or `no_candles` (of the symbol), `no_entry`, `hole`, `unfinished` |

    Raises:
        CandleError: A candle has no time or no price that can be.
        DataError: A column is missing or of a wrong type, a horizon is none, a rule's direction
            is not known, a minute is told twice and differently.
        RuleError: The rules cannot be loaded.

    Example:
        >>> import screener
        >>> market = screener.demo_market(symbols=3, days=2)
        >>> alerts = screener.replay(market).alerts
        >>> found = screener.outcomes(alerts, market, ["5m", "1h"])
        >>> found.height == 2 * alerts.height
        True
    """
    from screener.outcomes.alerts import read_alerts
    from screener.outcomes.barriers import Barriers
    from screener.outcomes.horizons import in_minutes
    from screener.outcomes.paths import read_paths
    from screener.outcomes.table import measured

    minutes = in_minutes(horizons)
    barriers = Barriers(target=target, stop=stop, atr=atr)
    return measured(read_alerts(alerts, rules), read_paths(candles), minutes, barriers, benchmark)


def scorecard(
    outcomes: ArrowFrame,
    candles: ArrowFrame,
    *,
    permutations: int = 2000,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Scorecard:
    """Tell how good each rule was over each horizon, and whether chance does as well.

    **Chance** is random entries of the same symbols at the same hours of the day (UTC), among all
    minutes of `candles` that have the horizon whole. Alerts of a rule within one hour of one day,
    of all symbols, are moved together and stay as far apart as they were: a burst of a hundred
    alerts is one piece of luck, not a hundred. `p` is the share of draws whose mean return is at
    least the rule's, the rule's own counted as one of them; it is small for rules that were better
    than chance, and near 1 for those that were worse. `p_adjusted` corrects for all rules and
    horizons of the frame (Benjamini-Hochberg): of the rules taken at 0.05 or below, one in twenty
    is expected to be chance.

    **Intervals** are Wilson's for the hit rate, as if alerts were independent, and by bootstrap
    over the same blocks of an hour for mean, median and profit factor; there is none of a rule
    whose alerts fall into a single hour. Bursts that last for hours, and horizons of hours, leave
    blocks that are not quite independent: with few of them p-values and intervals flatter.

    The same arguments and the same numpy give the same numbers; those of a rule, but for
    `p_adjusted`, do not depend on the other rules in the frame.

    Args:
        outcomes: What `screener.outcomes` gave.
        candles: The candles it was given.
        permutations: Random placements for each p-value, at least 1; no p is below
            `1 / (permutations + 1)`.
        resamples: Resamples for each interval, at least 1.
        level: Confidence of the intervals, above 0 and below 1.
        seed: Where chance begins, 0 or more.

    Returns:
        A scorecard whose `frame` has a row a rule and horizon, in the order of the outcomes:

        | column | meaning |
        |---|---|
        | `rule` `horizon` | as in the outcomes |
        | `n` `missing` | outcomes that are known, and that are not |
        | `hit_rate` | share of returns above 0 |
        | `mean` `median` | of the returns, % |
        | `profit_factor` | sum of gains by sum of losses; null where nothing was lost |
        | `…_low` `…_high` | the intervals of the four; null where unbounded or unknown |
        | `mfe` `mae` `against_benchmark` `against_market` | means of those columns, % |
        | `target_share` `stop_share` `end_share` | of the labels: 1, -1, 0 |
        | `random_mean` | mean return of the random entries, % |
        | `p` `p_adjusted` | as told above |

    Raises:
        CandleError: A candle has no time or no price that can be.
        DataError: A column is missing, an argument cannot be, or the candles are others than the
            outcomes were measured on.

    Example:
        >>> import screener
        >>> market = screener.demo_market(symbols=3, days=2)
        >>> found = screener.outcomes(screener.replay(market).alerts, market, ["5m", "1h"])
        >>> card = screener.scorecard(found, market, permutations=100, resamples=100)
        >>> card.frame["n"].sum() == found["return"].count()
        True
    """
    from screener.outcomes.paths import read_paths
    from screener.outcomes.scores import scores

    for name, value in (("permutations", permutations), ("resamples", resamples)):
        if value < 1:
            raise DataError(reason=f"{name}={value} is too few", remedy="it is at least 1")
    if not 0 < level < 1:
        raise DataError(reason=f"level={level} is no confidence", remedy="such as 0.95")
    if seed < 0:
        raise DataError(reason=f"seed={seed} is below 0", remedy="any whole number from 0 on")
    frame = scores(
        outcomes,
        read_paths(candles),
        permutations=permutations,
        resamples=resamples,
        level=level,
        seed=seed,
    )
    return Scorecard(frame, level, permutations, resamples, seed)
