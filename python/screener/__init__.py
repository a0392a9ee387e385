"""Watches every perpetual on an exchange and tells what just began to move, and why.

The core is Rust. Frames come in and go out by the Arrow PyCapsule interface; polars is imported
only by what returns a frame.
"""

from screener._core import (
    Alert,
    Candle,
    Clause,
    Engine,
    Explanation,
    Rule,
    RuleSet,
    __version__,
)
from screener.backtest import Atr, Backtest, backtest
from screener.demo import demo_market
from screener.drift import Drift, drift
from screener.errors import (
    CandleError,
    DataError,
    RuleError,
    ScreenerError,
    SourceError,
    StateError,
    UnknownSymbolError,
)
from screener.klines import read_klines
from screener.look import plot_alerts
from screener.near import Margins, NearMisses, margins, near_misses
from screener.outcomes import Scorecard, outcomes, scorecard
from screener.preview import Preview, preview
from screener.quality import KlineReport, inspect_klines
from screener.replay import Replay, replay, windows
from screener.streaming import replay_store
from screener.sweep import Split, fill_rules, sweep, walk_forward

__all__ = [
    "Alert",
    "Atr",
    "Backtest",
    "Candle",
    "CandleError",
    "Clause",
    "DataError",
    "Drift",
    "Engine",
    "Explanation",
    "KlineReport",
    "Margins",
    "NearMisses",
    "Preview",
    "Replay",
    "Rule",
    "RuleError",
    "RuleSet",
    "Scorecard",
    "ScreenerError",
    "SourceError",
    "Split",
    "StateError",
    "UnknownSymbolError",
    "__version__",
    "backtest",
    "demo_market",
    "drift",
    "fill_rules",
    "inspect_klines",
    "margins",
    "near_misses",
    "outcomes",
    "plot_alerts",
    "preview",
    "read_klines",
    "replay",
    "replay_store",
    "scorecard",
    "sweep",
    "walk_forward",
    "windows",
]
