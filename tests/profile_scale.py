"""How many examples a test of hypothesis asks for, in proportion to the chosen profile."""

from __future__ import annotations

from hypothesis import settings


def examples(count: int) -> settings:
    """As many with the profile `default`; more or fewer as another profile has more or fewer."""
    return settings(max_examples=max(count * settings().max_examples // 100, 1))
