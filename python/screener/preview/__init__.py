"""What rules would have told, before they are switched on.

The data flow, a module a step: `sources` brings minutes symbol by symbol, `run` replays them,
`judged` asks the engine which minutes it could judge, `counts` counts the alerts, `result` shows
it. polars and numpy are imported by the call alone.
"""

from screener.preview.result import Preview
from screener.preview.run import preview

__all__ = ["Preview", "preview"]
