"""What this role asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import polars as pl

from screenerd.model import RuleScore, RuleSwitch
from screenerd.store.port import AlertFilter, AlertPage, MinuteRow, Settings


class ServeStore(Protocol):
    """The past, and what users have chosen; see `screenerd.store.port.Store`."""

    async def newest(self, exchange: str) -> dict[str, int]:
        """The newest stored minute of every symbol, ms."""
        ...

    async def minutes(
        self, exchange: str, symbols: Sequence[str], start: int, end: int
    ) -> pl.DataFrame:
        """Closed candles of some symbols that open in [start, end)."""
        ...

    async def page(
        self, exchange: str, symbol: str, start: int | None, end: int | None, limit: int
    ) -> list[MinuteRow]:
        """At most `limit` closed candles of a symbol that open in [start, end), oldest first."""
        ...

    async def alert_page(
        self, wanted: AlertFilter, limit: int, offset: int, named: Sequence[str] = ()
    ) -> AlertPage:
        """A page of alerts, newest first; and which of the ids that are named are stored."""
        ...

    async def scorecard(self, since: int = 0, rule: str | None = None) -> dict[str, RuleScore]:
        """How each rule, or one, did since a time in ms, by rule."""
        ...

    async def rule_switches(self) -> dict[str, RuleSwitch]:
        """What was changed of the rules for everybody, by rule."""
        ...

    async def set_rule_switch(self, switch: RuleSwitch) -> None:
        """Changes a rule for everybody."""
        ...

    async def user_switches(self) -> dict[str, dict[str, RuleSwitch]]:
        """What users have changed of the rules for themselves, by user and rule."""
        ...

    async def set_user_switch(self, user: str, switch: RuleSwitch) -> None:
        """Changes a rule for one user."""
        ...

    async def settings(self, user: str) -> Settings:
        """What a user has chosen; the defaults if nothing."""
        ...

    async def set_settings(self, user: str, settings: Settings, now: int) -> None:
        """Keeps what a user has chosen."""
        ...
