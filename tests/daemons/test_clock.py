"""Arithmetic of the moments at which things are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from screenerd.clock import seconds_until

times = st.integers(0, 4_000_000_000_000)


@given(times, st.integers(1, 86_400_000), st.data())
def test_the_next_moment_is_the_next(now: int, every: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, every - 1))
    wait = round(seconds_until(offset, every, now) * 1000)
    assert 0 < wait <= every
    assert (now + wait) % every == offset
