"""A route as one value: what it takes, what it answers, who may call it, and what does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from screenerd.serve.access.caller import ANYBODY, Caller, Scope
from screenerd.serve.errors import ApiError, invalid

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
LARGEST_BODY = 64 * 1024
"""Bytes of the largest body that is read."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has been checked: what came with it, and who makes it."""

    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    caller: Caller = ANYBODY
    arrow: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    Attributes:
        method: GET, PUT or POST.
        path: as Starlette writes it; parameters in braces.
        work: answers a call with the body, or raises `ApiError`.
        summary: what it is for.
        answer: the body's model; text if there is none.
        query: the model of its parameters.
        body: the model of its body.
        scope: what a caller must be allowed; `None` is open to everybody.
        errors: the statuses it may end with besides those of every route.
        arrow: whether it can answer as an Arrow stream.
        media: what the answer is.
        names: parameters in the path, with an example each.
    """

    method: Literal["GET", "PUT", "POST"]
    path: str
    work: Callable[[Call], Awaitable[bytes | tuple[int, bytes]]]
    summary: str
    answer: Any = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    scope: Scope | None = "read"
    errors: tuple[int, ...] = ()
    arrow: bool = False
    media: str = JSON
    names: Mapping[str, str] = field(default_factory=dict)

    async def call(self, request: Request, caller: Caller) -> Response:
        """Checks a request and answers it.

        Raises:
            ApiError: it cannot be answered.
        """
        wants_arrow = self.arrow and ARROW in request.headers.get("accept", "")
        answer = await self.work(
            Call(
                path=request.path_params,
                query=self._query(request),
                body=await self._body(request),
                caller=caller,
                arrow=wants_arrow,
            )
        )
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        return Response(content, status, media_type=ARROW if wants_arrow else self.media)

    def _query(self, request: Request) -> BaseModel | None:
        pairs = request.query_params.multi_items() if request.scope["query_string"] else []
        given = dict(pairs)
        if len(given) < len(pairs):
            twice = next(name for name, _ in pairs if len(request.query_params.getlist(name)) > 1)
            raise ApiError(422, "invalid", f"parameter {twice} is given twice", field=twice)
        if self.query is None:
            if given:
                name = next(iter(given))
                raise ApiError(422, "invalid", f"parameter {name}: no such parameter", field=name)
            return None
        try:
            return self.query.model_validate(given)
        except ValidationError as error:
            raise invalid(error, "parameter") from error

    async def _body(self, request: Request) -> BaseModel | None:
        if self.body is None:
            return None
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise ApiError(
                415, "unsupported_media_type", f"the body's Content-Type is to be {JSON}"
            )
        content = await _read(request)
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ApiError(400, "bad_json", f"the body is not JSON: {error}") from error
        try:
            return self.body.model_validate(value)
        except ValidationError as error:
            raise invalid(error, "body") from error


async def _read(request: Request) -> bytes:
    content = bytearray()
    try:
        async for part in request.stream():
            content += part
            if len(content) > LARGEST_BODY:
                told = f"the body has more than {LARGEST_BODY} bytes"
                raise ApiError(413, "too_large", told, headers={"Connection": "close"})
    except ClientDisconnect as error:
        raise ApiError(400, "disconnected", "the body did not come") from error
    return bytes(content)
