"""Logs: one event one line, for people or for machines, with no secret in them."""

from __future__ import annotations

import logging
import sys

import structlog

from screenerd.config import LogConfig


def set_up(config: LogConfig) -> None:
    """Sends events to standard error, as the configuration says."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
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
