"""One server on a bound socket, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn

from search.serving.app import Limits, Service, make_app
from search.serving.metrics import Metrics
from search.serving.models import Models, Options
from workers.agent.connection import Connection

_MOST_HEAD_BYTES = 16_384
_MOST_MESSAGE_BYTES = 1 << 20  # of live speech: half a minute
_GRACE_S = 30
_BACKLOG = 1024


class _Connection(Connection):
    """Live speech may pause for longer than the head of a request."""

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._timer.cancel()
        super().handle_websocket_upgrade(event)


def serve(
    listening: socket.socket,
    paths: Mapping[str, Path],
    options: Options,
    limits: Limits,
    token: str | None,
    on_ready: Callable[[Models], None],
) -> None:
    """Load the models and answer.

    Raises:
        UserFault, WorkError, UsageFault: when a bundle cannot be loaded.
    """
    asyncio.run(_serve(listening, paths, options, limits, token, on_ready))


async def _serve(
    listening: socket.socket,
    paths: Mapping[str, Path],
    options: Options,
    limits: Limits,
    token: str | None,
    on_ready: Callable[[Models], None],
) -> None:
    metrics = Metrics()
    models = Models(paths, options, metrics)
    try:
        await models.open()
        service = Service(models, metrics, limits)
        config = uvicorn.Config(
            make_app(service, token),
            http=_Connection,
            ws="websockets-sansio",
            ws_max_size=_MOST_MESSAGE_BYTES,
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        )
        listening.listen(_BACKLOG)
        on_ready(models)
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        await models.close()
