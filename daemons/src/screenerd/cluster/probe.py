"""A small HTTP server for who looks after a process: does it live, is it ready, its figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from screenerd.config import ProbeConfig

log = structlog.get_logger("probe")


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is asked of a process.

    Attributes:
        live: why it should be started anew; nothing while it lives.
        ready: why it does not do its work now; nothing while it does.
        figures: what Prometheus is told.
    """

    live: Callable[[], str]
    ready: Callable[[], str]
    figures: Callable[[], bytes]


class Probe:
    """Answers `/health/live`, `/health/ready` and `/metrics`."""

    def __init__(self, config: ProbeConfig, vitals: Vitals) -> None:
        """Takes where it listens and what it tells."""
        self._config, self._vitals = config, vitals
        self.address = ""

    async def __aenter__(self) -> Probe:
        """Listens.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/health/live", self._live),
                web.get("/health/ready", self._ready),
                web.get("/metrics", self._figures),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        try:
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        log.info("probe", address=self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listens no longer."""
        await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        return _told(self._vitals.live())

    async def _ready(self, _: web.Request) -> web.Response:
        return _told(self._vitals.ready())

    async def _figures(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._vitals.figures(), headers=headers)


def _told(fault: str) -> web.Response:
    return web.Response(text=(fault or "ok") + "\n", status=503 if fault else 200)
