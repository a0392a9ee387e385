"""What may be given as a frame, as rules and as options, for annotations of your own.

`_core.pyi` and the modules of this package annotate with these names too.
"""

from __future__ import annotations

import os
from typing import Literal, Protocol, TypeAlias

from screener._core import RuleSet

__all__ = ["ArrowFrame", "Evaluate", "Gaps", "Rules"]


class ArrowFrame(Protocol):
    """A table of any library that speaks the Arrow PyCapsule interface.

    Such are a polars or pandas 3 `DataFrame`, a pyarrow `Table` and a duckdb relation.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None, /) -> object:
        """The rows as an `ArrowArrayStream` in a capsule."""
        ...


Rules: TypeAlias = RuleSet | str | os.PathLike[str]
"""A rule set, the name of a preset (`futures`, `classic`), or the path of a `.toml` file."""

Evaluate: TypeAlias = Literal["close", "update"]
"""When rules are judged: as a candle closes, or at every update of the running minute too."""

Gaps: TypeAlias = Literal["pending", "absent"]
"""What a missing minute is: still to come, so that rules over it are silent, or never traded."""
