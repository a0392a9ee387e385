"""What a command is given: candles out of files or the made-up market, rules, times."""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import typer

from screener._core import RuleSet
from screener.cli.output import say, status
from screener.demo import demo_market
from screener.errors import DataError, RuleError, ScreenerError
from screener.history.times import as_ms
from screener.klines import read_klines
from screener.klines.unpack import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    Filling = Literal["typical"] | None

__all__ = [
    "Gaps",
    "QuoteVolume",
    "as_options",
    "filling",
    "length",
    "load_rules",
    "moment",
    "names_of",
    "read",
    "read_of",
    "rule_problem",
    "rule_text",
    "wrong_usage",
]

_NO_INPUT = (
    "no candles: give files of one-minute candles (CSV, zip, gz, parquet, Feather or JSON), "
    "or --demo for a made-up market"
)
_ARGUMENT = re.compile(r'\b(pass|with) (\w+)="([^"]+)"')


class Gaps(StrEnum):
    """What a missing minute is."""

    pending = "pending"
    absent = "absent"


class QuoteVolume(StrEnum):
    """How a missing quote volume is filled."""

    typical = "typical"


def filling(option: QuoteVolume | None) -> Literal["typical"] | None:
    """The choice as the library knows it."""
    return None if option is None else "typical"


def as_options(text: str) -> str:
    """Advice for callers of the library as advice for users of the command."""
    return _ARGUMENT.sub(lambda m: f"{m[1]} --{m[2].replace('_', '-')} {m[3]}", text)


def moment(text: str) -> int:
    """Milliseconds of a time that an option was given."""
    try:
        return as_ms(text)
    except DataError as error:
        raise typer.BadParameter(f"{error.reason}: {error.remedy}") from error


def length(text: str) -> int:
    """Milliseconds of a length of time that an option was given."""
    from screener.preview.run import length_ms

    try:
        return length_ms(text, "it")
    except DataError as error:
        raise typer.BadParameter(f"{text!r} is no length of time: {error.remedy}") from error


def names_of(options: Sequence[str]) -> list[str]:
    """The symbols that an option names, which may be repeated and hold several."""
    names = [name for text in options for part in text.split(",") if (name := part.strip())]
    if not names:
        raise wrong_usage("--symbols names none")
    return names


# -- candles -------------------------------------------------------------------------------------


def read(
    files: Sequence[str], *, demo: bool, symbol: str | None, quote_volume: Filling
) -> pl.DataFrame:
    """The candles of all files; `symbol` is whose they are where the rows do not tell."""
    return _timed(files, demo, lambda: read_klines(files, symbol=symbol, quote_volume=quote_volume))


def read_of(
    symbol: str, files: Sequence[str], *, demo: bool, quote_volume: Filling
) -> pl.DataFrame:
    """The same; `symbol` is whose they are where neither the rows nor the file's name tell."""
    import polars as pl

    def read_file(path: str) -> pl.DataFrame:
        try:
            return read_klines(path, quote_volume=quote_volume)
        except DataError as error:
            if error.column != "symbol":
                raise
        return read_klines(path, symbol=symbol, quote_volume=quote_volume)

    return _timed(files, demo, lambda: pl.concat([*map(read_file, expand(files))], how="diagonal"))


def _timed(
    files: Sequence[str], demo: bool, read_files: Callable[[], pl.DataFrame]
) -> pl.DataFrame:
    if demo and files:
        raise wrong_usage("give files or --demo, not both")
    if not demo and not files:
        raise wrong_usage(_NO_INPUT)
    began = perf_counter()
    with status("making a market" if demo else f"reading {len(files)} files"):
        frame = demo_market() if demo else read_files()
    names = frame["symbol"].n_unique()
    plural = "" if names == 1 else "s"
    seconds = perf_counter() - began
    say(f"read {frame.height:,} rows of {names:,} symbol{plural} in {seconds:.2f} s")
    return frame


def wrong_usage(text: str) -> typer.Exit:
    """Says what is wrong with how the command is used; to be raised."""
    say(f"error: {text}")
    return typer.Exit(2)


# -- rules ---------------------------------------------------------------------------------------


def load_rules(rules: str, *, floors: bool) -> RuleSet:
    """The rules of a preset or a file; what is wrong with a file is shown in its text."""
    try:
        return RuleSet.load(rules, floors=floors)
    except RuleError as error:
        if error.line is None:
            raise
        with suppress(OSError, UnicodeDecodeError):
            text = Path(rules).read_text(encoding="utf-8")
            raise ScreenerError(reason=rule_problem(rules, text, error)) from error
        raise


def rule_text(content: bytes) -> str:
    """The text of a file of rules.

    Raises:
        ScreenerError: This is no text.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"this is no text in UTF-8 (byte {error.start})"
        raise ScreenerError(reason=reason) from error


def rule_problem(path: str, text: str, error: RuleError) -> str:
    """Where in a file what is wrong, the line with a caret, and what to write instead."""
    line, column = error.line or 1, error.column or 1
    rule = None if error.rule is None else f"rule {error.rule!r}"
    what = ", ".join(part for part in (rule, error.field) if part)
    message = f"{path}:{line}:{column}: {what}{what and ': '}{error.reason}"
    # Rules have lines as TOML has them, which are fewer than those of `splitlines`.
    lines = text.split("\n")
    shown = lines[line - 1].removesuffix("\r") if line <= len(lines) else ""
    number = str(line)
    caret = "".join(map(_blank, shown[: column - 1])) + "^"
    excerpt = f"  {number} | {shown}\n  {' ' * len(number)} | {caret}"
    if error.suggestion is None:
        return f"{message}\n{excerpt}"
    is_name = not any(map(str.isspace, error.suggestion))
    advice = f"did you mean {error.suggestion!r}?" if is_name else error.suggestion
    return f"{message}\n{excerpt}\n{advice}"


def _blank(character: str) -> str:
    """Blanks as wide as the character, to put a caret under the one after it."""
    if character == "\t":
        return character
    return "  " if unicodedata.east_asian_width(character) in "WF" else " "
