"""Walk-forward: a range to choose on, then a later one to judge on, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from screener.errors import DataError
from screener.moments import length_in_minutes, milliseconds

if TYPE_CHECKING:
    from screener.moments import Moment

__all__ = ["Split", "walk_forward"]

_MINUTE_MS: Final = 60_000


class Split(NamedTuple):
    """A range to choose on and a later one to judge on, ms since 1970; each ends before its end.

    Attributes:
        train_start: The first minute to choose on.
        train_end: The first minute no longer to choose on.
        test_start: The first minute to judge on.
        test_end: The first minute no longer to judge on.
    """

    train_start: int
    train_end: int
    test_start: int
    test_end: int


def walk_forward(
    start: Moment,
    end: Moment,
    *,
    train: str | int,
    test: str | int,
    step: str | int | None = None,
    embargo: str | int = 0,
) -> list[Split]:
    """Splits a range of time for choosing on the past and judging on what came after it.

    Lengths are texts of minutes, hours or days such as ``"30d"``, or whole minutes in ms.

    Args:
        start: The first minute to choose on: ms since 1970, an ISO 8601 text or a datetime.
        end: No range reaches beyond it.
        train: How long each range to choose on is.
        test: How long each range to judge on is.
        step: How far a split lies behind the one before it; `test` by default, so that the ranges
            to judge on follow each other without a gap. Never less than `test`: they do not
            overlap.
        embargo: How long a time between the two ranges belongs to neither, so that what is open
            at the end of the first has ended before the second begins.

    Returns:
        The splits that fit in whole, in the order of time.

    Raises:
        DataError: A time or a length cannot be, ranges to judge on would overlap, or not a single
            split fits.

    Example:
        >>> import screener
        >>> splits = screener.walk_forward("2025-01-01", "2025-03-01", train="30d", test="10d")
        >>> len(splits), splits[0].test_start == splits[0].train_end
        (2, True)
    """
    first, last = _whole_minute(start, "start"), _whole_minute(end, "end")
    train_ms, test_ms = _length(train, "train"), _length(test, "test")
    step_ms = test_ms if step is None else _length(step, "step")
    embargo_ms = (
        0 if embargo == 0 and not isinstance(embargo, bool) else _length(embargo, "embargo")
    )
    if step_ms < test_ms:
        raise DataError(
            reason=f"step={step!r} is shorter than test={test!r}: ranges to judge on would overlap",
            remedy="give a step of at least test",
        )
    whole = train_ms + embargo_ms + test_ms
    if last - first < whole:
        raise DataError(
            reason=f"from start to end are {max(last - first, 0) // _MINUTE_MS} minutes,"
            f" train, embargo and test take {whole // _MINUTE_MS}",
            remedy="shorten them or give a longer range",
        )
    return [
        Split(at, at + train_ms, at + train_ms + embargo_ms, at + whole)
        for at in range(first, last - whole + 1, step_ms)
    ]


def _whole_minute(time: Moment, name: str) -> int:
    found = milliseconds(time, name)
    if found % _MINUTE_MS:
        raise DataError(reason=f"{name}={time!r} is no whole minute", remedy="round it down")
    return found


def _length(given: object, name: str) -> int:
    length = length_in_minutes(given) * _MINUTE_MS
    if isinstance(given, int) and not isinstance(given, bool):
        length = given
    if length <= 0 or length % _MINUTE_MS:
        raise DataError(
            reason=f"{name}={given!r} is no length of time",
            remedy='write minutes, hours or days such as "30d", or whole minutes in ms',
        )
    return length
