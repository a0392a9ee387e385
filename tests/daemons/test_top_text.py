"""Numbers, names and lines as text: what stands in the cells of a terminal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from screenerd.top import text

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (-0.001, "0.00"),
        (1.234, "+1.23"),
        (-1.235001, "−1.24"),
        (9.994, "+9.99"),
        (9.996, "+10.0"),
        (-12.34, "−12.3"),
        (99.96, "+100"),
        (1234.5, "+1234"),
        (12_345.0, "+12.3k"),
    ],
)
def test_a_change_has_a_sign_and_three_digits(value: float | None, told: str) -> None:
    assert text.signed(value) == told


@given(NUMBERS)
def test_a_sign_says_what_colour_says(value: float) -> None:
    told = text.signed(value)
    if abs(value) >= 0.005001:
        assert told[0] == ("+" if value > 0 else text.MINUS)
    elif abs(value) < 0.004999:
        assert told == "0.00"


@pytest.mark.parametrize(
    ("value", "decimals", "width", "told"),
    [
        (None, 2, 9, "–"),
        (104_123.45, 2, 10, "104,123.45"),
        (104_123.45, 2, 9, "104,123.4"),
        (104_123.45, 2, 7, "104,123"),
        (104_123.45, 2, 6, "104k"),
        (9_999.5, 1, 9, "9999.5"),
        (0.00021, 5, 9, "0.00021"),
        (0.0000012345, 10, 9, "0.0000012"),
        (111.0, 0, 9, "111"),
    ],
)
def test_a_price_has_as_many_decimals_as_there_is_room_for(
    value: float | None, decimals: int, width: int, told: str
) -> None:
    assert text.price(value, decimals, width) == told


@pytest.mark.parametrize(
    ("value", "decimals"),
    [
        (None, 0),
        (math.nan, 0),
        (math.inf, 0),
        (5.0, 0),
        (0.00021, 5),
        (2e-7, 7),
        (1e-30, 10),
        (1e22, 0),
        (104_123.45, 2),
    ],
)
def test_decimals_are_those_that_are_written(value: float | None, decimals: int) -> None:
    assert text.decimals_of(value) == decimals


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0.5, "0.50"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1.234e9, "1.23B"),
        (-5e12, "−5.00T"),
    ],
)
def test_large_numbers_have_three_digits_and_a_unit(value: float | None, told: str) -> None:
    assert text.compact(value) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (2.0, "2"),
        (1.92, "1.92"),
        (-0.00123, "−0.0012"),
        (1e-7, "1e-07"),
        (0.0, "0"),
        (123.45, "123.5"),
        (-54_321.0, "−54.3k"),
        (100.0, "100"),
    ],
)
def test_a_number_of_a_clause_is_short(value: float | None, told: str) -> None:
    assert text.plain(value) == told


def test_a_formula_is_printed_as_one() -> None:
    told = text.formula("change_5m <= -1 and  2 * volume_5m >= -0.5")
    assert told == "change_5m ≤ −1 and 2 × volume_5m ≥ −0.5"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),
        (-1, "0 s"),
        (42.4, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_a_duration_is_in_the_unit_that_fits(seconds: float | None, told: str) -> None:
    assert text.duration(seconds) == told


@given(st.text(), st.integers(1, 30), st.booleans())
def test_text_fits_its_cells_exactly(told: str, width: int, left: bool) -> None:
    assert cell_len(text.fit(text.clean(told), width, left=left)) == width


def test_what_is_cut_says_so() -> None:
    assert text.fit("币安人生USDT", 8, left=True) == "币安人… "
    assert text.fit("BTCUSDT", 7) == "BTCUSDT"
    assert text.fit("+12.3k", 5) == "+12.…"


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\n", "\x07", "\u202e", "\u200b", "\x9b", "\u2028"])
def test_nothing_reaches_the_terminal_that_it_would_obey(hidden: str) -> None:
    told = text.clean(f"A{hidden}B")
    assert told.startswith("A?")
    assert told.isprintable()
    assert hidden not in told


@pytest.mark.parametrize("name", ["[bold]X[/]", "[/]", "1000PEPEUSDT", "币安人生USDT", "a\\[b"])
def test_names_that_can_be_printed_stay_as_they_are(name: str) -> None:
    assert text.clean(name) == name


def test_a_line_rises_from_the_lowest_to_the_highest() -> None:
    assert text.sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == text.BLOCKS
    assert text.sparkline([8, 1], 8) == "█▁"


def test_a_line_that_is_level_lies_in_the_middle() -> None:
    assert text.sparkline([5.0] * 10, 4) == "▄▄▄▄"
    assert text.sparkline([0.0], 4) == "▄"
    assert text.sparkline([5e-324, 0.0], 4) == "▄▄"


@pytest.mark.parametrize("closes", [[], [None], [math.nan, None], [math.inf]])
def test_a_line_of_nothing_is_empty(closes: list[float | None]) -> None:
    assert text.sparkline(closes, 10) == ""


def test_what_is_missing_leaves_a_gap() -> None:
    assert text.sparkline([1.0, None, math.nan, -math.inf, 2.0], 5) == "▁   █"


def test_a_line_in_few_cells_ends_with_the_newest() -> None:
    assert text.sparkline([float(n) for n in range(60)], 3) == "▁▅█"


@given(st.lists(st.none() | st.floats(), max_size=70), st.integers(1, 70))
def test_a_line_never_is_longer_than_its_cells(closes: list[float | None], width: int) -> None:
    line = text.sparkline(closes, width)
    assert len(line) in {0, min(width, len(closes))}
    assert set(line) <= set(text.BLOCKS + " ")
