"""What came after alerts, and whether it was any better than chance.

The way of an alert: `alerts` (a frame -> whose, when, which way) meets `paths` (candles -> sorted
minutes, runs without a hole, the minute of entry). `extremes` finds highest values and first
touches; `measure` takes returns and excursions from them, `barriers` the triple barrier, and
`market` what the benchmark and all symbols did meanwhile. `table` makes the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from screener.types import ArrowFrame, Rules

__all__ = ["outcomes"]


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
