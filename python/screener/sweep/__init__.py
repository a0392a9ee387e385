"""Rules with thresholds left open, tried over past minutes; `docs/backtest.md` tells how.

The data flow, a module a step: `template` fills the thresholds in, `passes` lets the engine judge
the rules of many sets in one pass, `run` counts and trades what they raise; `splits` tells which
time to choose on and which to judge on. numpy and polars are imported by the call alone.
"""

from screener.sweep.run import sweep
from screener.sweep.splits import Split, walk_forward
from screener.sweep.template import fill_rules

__all__ = ["Split", "fill_rules", "sweep", "walk_forward"]
