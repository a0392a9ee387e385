"""How much stays when what is old is dropped; the same in every store."""

from __future__ import annotations

from typing import Final

BARS_KEPT: Final = 500
"""The newest bars of a timeframe of a symbol that stay."""

AUDIT_HOURS: Final = 30 * 24
"""How long the audit remembers hours whose candles are gone."""

DEAD_LETTERS_KEPT: Final = 10_000
"""The newest dead letters that stay; a feed gone mad must not fill the disk."""
