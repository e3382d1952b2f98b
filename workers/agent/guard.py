"""In front of the agent's endpoints: the token, the time that a body may take, and the log."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response

from workers.agent.door import Client, Door

_MOST_REQUESTS = 64  # with the token, at once
_PART_S = 15.0  # for the next part of a body
_LOGGED = re.compile(r"/v1/(?:device|(?:files|jobs)/[A-Za-z0-9_-]{8})", re.ASCII)
_METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "POST", "OPTIONS")

log = logging.getLogger("search.agent")
Message = MutableMapping[str, Any]  # as ASGI has it
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def json_response(
    content: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """ASCII throughout, so that nothing a client sent can fail to be said back."""
    return Response(json.dumps(content), status, headers, media_type="application/json")


class Guard:
    """In front of everything: the token, the time that a body may take, and the log.

    A stranger is answered once, in a few bytes, and his connection ends with that.
    """

    def __init__(self, app: Starlette, token: str, door: Door) -> None:
        self.app = app
        self._expected = f"Bearer {token}".encode()
        self._door = door
        self._n_running = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        if not self._admits(scope):
            headers = {"WWW-Authenticate": "Bearer"}
            refusal = json_response({"error": "needs the token of this agent"}, 401, headers)
            await refusal(scope, receive, exchange.send)
            return
        if self._n_running >= _MOST_REQUESTS:
            refusal = json_response({"error": f"{_MOST_REQUESTS} requests are being answered"}, 503)
            await refusal(scope, receive, exchange.send)
            return
        client: Client | None = scope["client"]
        self._n_running += 1
        self._door.enter(client)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except Exception as error:  # answered already; only the log hears more
            log.error("%s in %s", type(error).__name__, _where(error))
        finally:
            self._n_running -= 1
            self._door.leave(client)

    def _admits(self, scope: Message) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._began = time.monotonic()
        self._unread = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )

    async def receive(self) -> Message:
        async with asyncio.timeout(_PART_S):
            message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # A stranger's connection ends here, and one with a body that nobody will read.
            if self._unread or message["status"] == 401:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            self._log(message["status"])
        await self._send(message)

    def _log(self, status: int) -> None:
        """Never a query, a header, or a path that is not ours: any of them may hold a secret."""
        scope = self._scope
        method = scope["method"] if scope["method"] in _METHODS else "?"
        known = None if status == 401 else _LOGGED.match(scope["path"])
        client = scope["client"][0] if scope["client"] else "?"
        took_ms = (time.monotonic() - self._began) * 1000
        path = known.group() if known else "-"
        log.info("%s %s %s %d %.0f ms", client, method, path, status, took_ms)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
