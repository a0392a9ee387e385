"""The websocket: a client's conversation, between its socket and the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.websockets import WebSocket

from screenerd.clock import Clock
from screenerd.serve import frames
from screenerd.serve.access.caller import ANYBODY, Caller
from screenerd.serve.errors import ApiError
from screenerd.serve.gate import Gate
from screenerd.serve.hub import Client, Hub
from screenerd.serve.session import (
    POLICY,
    UNAUTHENTICATED,
    Auth,
    Pong,
    Refusal,
    Session,
    Subscribe,
)
from screenerd.serve.users import Users
from screenerd.serve.wire import SOCKET, Socket

log = structlog.get_logger("serve")

FORBIDDEN = 4403
RECHECK_SECONDS = 25.0
LONGEST_CLOSE = 120
"""Bytes of a reason that fit into a close frame."""


class Sockets:
    """Opens websockets, and keeps each until its client goes or has to go."""

    def __init__(
        self,
        hub: Hub,
        gate: Gate,
        users: Users,
        clock: Clock,
        *,
        most: int,
        metrics_wanted: Callable[[], None],
    ) -> None:
        """Takes the hub, and who may come in.

        Args:
            hub: hands out the alerts.
            gate: lets clients in.
            users: their switches.
            clock: what tells the time.
            most: clients at once.
            metrics_wanted: called when a client asks for metrics.
        """
        self._hub, self._gate, self._users, self._clock = hub, gate, users, clock
        self._most, self._metrics_wanted = most, metrics_wanted
        self._open = 0

    async def serve(self, websocket: WebSocket) -> None:
        """One client, from its handshake to its end."""
        try:
            self._admit(websocket)
        except ApiError as error:
            headers = {**error.headers, "Content-Type": "application/json"}
            body = frames.json_bytes(error.value)
            await websocket.send_denial_response(Response(body, error.status, headers))
            return
        self._open += 1
        try:
            await websocket.accept()
            await self._converse(websocket)
        finally:
            self._open -= 1

    async def _converse(self, websocket: WebSocket) -> None:
        socket: Socket = websocket.scope["extensions"][SOCKET]
        conversation = _Conversation(self, websocket, socket)
        try:
            await conversation.run()
        finally:
            self._hub.clients.discard(conversation.client)

    def _admit(self, websocket: WebSocket) -> None:
        headers = Headers(scope=websocket.scope)
        self._gate.check_host(headers)
        self._gate.count_handshake(websocket.scope)
        if not self._gate.origin_allowed(headers):
            told = "pages of this origin may not connect: name it in serve.origins"
            raise ApiError(403, "bad_origin", told)
        if self._open >= self._most:
            raise ApiError(503, "full", "too many clients: try again later")


class _Conversation:
    """What is said with one client."""

    def __init__(self, sockets: Sockets, websocket: WebSocket, socket: Socket) -> None:
        self._sockets, self._websocket, self._socket = sockets, websocket, socket
        self._session = Session(sockets._gate.verifier is not None, _now())
        self._caller: Caller = ANYBODY
        self._token = ""
        self._checked_at = 0.0
        self.client = Client(socket, sockets._users.of(ANYBODY.id))
        socket.on_writable = self.client.resumed

    async def run(self) -> None:
        """Hears the client until it goes, or has to."""
        token = self._websocket.query_params.get("token")
        if token is not None and not await self._authenticate(token):
            return
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    message = await self._websocket.receive()
            except TimeoutError:
                if await self._is_still_welcome():
                    continue
                await self._end(UNAUTHENTICATED, "the token did not come, or is good no longer")
                return
            if message["type"] == "websocket.disconnect":
                return
            if not await self._hear(message.get("text")):
                return

    async def _hear(self, text: str | None) -> bool:
        """Obeys a message; whether the conversation goes on."""
        match self._session.receive(text, _now()):
            case Auth() as auth:
                return await self._authenticate(auth.token)
            case Subscribe() as wanted:
                self._subscribe(wanted)
            case Pong():
                pass
            case Refusal() as refusal:
                return await self._refuse(refusal)
        return True

    async def _authenticate(self, token: str) -> bool:
        try:
            self._caller = await self._sockets._gate.verified(token)
            self._sockets._gate.permit(self._caller, "read")
        except ApiError as error:
            code = FORBIDDEN if error.status == 403 else UNAUTHENTICATED
            return await self._refuse(Refusal(error.code, error.message, code))
        self._session.authenticated = True
        self._token, self._checked_at = token, _now()
        self.client.switches = self._sockets._users.of(self._caller.id)
        self._tell({"type": "authenticated"})
        return True

    def _subscribe(self, wanted: Subscribe) -> None:
        self._sockets._hub.clients.add(self.client)
        self._sockets._hub.subscribe(self.client, wanted.wish, wanted.since, wanted.epoch)
        if wanted.wish.metrics:
            self._sockets._metrics_wanted()

    async def _refuse(self, refusal: Refusal) -> bool:
        self._tell(refusal.value)
        if refusal.close is None:
            return True
        await self._end(refusal.close, refusal.message)
        return False

    async def _end(self, code: int, reason: str) -> None:
        if code == POLICY:
            log.info("client ended", reason=reason)
        if self._socket.open:
            text = reason.encode()[:LONGEST_CLOSE].decode(errors="ignore")
            await self._websocket.close(code, text)
            self._socket.finish()

    def _tell(self, value: dict[str, str]) -> None:
        self.client.offer(frames.message(value))

    def _patience(self) -> float | None:
        """Seconds until the client has to have said who it is, or its token is looked at again."""
        if not self._token:
            return self._session.patience(_now())
        return max(0.0, self._checked_at + RECHECK_SECONDS - _now())

    async def _is_still_welcome(self) -> bool:
        """Whether the token is still good: it may have ended, or its key been revoked."""
        if not self._token:
            return False
        self._checked_at = _now()
        return await self._sockets._gate.is_good(self._token)


def _now() -> float:
    return asyncio.get_running_loop().time()
