"""From signals to trades, an equity curve and its measures; `docs/backtest.md` tells each rule.

The data flow, a module a step: `candles` and `signals` check what is given, `exits` finds where a
position ends, `trades` decides which orders are filled, `equity` marks them to the close,
`measures` tells how it went, `result` shows it. numpy and polars are imported by the call alone.
"""

from screener.backtest.options import Atr
from screener.backtest.result import Backtest, Measures
from screener.backtest.run import backtest

__all__ = ["Atr", "Backtest", "Measures", "backtest"]
