"""The independent oracle: SPEC computed again from nothing, plainly, sharing no code with it.

`OracleEngine` takes candles one at a time and recomputes everything at each call (`ring`,
`windows`, `bars`, `rules`, `engine`). `recompute` and `recompute_alerts` do a whole contiguous
series at once from arrays (`arrays`). Both are written from SPEC by hand and from nothing else.
`scenario` turns a few small choices into candles of any kind; `compare` says what differs.
"""

from __future__ import annotations

from .arrays import exact_sums, fill_holes, recompute, recompute_alerts
from .engine import Alert, OracleEngine, alert_id

__all__ = [
    "Alert",
    "OracleEngine",
    "alert_id",
    "exact_sums",
    "fill_holes",
    "recompute",
    "recompute_alerts",
]
