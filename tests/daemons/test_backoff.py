"""Waiting before one tries again."""

from __future__ import annotations

from random import Random

import pytest

from screenerd.backoff import Backoff


@pytest.mark.parametrize("limit", [10, 1 << 30])
def test_it_waits_no_longer_than_it_may_however_often_it_has_failed(limit: int) -> None:
    backoff = Backoff(Random(1), first=0.2, longest=5.0, limit=limit)
    waits = [backoff.failed() for _ in range(5_000)]
    assert all(0.1 <= wait <= 5.0 for wait in waits)
    assert max(waits[-100:]) > 4.0
    backoff.succeeded()
    assert backoff.failed() <= 0.2
