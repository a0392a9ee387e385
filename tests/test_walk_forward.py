"""`walk_forward`: where the ranges lie, and what is refused."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screener import DataError, Split, walk_forward

MINUTE = 60_000
DAY = 1440 * MINUTE
START = 1_738_368_000_000

minutes = st.integers(1, 500)


def test_splits_by_hand() -> None:
    found = walk_forward(START, START + 10 * DAY, train="3d", test="2d", embargo="1d")
    days = [[(time - START) // DAY for time in split] for split in found]
    assert days == [[0, 3, 4, 6], [2, 5, 6, 8], [4, 7, 8, 10]]
    assert found[0] == Split(START, START + 3 * DAY, START + 4 * DAY, START + 6 * DAY)


def test_times_and_lengths_in_every_way_they_can_be_given() -> None:
    expected = walk_forward(START, START + 9 * DAY, train=3 * DAY, test=DAY, step=2 * DAY)
    assert len(expected) == 3
    for start in ("2025-02-01", "2025-02-01T01:00+01:00", dt.datetime(2025, 2, 1, tzinfo=dt.UTC)):
        assert walk_forward(start, "2025-02-10", train="72h", test="1440m", step="2d") == expected


@given(whole=st.integers(1, 3000), train=minutes, test=minutes, gap=minutes, more=minutes)
def test_laws(whole: int, train: int, test: int, gap: int, more: int) -> None:
    end = START + whole * MINUTE
    lengths: dict[str, Any] = {
        "train": train * MINUTE,
        "test": f"{test}m",
        "embargo": f"{gap}m",
        "step": f"{test + more}m",
    }
    if whole < train + gap + test:
        with pytest.raises(DataError, match="train, embargo and test take"):
            walk_forward(START, end, **lengths)
        return
    found = walk_forward(START, end, **lengths)
    for split in found:
        assert split.train_end - split.train_start == train * MINUTE
        assert split.test_start - split.train_end == gap * MINUTE
        assert split.test_end - split.test_start == test * MINUTE
    assert found[0].train_start == START
    assert end - (test + more) * MINUTE < found[-1].test_end <= end
    for before, after in pairwise(found):
        assert before.test_end <= after.test_start


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"step": "1d"}, "ranges to judge on would overlap"),
        ({"train": "30"}, "train='30' is no length"),
        ({"train": "0d"}, "train='0d' is no length"),
        ({"test": 0}, "test=0 is no length"),
        ({"test": 90_001}, "test=90001 is no length"),
        ({"test": 1.5}, "test=1.5 is no length"),
        ({"embargo": "-1d"}, "embargo='-1d' is no length"),
        ({"embargo": False}, "embargo=False is no length"),
        ({"step": True}, "step=True is no length"),
        ({"start": START + 1}, "is no whole minute"),
        ({"end": "later"}, "end='later' is no time"),
        ({"end": START + 4 * DAY}, "are 5760 minutes, train, embargo and test take 7200"),
        ({"end": START - DAY}, "are 0 minutes"),
    ],
)
def test_what_cannot_be(changed: dict[str, Any], told: str) -> None:
    given_: dict[str, Any] = {"start": START, "end": START + 9 * DAY, "train": "3d", "test": "2d"}
    with pytest.raises(DataError, match=told):
        walk_forward(**given_ | changed)
