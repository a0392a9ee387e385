"""The scorecard from the scores that are kept, counted by the database itself.

Nothing of it passes through the interpreter but the results, so that it holds up nobody.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from screenerd.model import HORIZONS, HorizonScore, RuleScore
from screenerd.store.rows import horizon_score

_WHICH: Final = "FROM alert_scores WHERE triggered_at >= ?1 AND (?2 IS NULL OR alert_type = ?2)"
_RULES: Final = (
    "SELECT alert_type, count(*), count(DISTINCT rule_version), min(triggered_at), "
    f"max(triggered_at) {_WHICH} GROUP BY alert_type"
)
_FIGURES: Final = (
    "SELECT alert_type, count(return_{0}), count(*) - count(return_{0}), avg(return_{0} > 0), "
    "avg(return_{0}), total(max(return_{0}, 0)), total(max(-return_{0}, 0)), "
    "avg(mfe_{0}), avg(mae_{0}) " + _WHICH + " GROUP BY alert_type"
)
# The middle one, or the two in the middle.
_MEDIANS: Final = (
    "WITH ranked (alert_type, value, place, of) AS (SELECT alert_type, return_{0}, "  # noqa: S608
    "row_number() OVER (PARTITION BY alert_type ORDER BY return_{0}), "
    "count(*) OVER (PARTITION BY alert_type) " + _WHICH + " AND return_{0} IS NOT NULL) "
    "SELECT alert_type, avg(value) FROM ranked WHERE place IN ((of + 1) / 2, (of + 2) / 2) "
    "GROUP BY alert_type"
)


def scorecard(connection: sqlite3.Connection, since: int, rule: str | None) -> dict[str, RuleScore]:
    """How each rule, or one, did since a time in ms, by rule."""
    asked = (since, rule)
    found: dict[str, dict[str, HorizonScore]] = {}
    for horizon in HORIZONS:
        medians = dict(connection.execute(_MEDIANS.format(horizon), asked).fetchall())
        for row in connection.execute(_FIGURES.format(horizon), asked):
            found.setdefault(row[0], {})[horizon] = horizon_score(row[1:], medians.get(row[0]))
    return {
        name: RuleScore(alerts, versions, first, last, found[name])
        for name, alerts, versions, first, last in connection.execute(_RULES, asked)
    }
