"""One connection to an agent: uvicorn's, with an end to those that do not get to a request.

How many there may be is the business of `door.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 5.0  # for the head of a request, once a connection is open or its last answer is given


class Connection(H11Protocol):
    """Cut off when it sends no whole head in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # asyncio does so for its own sockets only; answers would wait 40 ms for their second half.
        with contextlib.suppress(OSError):  # the other end has gone already
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch(None)

    def _watch(self, last: object) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._look, last)

    def _look(self, last: object) -> None:
        """Whoever has sent no whole head since the last look is cut off."""
        if self.transport.is_closing():
            return
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is last:
            self.transport.abort()
            return
        self._watch(self.cycle)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if hasattr(self, "_timer"):
            self._timer.cancel()
