"""What each process has told of itself, as long as it is heard of. No socket here.

A process that has told nothing for `SILENT_SECONDS` counts as gone: what it would say is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from screenerd.model import Report, SymbolStatus

SILENT_SECONDS = 4.0
"""A process that has told nothing for so long, in seconds of the machine, counts as gone."""


@dataclass(slots=True)
class Heard:
    """Every process's newest report.

    Attributes:
        seconds: time of the machine that never goes back: who is silent, is so whatever the market.
    """

    seconds: Callable[[], float] = time.monotonic
    _newest: dict[tuple[str, str], tuple[float, Report]] = field(default_factory=dict)

    def take(self, report: Report) -> None:
        """A process has told how it is."""
        now = self.seconds()
        self._newest[report.role, report.instance] = (now, report)
        for key, (at, _) in tuple(self._newest.items()):
            if now - at > SILENT_SECONDS:
                del self._newest[key]

    @property
    def nothing(self) -> bool:
        """Whether no process has been heard of yet."""
        return not self._newest

    def living(self, role: str | None = None) -> Iterator[Report]:
        """What those tell that are not gone, of one role or of all."""
        now = self.seconds()
        for at, report in self._newest.values():
            if now - at <= SILENT_SECONDS and role in (None, report.role):
                yield report

    def active(self, role: str) -> Report | None:
        """The one of a role that has its turn."""
        return next((one for one in self.living(role) if one.body["active"]), None)

    def ingest(self) -> Report | None:
        """Of several that ingest, the one that is ahead."""
        return max(
            self.living("ingest"),
            key=lambda one: (one.body["ingest"]["started"], one.body["ingest"]["last_close"]),
            default=None,
        )

    def symbols(self) -> tuple[SymbolStatus, ...]:
        """How fresh each symbol is, by name."""
        ingest = self.ingest()
        found = () if ingest is None else ingest.body["symbols"]
        return tuple(SymbolStatus(*one) for one in found)

    def judged(self) -> set[int]:
        """The shards that living workers judge."""
        return {shard for one in self.living("screen") for shard in one.body["shards"]}

    def judged_until(self) -> int | None:
        """The minute that every worker has come to, ms; `None` if none has symbols."""
        told = [one.body["judged_until"] for one in self.living("screen") if one.body["shards"]]
        return min((minute for minute in told if minute is not None), default=None)

    def behind(self) -> int:
        """How far the slowest worker is behind the newest minute, ms."""
        ingest, judged = self.ingest(), self.judged_until()
        if ingest is None or judged is None or not ingest.body["ingest"]["started"]:
            return 0
        come: int = ingest.body["ingest"]["last_close"]
        return come - judged

    def lag(self) -> float:
        """The longest that an event loop was held up of late, seconds."""
        return max((one.body.get("lag", 0.0) for one in self.living()), default=0.0)
