"""The exception tree: fields, wording, copies."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from screener.errors import (
    CandleError,
    DataError,
    RuleError,
    ScreenerError,
    SourceError,
    StateError,
    UnknownSymbolError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CANDLE = CandleError(
    reason="high below low",
    row=17,
    symbol="月饼USDT",
    open_time=1_738_548_600_000,
    field="high",
    value=1.5,
)
RULE = RuleError(
    reason="unknown metric 'chnge_5m'",
    rule="my_rule",
    field="when",
    position=24,
    line=2,
    column=7,
    suggestion="change_5m",
)
DATA = DataError(
    reason="'x1' is not a number",
    path=Path("some") / "file.csv",
    column="open",
    line=3,
    remedy="correct the cell",
)
SOURCE = SourceError(
    reason="status 503: busy",
    path="https://example.org/x",
    status=503,
    code=-1008,
    remedy="run it again later",
)
STATE = StateError(reason="the engine is poisoned", remedy="load the last saved state")
UNKNOWN = UnknownSymbolError(symbol="BTCUSD", suggestion="BTCUSDT")
ALL = [ScreenerError(reason="anything"), CANDLE, RULE, DATA, SOURCE, STATE, UNKNOWN]

TEXTS = {
    CANDLE: "invalid candle at row 17, 月饼USDT, 2025-02-03T02:10:00Z: "
    "high below low (high = 1.5)\n"
    "nothing was changed: mend or leave out this candle and send the rest again",
    RULE: "rule 'my_rule', when, line 2, column 7: unknown metric 'chnge_5m'\n"
    "did you mean 'change_5m'?",
    DATA: f"{Path('some') / 'file.csv'}, line 3, column open: 'x1' is not a number\n"
    "correct the cell",
    SOURCE: "https://example.org/x: status 503: busy\nrun it again later",
    STATE: "the engine is poisoned\nload the last saved state",
    UNKNOWN: "unknown symbol 'BTCUSD'\n"
    "did you mean 'BTCUSDT'? engine.symbols lists the symbols that are followed",
}

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def pickled(error: ScreenerError, protocol: int | None = None) -> ScreenerError:
    """The error after a way through pickle."""
    twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes
    assert isinstance(twin, ScreenerError)
    return twin


@pytest.mark.parametrize("error", TEXTS, ids=lambda error: type(error).__name__)
def test_text_says_what_where_and_what_next(error: ScreenerError) -> None:
    assert str(error) == TEXTS[error]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ScreenerError(reason="anything"), "anything"),
        (DataError(reason="no such column"), "no such column"),
        (DataError(reason="bad", row=0), "row 0: bad"),
        (RuleError(reason="empty"), "empty"),
        (RuleError(reason="bad", position=4), "position 4: bad"),
        (RuleError(reason="bad", suggestion="write a > b"), "bad\nwrite a > b"),
        (StateError(reason="closed"), "closed"),
    ],
)
def test_unknown_fields_leave_no_trace_in_the_text(error: ScreenerError, text: str) -> None:
    assert str(error) == text


def test_a_candle_error_without_fields_still_reads_well() -> None:
    assert str(CandleError(reason="symbol is empty")).startswith(
        "invalid candle: symbol is empty\n"
    )


def test_a_time_beyond_the_calendar_is_shown_as_a_number() -> None:
    error = CandleError(reason="outside the years", open_time=2**62)
    assert f"open_time {2**62}" in str(error)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(partial(pickled, protocol=p) for p in PROTOCOLS)],
)
def test_copies_keep_everything(
    error: ScreenerError, copied: Callable[[ScreenerError], ScreenerError]
) -> None:
    twin = copied(error)
    assert type(twin) is type(error)
    assert vars(twin) == vars(error)
    assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)


def test_copies_keep_notes() -> None:
    error = StateError(reason="busy")
    error.add_note("while saving")
    assert pickled(error).__notes__ == ["while saving"]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_repr_is_the_call_that_makes_it(error: ScreenerError) -> None:
    twin = eval(repr(error))  # noqa: S307 - our own text
    assert type(twin) is type(error)
    assert vars(twin) == vars(error)


def test_repr_leaves_out_what_is_unknown() -> None:
    assert repr(DataError(reason="no", column="open")) == "DataError(reason='no', column='open')"


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_everything_is_a_screener_error(error: ScreenerError) -> None:
    assert isinstance(error, ScreenerError)


def test_an_unknown_symbol_is_a_key_error_too() -> None:
    assert isinstance(UNKNOWN, KeyError)
    assert isinstance(UNKNOWN, DataError)
    assert (UNKNOWN.symbol, UNKNOWN.suggestion) == ("BTCUSD", "BTCUSDT")
    assert UNKNOWN.reason == "unknown symbol 'BTCUSD'"


@pytest.mark.parametrize("kind", [type(error) for error in ALL])
def test_arguments_are_keywords(kind: type[ScreenerError]) -> None:
    with pytest.raises(TypeError):
        kind("positional")  # type: ignore[call-arg]


def test_fields_default_to_none() -> None:
    error = DataError(reason="no")
    found = (error.path, error.column, error.row, error.line, error.remedy)
    assert found == (None,) * 5
