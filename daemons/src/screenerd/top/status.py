"""How it goes, in a line; and what is wrong, in another. Pure."""

from __future__ import annotations

from math import ceil

from screenerd.top.board import Board, Connection
from screenerd.top.columns import Cell
from screenerd.top.rows import HealthTold
from screenerd.top.text import NOT_READY, compact, duration

_LATE = 90.0
_HEALTH_STYLES = {"ok": "up-2", "starting": "hot", "degraded": "hot", "down": "down-3"}


def status(board: Board) -> list[Cell]:
    """Whether what is on the screen can be trusted: connection, health, age, warmth, latency."""
    health = board.health
    told = [_connection(board.connection)]
    if health is None:
        return [*told, Cell("health unknown", "hot")]
    return [
        *told,
        Cell(health.state, _HEALTH_STYLES.get(health.state, "hot")),
        _behind(health.behind),
        Cell(f"{health.warm}/{health.symbols} warm", "hot" if health.warm < health.symbols else ""),
        Cell(_latency(health)),
    ]


def banner(board: Board, now: float) -> str:
    """What is wrong and what to do about it; empty if nothing is.

    Args:
        board: what is known.
        now: seconds of the event loop.
    """
    connection = board.connection
    if connection.state != "live" and connection.trouble:
        return f"{connection.trouble} - {_retry(connection, now)}"
    if board.unknown:
        names = ", ".join(board.unknown)
        return f"not followed: {names} (write them as the exchange does, in capitals)"
    if board.health is not None and board.health.troubles:
        return "; ".join(board.health.troubles)
    return ""


def _connection(connection: Connection) -> Cell:
    if connection.state == "live":
        return Cell("● live", "up-2")
    return Cell(f"○ {connection.state}", "hot")


def _retry(connection: Connection, now: float) -> str:
    if connection.retry_at is None:
        return "trying"
    return f"next try in {max(0, ceil(connection.retry_at - now))} s"


def _behind(seconds: float | None) -> Cell:
    if seconds is None:
        return Cell("no minute yet", "hot")
    return Cell(f"{duration(seconds)} behind", "hot" if seconds > _LATE else "")


def _latency(health: HealthTold) -> str:
    if health.p50 is None:
        return f"latency {NOT_READY}"
    return f"latency {compact(health.p50)}/{compact(health.p99)} ms"
