"""The scorecard from the scores that are kept, counted by the database itself."""

from __future__ import annotations

from typing import Final

from screenerd.model import HORIZONS, HorizonScore, RuleScore
from screenerd.store.postgres.connect import Connection
from screenerd.store.postgres.values import Ms
from screenerd.store.rows import horizon_score

_WHICH: Final = (
    "FROM alert_scores WHERE triggered_at >= %(since)s "
    "AND (%(rule)s::text IS NULL OR alert_type = %(rule)s::text) GROUP BY alert_type"
)
_RULES: Final = (
    "SELECT alert_type, count(*), count(DISTINCT rule_version), min(triggered_at), "
    f"max(triggered_at) {_WHICH}"
)
_FIGURES: Final = (
    "SELECT alert_type, percentile_cont(0.5) WITHIN GROUP (ORDER BY return_{0}), "
    "count(return_{0}), count(*) - count(return_{0}), avg((return_{0} > 0)::int)::float8, "
    "avg(return_{0}), coalesce(sum(greatest(return_{0}, 0)) FILTER (WHERE return_{0} > 0), 0), "
    "coalesce(sum(-return_{0}) FILTER (WHERE return_{0} < 0), 0), "
    "avg(mfe_{0}), avg(mae_{0}) " + _WHICH
)


async def scorecard(connection: Connection, since: int, rule: str | None) -> dict[str, RuleScore]:
    """How each rule, or one, did since a time in ms, by rule."""
    asked = {"since": Ms(since), "rule": rule}
    found: dict[str, dict[str, HorizonScore]] = {}
    async with connection.transaction():
        for horizon in HORIZONS:
            figures = await connection.execute(
                _FIGURES.format(horizon).encode(), asked, binary=True
            )
            for name, median, *row in await figures.fetchall():
                found.setdefault(name, {})[horizon] = horizon_score(row, median)
        rules = await connection.execute(_RULES.encode(), asked, binary=True)
        return {
            name: RuleScore(alerts, versions, first, last, found[name])
            for name, alerts, versions, first, last in await rules.fetchall()
        }
