"""The routes as one application: requests let in, answered, and errors told in one form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from screenerd import __version__
from screenerd.serve.access.caller import Caller
from screenerd.serve.endpoint import JSON, Endpoint
from screenerd.serve.errors import ApiError, of_status
from screenerd.serve.gate import Gate
from screenerd.serve.openapi import document
from screenerd.store.port import StoreError

log = structlog.get_logger("serve")

PAGE = Path(__file__).with_name("page")

NOBODY = Caller("nobody", frozenset())
"""Who calls a route that is open to everybody."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
"""A route answers all of them: those that it does not have with what it has."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_EVERY_ANSWER = [
    (name.lower().encode(), value.encode())
    for name, value in {**SECURITY_HEADERS, "Cache-Control": "no-cache"}.items()
]


def build(
    endpoints: Sequence[Endpoint],
    gate: Gate,
    websocket: Callable[[WebSocket], Awaitable[None]],
    *,
    origins: Sequence[str] = (),
) -> ASGIApp:
    """The application of these routes, the websocket and the page."""
    text = orjson.dumps(document(endpoints, __version__))
    by_path: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, []).append(endpoint)
    routes: list[BaseRoute] = [_route(path, its, gate) for path, its in by_path.items()]
    routes += [
        Route("/openapi.json", _document(text), methods=["GET"]),
        WebSocketRoute("/ws/alerts", websocket),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    middleware = [Middleware(_Outside, gate=gate)]
    if origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "PUT", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            max_age=600,
        )
        middleware.insert(0, cors)
    handlers = {ApiError: _told, HTTPException: _told, StoreError: _told}
    return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)


def _route(path: str, endpoints: Sequence[Endpoint], gate: Gate) -> Route:
    by_method: dict[str, Endpoint] = {endpoint.method: endpoint for endpoint in endpoints}
    if "GET" in by_method:
        by_method["HEAD"] = by_method["GET"]
    allowed = ", ".join(by_method)

    async def answer(request: Request) -> Response:
        gate.count(request.scope)
        if request.method not in by_method:
            raise ApiError(
                405, "method_not_allowed", f"allowed: {allowed}", headers={"Allow": allowed}
            )
        endpoint = by_method[request.method]
        if endpoint.scope is None:
            return await endpoint.call(request, NOBODY)
        caller = await gate.caller(request.headers)
        gate.permit(caller, endpoint.scope)
        return await endpoint.call(request, caller)

    return Route(path, answer, methods=METHODS)


def _document(text: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(text, media_type=JSON)

    return answer


async def _told(_request: Request, error: Exception) -> Response:
    """An error that was expected."""
    if isinstance(error, StoreError):
        error = ApiError(503, "unavailable", str(error), headers={"Retry-After": "5"})
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        error = of_status(error.status_code)
        error.headers.update(headers)
    assert isinstance(error, ApiError)  # noqa: S101 - nothing else is handled here
    return _response(error)


def _response(error: ApiError) -> Response:
    return Response(orjson.dumps(error.value), error.status, error.headers, JSON)


class _Outside:
    """What every answer carries, and what every request must."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message["headers"]}
                message["headers"] += [one for one in _EVERY_ANSWER if one[0] not in given]
            await send(message)

        try:
            self._gate.check_host(Headers(scope=scope))
            await self._app(scope, receive, send_with_headers)
        except ApiError as error:
            await _response(error)(scope, receive, send_with_headers)
        except Exception:
            # Told without its inside; the log has that.
            log.exception("request failed", path=scope["path"][:200])
            if begun:
                raise
            told = ApiError(500, "internal", "something went wrong: see the log of the server")
            await _response(told)(scope, receive, send_with_headers)
