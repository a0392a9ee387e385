"""The commands to write rules with: `screener rules new`, `fmt` and `schema`."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from screener._core import RuleSet
from screener.cli.formatting import format_rules
from screener.cli.inputs import rule_problem, rule_text, wrong_usage
from screener.cli.output import say
from screener.cli.schema import rules_schema
from screener.cli.starter import SCHEMA_FILE, starter
from screener.errors import DataError, RuleError, ScreenerError
from screener.history.atomic import file_error, new_file, replace_file

__all__ = ["fmt", "new", "schema"]

_STDIN = "-"


class Profile(StrEnum):
    """How often the rules of a new file are told."""

    quiet = "quiet"


def _ends_with(path: str | None, suffix: str) -> str | None:
    if path is not None and Path(path).suffix.lower() != suffix:
        raise typer.BadParameter(f"{path!r}: the name has to end with {suffix}")
    return path


def _toml_name(path: str) -> str | None:
    return _ends_with(path, ".toml")


def _json_name(path: str | None) -> str | None:
    return _ends_with(path, ".json")


def _write(path: str, text: str, *, replace: bool = True) -> None:
    """Writes a file whole or not at all; a link stays one, and what it leads to is written."""
    content = text.encode("utf-8")
    try:
        if replace:
            replace_file(Path(os.path.realpath(path)), content)
        else:
            new_file(Path(path), content)
    except FileExistsError as error:
        remedy = "name another one, or give --force to write over it"
        raise DataError(reason="this file is there already", path=path, remedy=remedy) from error
    except OSError as error:
        raise file_error(error, Path(path), "the file cannot be written") from error


# -- new -----------------------------------------------------------------------------------------


def new(
    file: Annotated[
        str,
        typer.Argument(help="The file to write; .toml.", metavar="FILE", callback=_toml_name),
    ],
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Copy the rules of a preset (futures, classic, quiet) or one of them by name; "
            "may be repeated. By default two plain rules.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        Profile | None,
        typer.Option(help="quiet: tell each rule once, until it has ended.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
) -> None:
    """Begin a file of rules of your own, with comments that tell what to do."""
    text = starter(sources or [], quiet=profile is Profile.quiet)
    _write(file, text, replace=force)
    names = RuleSet.parse(text).names
    typer.echo(
        f"wrote {file}: {len(names)} rule{'' if len(names) == 1 else 's'}: {', '.join(names)}"
    )
    if not Path(file).with_name(SCHEMA_FILE).exists():
        say(f"for your editor, beside it: screener rules schema --out {SCHEMA_FILE}")


# -- fmt -----------------------------------------------------------------------------------------


def fmt(
    files: Annotated[
        list[str], typer.Argument(help="Files of rules; - is the standard input.", metavar="FILES")
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; name what would change, and exit with 1."),
    ] = False,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Print the one file, and leave it as it is.")
    ] = False,
) -> None:
    """Format files of rules; comments and the order of rules stay, and so does what they mean."""
    if check and stdout:
        raise wrong_usage("give --check or --stdout, not both")
    printed = stdout or _STDIN in files
    if printed and not check and len(files) > 1:
        raise wrong_usage("one file can be printed, not several: format them one by one")
    outcomes = [_format(file, check=check, printed=printed) for file in files]
    if not all(outcomes):
        raise typer.Exit(1)


def _format(file: str, *, check: bool, printed: bool) -> bool:
    """Whether a file is formatted now, or with `check` has been before; tells what is wrong."""
    text = ""
    try:
        content = sys.stdin.buffer.read() if file == _STDIN else Path(file).read_bytes()
        text = rule_text(content)
        formatted = format_rules(text)
        if check:
            if formatted != text:
                typer.echo(f"{file}: would change")
            return formatted == text
        if printed:
            typer.echo(formatted, nl=False)
        elif formatted != text:
            _write(file, formatted)
            typer.echo(f"{file}: formatted")
    except RuleError as error:
        say(rule_problem(file, text, error))
    except DataError as error:
        say(f"error: {error}")
    except ScreenerError as error:
        say(f"{file}: {error.reason}")
    except OSError as error:
        say(f"error: {file}: {error.strerror or error}")
    else:
        return True
    return False


# -- schema --------------------------------------------------------------------------------------


def schema(
    out: Annotated[
        str | None,
        typer.Option(
            help="Write it to this file (.json), which is replaced if it is there.",
            metavar="FILE",
            callback=_json_name,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of files of rules, by which editors complete and explain them."""
    text = json.dumps(rules_schema(), ensure_ascii=False, indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        _write(out, text)
        typer.echo(f"wrote {out}: name it in a file of rules as #:schema ./{Path(out).name}")
