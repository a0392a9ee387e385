"""Logs: one event one line, for people or for machines, with no secret in them."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict

from screenerd.config import LogConfig

LONGEST_TEXT = 2_000


def set_up(config: LogConfig) -> None:
    """Sends events to standard error, as the configuration says."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            one_line,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info
            if config.format == "json"
            else structlog.processors.StackInfoRenderer(),
            structlog.processors.JSONRenderer()
            if config.format == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    foreign = logging.getLogger("uvicorn")
    foreign.handlers, foreign.propagate = [_Forwarded()], False
    foreign.setLevel(logging.ERROR)


def one_line(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Texts that come from outside cannot begin a line of their own, paint, or fill the disk."""
    return {key: _plain(value) if isinstance(value, str) else value for key, value in event.items()}


def _plain(text: str) -> str:
    cut = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut
    )


class _Forwarded(logging.Handler):
    """What a library logs, as one of our events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tells it in one line."""
        log = structlog.get_logger(record.name)
        log.log(record.levelno, record.getMessage(), exc_info=record.exc_info)
