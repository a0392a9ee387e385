"""Alerts into files, whole or not at all."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from screener.cli.alerts import alert_objects
from screener.errors import DataError
from screener.history.atomic import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from screener._core import RuleSet

__all__ = ["known_format", "write_alerts"]


def known_format(path: str | None) -> str | None:
    """The path, if its suffix is one that is written."""
    if path is not None and Path(path).suffix not in _FORMATS:
        raise typer.BadParameter(f"{path!r}: the name has to end with one of {', '.join(_FORMATS)}")
    return path


def write_alerts(path: str, alerts: pl.DataFrame, rules: RuleSet) -> None:
    """Write the alerts in the format of the suffix; a file that is there is replaced.

    Raises:
        DataError: The file cannot be written; what was there before still is.
    """
    content = _FORMATS[Path(path).suffix](alerts, rules)
    try:
        replace_file(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise DataError(
            reason=f"the alerts cannot be written: {error.strerror or error}",
            path=path,
            remedy="check the folder, who may write to it, and the space left",
        ) from error


# -- formats -------------------------------------------------------------------------------------


def _parquet(alerts: pl.DataFrame, _: RuleSet) -> bytes:
    return _filled(alerts.write_parquet)


def _feather(alerts: pl.DataFrame, _: RuleSet) -> bytes:
    return _filled(alerts.write_ipc)


def _csv(alerts: pl.DataFrame, rules: RuleSet) -> bytes:
    import polars as pl

    evidence = [_json(alert["evidence"]) for alert in alert_objects(alerts, rules)]
    texts = alerts.with_columns(evidence=pl.Series(evidence, dtype=pl.String))
    return _filled(texts.write_csv)


def _json_lines(alerts: pl.DataFrame, rules: RuleSet) -> bytes:
    return "".join(f"{_json(alert)}\n" for alert in alert_objects(alerts, rules)).encode()


def _json_list(alerts: pl.DataFrame, rules: RuleSet) -> bytes:
    return f"{_json(list(alert_objects(alerts, rules)))}\n".encode()


def _filled(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


_FORMATS: dict[str, Callable[[pl.DataFrame, RuleSet], bytes]] = {
    ".parquet": _parquet,
    ".feather": _feather,
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".json": _json_list,
}
