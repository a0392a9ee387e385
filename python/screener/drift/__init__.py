"""Whether what was raised live is what a replay of the same day raises, and where not, why.

The data flow, a module a step: `snapshot` reads the daemons' database, `replayed` feeds a symbol's
minutes to the engine as they arrived and as they are now, `causes` names what differs, `result`
shows it, `run` goes through the symbols. polars is imported by the call alone.
"""

from screener.drift.result import Cause, Difference, Drift
from screener.drift.run import drift

__all__ = ["Cause", "Difference", "Drift", "drift"]
