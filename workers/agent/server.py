"""The device agent: measures models on this machine for searches on others, over HTTP.

Nothing is answered, nor read beyond the head of a request, without the token. Nothing is written
outside the cache. What a model does to its runtime ends a child process and one job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from spaces.backends import BACKENDS, backend_info
from spaces.registry import UnknownName
from workers.agent.cache import Cache, Missing, NoRoom, TooBig, WrongDigest, WrongOffset
from workers.agent.connection import HEAD_S, Connection
from workers.agent.door import MOST_GUESTS, MOST_STRANGERS, Door
from workers.agent.guard import Guard, json_response
from workers.agent.jobs import Job, Jobs, OtherJob, QueueFull
from workers.agent.messages import (
    DIGEST,
    JOB_ID,
    MOST_JSON_BYTES,
    VERSION,
    JobMessage,
    MessageFault,
    parse_job,
)
from workers.backends.base import missing_modules
from workers.errors import WorkError
from workers.isolated_call import Bounds, call
from workers.probe.machine import report

_BODY_S = 30.0  # for all of a JSON body
_MOST_WAIT_S = 30.0
_MOST_HEAD_BYTES = 16_384
_OPEN_FILES = 2 * (MOST_STRANGERS + MOST_GUESTS)
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)

log = logging.getLogger("search.agent")


@dataclass(frozen=True)
class Limits:
    """What an agent lets others use of its device; MB are 10^6 bytes."""

    cache_mb: int = 2000
    max_file_mb: int = 500
    memory_mb: int = 2000  # of the process that measures
    job_s: float = 600.0
    queue: int = 16


@dataclass(frozen=True)
class Tls:
    """Paths of a certificate chain and its key, PEM."""

    cert: Path
    key: Path | None


def serve(
    listening: socket.socket, token: str, folder: Path, limits: Limits, tls: Tls | None = None
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT.

    Raises:
        UserFault: when another agent uses the folder.
        OSError: for a certificate that cannot be read.
    """
    mb = 1_000_000
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash writes no file either
    _allow_open_files(_OPEN_FILES)
    os.umask(0o077)
    cache = Cache(folder, limits.cache_mb * mb, limits.max_file_mb * mb)
    # For the children: a runtime writes here and nowhere else, and tells nobody of itself.
    os.environ.update(TMPDIR=str(cache.work), XDG_CACHE_HOME=str(cache.work))
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    _tell_what_models_can_do(cache)
    door = Door(listening)
    config = uvicorn.Config(
        Guard(make_app(cache, limits), token, door),
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(HEAD_S),
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        ssl_certfile=tls.cert if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    try:
        config.load()  # a wrong certificate is told before anything is listened to
        _Server(config).run(sockets=[door])
    finally:
        door.close()
        cache.close()


def _tell_what_models_can_do(cache: Cache) -> None:
    """In the log: whoever starts an agent is to know what this system does not keep from it."""
    try:
        can = call("open_doors", {}, bounds=Bounds(time_s=60, folder=cache.work))
    except WorkError as error:  # every job would say the same
        log.warning("the processes that run models do not work here: it %s", error)
        return
    if can:
        log.warning(
            "this system cannot keep a model from these: %s; run the agent as a user of its own "
            "and give its token to nobody whom you would not let do that",
            ", ".join(can),
        )
    else:
        log.info("a model can neither use the network, nor start processes, nor read your files")


def _allow_open_files(n: int) -> None:
    """As many connections as the door has room for, where a system starts with fewer (macOS)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = n if hard == resource.RLIM_INFINITY else min(n, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _failed(_request: Request, _error: Exception) -> Response:
    return json_response({"error": "failed; see the log"}, 500)


def make_app(cache: Cache, limits: Limits) -> Starlette:
    """The endpoints; they know nothing of tokens."""
    bounds = Bounds(time_s=limits.job_s, memory_mb=limits.memory_mb, folder=cache.work)
    jobs = Jobs(cache, bounds, limits.queue, log.info)
    agent = _Agent(cache, jobs, limits)

    @asynccontextmanager
    async def alive(app: Starlette) -> AsyncIterator[None]:
        app.state.close = jobs.close
        working = asyncio.create_task(jobs.work())
        yield
        jobs.close()
        working.cancel()

    app = Starlette(
        routes=[
            Route("/v1/device", agent.device, methods=["GET"]),
            Route("/v1/files/{digest}", agent.file, methods=["HEAD", "PATCH"]),
            Route("/v1/jobs/{name}", agent.job, methods=["GET", "PUT", "DELETE"]),
        ],
        exception_handlers={
            _Refusal: _refused,
            HTTPException: _refused_by_starlette,
            TimeoutError: lambda _request, _error: json_response({"error": "too slow"}, 408),
            ClientDisconnect: lambda _request, _error: Response(status_code=400),  # to nobody
            Exception: _failed,
        },
        lifespan=alive,
    )
    app.router.redirect_slashes = False
    return app


class _Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, error: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(error)
        self.status, self.headers = status, headers
        self.content = {"error": error, **more}


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, _Refusal)
    return json_response(error.content, error.status, error.headers)


def _refused_by_starlette(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "no such thing", 405: "not with this method"}
    return json_response({"error": reasons.get(error.status_code, "refused")}, error.status_code)


class _Agent:
    def __init__(self, cache: Cache, jobs: Jobs, limits: Limits) -> None:
        self._cache, self._jobs, self._limits = cache, jobs, limits
        self._backends = usable_backends()

    async def device(self, _request: Request) -> Response:
        machine = await asyncio.to_thread(report)
        return json_response(
            {
                "version": VERSION,
                "machine": asdict(machine),
                "backends": self._backends,
                "limits": asdict(self._limits),
                "waiting": self._jobs.n_waiting,
                "running": self._jobs.is_running,
            }
        )

    async def file(self, request: Request) -> Response:
        digest = request.path_params["digest"]
        if not DIGEST.fullmatch(digest):
            raise _Refusal(400, "is not a SHA-256 in lower-case hexadecimal")
        if request.method == "PATCH":
            return await self._receive(request, digest)
        if "upload-length" in request.headers:
            self._check_size(_number_in(request, "upload-length"))
        whole = await asyncio.to_thread(self._cache.is_whole, digest)
        return _at(self._cache.received(digest), whole)

    def _check_size(self, length: int) -> None:
        most = self._cache.most_file_bytes
        if length > most:
            raise _Refusal(413, f"a file may have {most} bytes (--max-file-mb, --cache-mb)")

    async def _receive(self, request: Request, digest: str) -> Response:
        offset = _number_in(request, "upload-offset")
        length = _number_in(request, "upload-length")
        self._check_size(length)
        if await asyncio.to_thread(self._cache.is_whole, digest):
            return _at(self._cache.received(digest), True)
        try:
            upload = self._cache.begin(digest, offset, length)
            try:
                async for chunk in request.stream():
                    upload.write(chunk)
                whole = await asyncio.to_thread(upload.end)
            finally:
                upload.close()
        except WrongOffset as error:
            headers = {"Upload-Offset": str(error.offset)}
            raise _Refusal(409, str(error), headers) from error
        except TooBig as error:
            raise _Refusal(413, str(error)) from error
        except WrongDigest as error:
            raise _Refusal(422, str(error)) from error
        except NoRoom as error:
            raise _Refusal(507, str(error)) from error
        return _at(upload.offset, whole)

    async def job(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not JOB_ID.fullmatch(name):
            raise _Refusal(400, "a job's id has 8 to 64 letters, digits, _ and -")
        if request.method == "PUT":
            return await self._take(request, name)
        job = self._jobs.get(name)
        if job is None:
            raise _Refusal(404, "no such job; it may have been forgotten")
        if request.method == "DELETE":
            self._jobs.cancel(name)
            return Response(status_code=204)
        await _ended(job, _wait_s(request))
        return self._told(job)

    async def _take(self, request: Request, name: str) -> Response:
        try:
            message = parse_job(await _body(request))
        except MessageFault as error:
            raise _Refusal(400, str(error)) from error
        self._check_backends(message)
        try:
            job, is_new = await self._jobs.take(name, message)
        except OtherJob as error:
            raise _Refusal(409, "a job of that id is another one") from error
        except QueueFull as error:
            raise _Refusal(429, f"{self._jobs.most} jobs are waiting already") from error
        except Missing as error:
            raise _Refusal(422, str(error), missing=error.digests) from error
        return self._told(job, 201 if is_new else 200)

    def _check_backends(self, message: JobMessage) -> None:
        for backend in sorted({c.backend for c in message.candidates}):
            if backend not in self._backends:
                here = ", ".join(self._backends)
                raise _Refusal(422, f'no backend "{backend}" on this device (has {here})')

    def _told(self, job: Job, status: int = 200) -> Response:
        content = {"id": job.name, "state": job.state}
        if job.state == "done" and status == 200:
            head = json.dumps(content).removesuffix("}").encode()
            body = b'%s, "result": %s}' % (head, job.result)
            return Response(body, media_type="application/json")
        if job.error:
            content["error"] = job.error
        return json_response({**content, "before": self._jobs.n_before(job)}, status)


def usable_backends() -> list[str]:
    """Names of the runtimes that work without torch and are installed here."""
    usable = []
    for name in BACKENDS:
        try:
            info = backend_info(name)
        except UnknownName:  # one from outside that does not load here
            continue
        if info.on_agents and not missing_modules(info):
            usable.append(name)
    return usable


def _at(offset: int, whole: bool) -> Response:
    return Response(status_code=200 if whole else 204, headers={"Upload-Offset": str(offset)})


def _number_in(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not _NUMBER.fullmatch(text):
        raise _Refusal(400, f"{header} has to be a number of bytes")
    return int(text)


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait_s", "0")
    try:
        wait_s = float(text) if len(text) < 20 else math.nan
    except ValueError:
        wait_s = math.nan
    if not 0 <= wait_s <= _MOST_WAIT_S:
        raise _Refusal(400, f"wait_s has to be a number from 0 to {_MOST_WAIT_S:g}")
    return wait_s


async def _ended(job: Job, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await job.ended.wait()
    except TimeoutError:
        pass  # its state says so


async def _body(request: Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(_BODY_S):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_JSON_BYTES:
                raise _Refusal(413, f"a message may have {MOST_JSON_BYTES} bytes")
    return bytes(body)


class _Server(uvicorn.Server):
    """Ends the running job at once when it is told to end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        guard = self.config.app
        assert isinstance(guard, Guard)
        self._loop.call_soon_threadsafe(guard.app.state.close)
