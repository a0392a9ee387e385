"""The routes as one application: requests let in, answered, and errors told in one form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router, WebSocketRoute, compile_path
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
    others = Router(
        [
            Route("/openapi.json", _document(text), methods=["GET"]),
            WebSocketRoute("/ws/alerts", websocket),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ]
    )
    application = _Application(endpoints, gate, others)
    if not origins:
        return application
    return CORSMiddleware(
        application,
        allow_origins=list(origins),
        allow_methods=["GET", "PUT", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        max_age=600,
    )


def _document(text: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return Response(text, media_type=JSON)

    return answer


class _Path:
    """What is at one path: an endpoint a method."""

    def __init__(self, endpoints: Sequence[Endpoint], gate: Gate) -> None:
        self._by_method: dict[str, Endpoint] = {one.method: one for one in endpoints}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self._gate = gate

    async def answer(self, request: Request) -> Response:
        """The answer, to who may have it.

        Raises:
            ApiError: it cannot be answered.
        """
        self._gate.count(request.scope)
        endpoint = self._by_method.get(request.method)
        if endpoint is None:
            allowed = ", ".join(self._by_method)
            told = f"allowed: {allowed}"
            raise ApiError(405, "method_not_allowed", told, headers={"Allow": allowed})
        if endpoint.scope is None:
            return await endpoint.call(request, NOBODY)
        caller = await self._gate.caller(request.headers)
        self._gate.permit(caller, endpoint.scope)
        return await endpoint.call(request, caller)


class _Application:
    """What every request must have, what every answer carries, and who answers.

    The paths of the API are found in a table: a list of routes that are tried one after the other,
    in layers of their own, took half the time of an answer.
    """

    def __init__(self, endpoints: Sequence[Endpoint], gate: Gate, others: ASGIApp) -> None:
        self._gate, self._others = gate, others
        by_path: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            by_path.setdefault(endpoint.path, []).append(endpoint)
        self._paths = {path: _Path(its, gate) for path, its in by_path.items()}
        self._patterns = [
            (compile_path(path)[0], self._paths[path]) for path in by_path if "{" in path
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message["headers"]}
                message["headers"] += [one for one in _EVERY_ANSWER if one[0] not in given]
            await send(message)

        answer: ASGIApp
        try:
            self._gate.check_host(Headers(scope=scope))
            if (path := self._find(scope)) is None:
                await self._others(scope, receive, send_with_headers)
                return
            answer = await path.answer(Request(scope, receive))
        except (ApiError, HTTPException, StoreError) as error:
            answer = _told(error)
        except Exception:
            # Told without its inside; the log has that.
            log.exception("request failed", path=scope["path"][:200])
            if begun:
                raise
            told = "something went wrong: see the log of the server"
            answer = _told(ApiError(500, "internal", told))
        await answer(scope, receive, send_with_headers)

    def _find(self, scope: Scope) -> _Path | None:
        """What is at a request's path; the path's parameters go into the scope."""
        path: str = scope["path"]
        if (found := self._paths.get(path)) is not None:
            return found
        for pattern, its in self._patterns:
            if match := pattern.match(path):
                scope["path_params"] = match.groupdict()
                return its
        return None


def _told(error: ApiError | HTTPException | StoreError) -> Response:
    """An error that was expected, as it is told."""
    if isinstance(error, StoreError):
        error = ApiError(503, "unavailable", str(error), headers={"Retry-After": "5"})
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        error = of_status(error.status_code)
        error.headers.update(headers)
    return Response(orjson.dumps(error.value), error.status, error.headers, JSON)
