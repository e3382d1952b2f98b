"""Who may reach the pages: the names that they are served under, and their own pages only.

A page elsewhere can have its name point at this machine (DNS rebinding). A browser then takes it
for one of ours, and it could press our buttons; but its requests still say that name in `Host`.
Nor may a page elsewhere show ours in a frame, where a visitor would press them unknowingly.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

_LOOPBACK = "localhost"
_NOT_SERVED = (
    "403: this dashboard is not served under this name, or to pages of another. Where the name "
    "is yours, start it with `search dashboard --allow-host NAME`.\n"
)


class Guard:
    """In front of everything that is served, the websocket included.

    Args:
        names: under which it is served beside those of loopback and the address that a request
            came in at.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(map(_canonical, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._admits(scope):
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":  # closed before it was accepted: answered with 403
            await WebSocketClose(code=1008)(scope, receive, send)
        else:
            headers = {"X-Content-Type-Options": "nosniff"}
            await PlainTextResponse(_NOT_SERVED, 403, headers)(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or len(origins) > 1:
            return False
        name = _name_of(hosts[0])
        if name is None or not (self._is_ours(name) or name == _arrived_at(scope)):
            return False
        return all(urlsplit(o).netloc.lower() == hosts[0].lower() for o in origins)

    def _is_ours(self, name: str) -> bool:
        return name in self._names or name == _LOOPBACK or _is_loopback_address(name)


def _unframed(send: Send) -> Send:
    """Answers that browsers show in frames of our own pages only."""

    async def with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            policy = "frame-ancestors 'self'"
            MutableHeaders(scope=message).append("Content-Security-Policy", policy)
        await send(message)

    return with_policy


def is_reached_by_others(host: str) -> bool:
    """Whether listening at a host is open to other machines.

    Raises:
        OSError: for a name that is not known.
    """
    if not host:  # stands for every address
        return True
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    return not all(_is_loopback_address(str(address[0])) for *_, address in found)


def _arrived_at(scope: Scope) -> str | None:
    """The address of this machine that a request came in at, which no other name can stand for."""
    address = (scope.get("server") or (None,))[0]
    return _canonical(address) if address else None


def _name_of(host: str) -> str | None:
    """The name in a Host header; None for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for one that is not a port
    except ValueError:
        return None
    if parts.netloc != host or "@" in host or not parts.hostname:
        return None
    return _canonical(parts.hostname)


def _canonical(name: str) -> str:
    """One spelling of a name or address: `[::1]` and `0:0::1` are the same."""
    name = name.strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
