"""How near rules were to firing: margins at one minute, and the nearest misses of a time.

The data flow, a module a step: `clauses` gives each clause of a rule as numbers, `margins` looks at
one minute, `moments` at all of one symbol, `run` goes through the symbols, `result` shows what was
found. numpy and polars are imported by the call alone.
"""

from screener.near.margins import ClauseMargin, Margins, Need, margins
from screener.near.result import NearMisses
from screener.near.run import near_misses

__all__ = ["ClauseMargin", "Margins", "NearMisses", "Need", "margins", "near_misses"]
