"""The endpoints: recordings as OpenAI's clients send them, live speech by WebSocket.

POST /v1/audio/transcriptions      multipart: file, model, response_format, …
GET  /v1/models
WS   /v1/audio/stream?model=NAME   16 kHz mono PCM in, text out as it grows
GET  /health /metrics
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from search.serving.hearing import LiveStream, TooLong, words_of
from search.serving.metrics import Metrics
from search.serving.models import Model, Models
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import UserFault, WorkError
from workers.transcript import Word, text_of, written

_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_ENCODINGS: dict[str, tuple[np.dtype[Any], float]] = {
    "pcm_s16le": (np.dtype("<i2"), 1 / 32768),
    "pcm_f32le": (np.dtype("<f4"), 1.0),
}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MOST_TEXT = 4096  # bytes of a message that is not audio
_BAD, _TOO_MUCH, _BUSY, _OURS = 1008, 1009, 1013, 1011  # how a WebSocket is closed

log = logging.getLogger("search.serve")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """What one server takes."""

    body_mb: float = 100.0  # 10^6 bytes of a recording
    audio_s: float = 4 * 3600.0  # that it may last
    requests: int = 64  # at once; more are asked to come again
    streams: int = 256  # of live speech
    body_s: float = 120.0  # in which a recording has to be here
    silent_s: float = 60.0  # without a word from a live speaker


class Refused(Exception):
    """An answer that is no text."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


class Service:
    """All that the endpoints share."""

    def __init__(self, models: Models, metrics: Metrics, limits: Limits) -> None:
        self.models, self.metrics, self.limits = models, metrics, limits
        self.n_requests = self.n_streams = 0
        self.is_ready = False

    def model(self, name: str) -> Model:
        known = self.models.by_name
        if name in known:
            return known[name]
        if not name and len(known) == 1:
            return next(iter(known.values()))
        raise Refused(404, f"no model {name[:100]!r} here; there are: {', '.join(known)}")

    async def transcriptions(self, request: Request) -> Response:
        if self.n_requests >= self.limits.requests:
            raise Refused(503, f"{self.limits.requests} requests are being answered", "overloaded")
        self.n_requests += 1
        self.metrics.running.set(self.n_requests)
        try:
            return await self._transcribed(request)
        finally:
            self.n_requests -= 1
            self.metrics.running.set(self.n_requests)

    async def _transcribed(self, request: Request) -> Response:
        name = ""
        try:
            async with _form(request, self.limits) as form:
                upload, name = form.get("file"), str(form.get("model") or "")
                wanted = str(form.get("response_format") or "json")
                if wanted not in _FORMATS:
                    raise Refused(400, f"response_format is one of {', '.join(_FORMATS)}")
                if not isinstance(upload, UploadFile):
                    raise Refused(400, "`file` is missing: the recording, as a file of the form")
                model = self.model(name)
                words, length_s = await self._heard(model, upload)
        except Refused as refused:
            known = name if name in self.models.by_name else "-"
            self.metrics.requests.labels(known, refused.status).inc()
            raise
        self.metrics.requests.labels(model.name, 200).inc()
        return _answer(words, length_s, wanted)

    async def _heard(self, model: Model, upload: UploadFile) -> tuple[list[Word], float]:
        with tempfile.TemporaryDirectory(prefix="heard-") as folder:
            path = Path(folder) / "recording"
            await asyncio.to_thread(_copied, upload, path)
            start_s = time.monotonic()
            try:
                length_s = await asyncio.to_thread(_length_s, path)
                with model.heard_by(min(length_s, self.limits.audio_s)) as pool:
                    words, length_s = await words_of(pool, path, self.limits.audio_s)
            except TooLong as error:
                raise Refused(413, f"the recording {error}") from error
            except UserFault as fault:
                raise Refused(400, str(fault).replace(str(path), "the recording")) from fault
            except WorkError as error:
                log.error("%s: %s", model.name, error)
                raise Refused(500, "the model failed on this recording", "server_error") from error
        self.metrics.seconds.labels(model.name).observe(time.monotonic() - start_s)
        self.metrics.audio_s.labels(model.name).inc(length_s)
        return words, length_s

    async def list_models(self, _request: Request) -> Response:
        listed = [
            {"id": n, "object": "model", "owned_by": "compression-search", "live": _is_live(model)}
            for n, model in self.models.by_name.items()
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def health(self, _request: Request) -> Response:
        status = 200 if self.is_ready else 503
        return JSONResponse({"status": "ok" if self.is_ready else "loading"}, status)

    async def tell_metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def stream(self, socket: WebSocket) -> None:
        """Live speech: binary messages are audio, `{"type": "end"}` is the end of it. Text is told
        whenever there is more of it; with `progress=true` after every chunk."""
        try:
            model = self.model(socket.query_params.get("model", ""))
            encoding = socket.query_params.get("encoding", "pcm_s16le")
            if encoding not in _ENCODINGS:
                raise Refused(400, f"encoding is one of {', '.join(_ENCODINGS)}")
            if not _is_live(model):
                raise Refused(
                    400,
                    f"{model.name} hears whole recordings; live speech is heard by students of "
                    "`task: streaming`",
                )
            if self.n_streams >= self.limits.streams:
                raise Refused(503, f"{self.limits.streams} speakers are being heard")
        except Refused as refused:
            await socket.accept()
            await _end(socket, _BUSY if refused.status == 503 else _BAD, str(refused))
            return
        await socket.accept()
        self.n_streams += 1
        gauge = self.metrics.streams.labels(model.name)
        gauge.inc()
        try:
            await self._listen(socket, model, encoding)
        finally:
            self.n_streams -= 1
            gauge.dec()

    async def _listen(self, socket: WebSocket, model: Model, encoding: str) -> None:
        chunks = self.metrics.chunk_seconds.labels(model.name)
        wants_progress = socket.query_params.get("progress") == "true"
        with model.heard_by(0.0) as pool:
            live = LiveStream(pool)
            try:
                while True:
                    samples = await _samples(socket, encoding, self.limits.silent_s)
                    if samples is None:
                        break
                    has_more = await live.accept(samples)
                    if has_more or (wants_progress and live.chunk_s):
                        told = {"type": "text", "text": live.text, "heard_s": live.heard_s}
                        await socket.send_json(told)
                    model.came(len(samples) / SAMPLE_RATE_HZ)
                    self.metrics.audio_s.labels(model.name).inc(len(samples) / SAMPLE_RATE_HZ)
                    for took_s in live.chunk_s:
                        chunks.observe(took_s)
                    live.chunk_s.clear()
                await live.finish()
                await socket.send_json({"type": "final", "text": live.text})
                await _end(socket, 1000, None)
            except (WebSocketDisconnect, ClientDisconnect):
                return
            except Refused as refused:
                await _end(socket, _BAD, str(refused))
            except WorkError as error:
                log.error("%s: %s", model.name, error)
                await _end(socket, _OURS, "the model failed on this speech")


def _is_live(model: Model) -> bool:
    return any(pool.windowing is not None for pool in model.pools.values())


async def _samples(socket: WebSocket, encoding: str, silent_s: float) -> np.ndarray | None:
    """The next samples float32 [n]; None at the end of the speech."""
    try:
        message = await asyncio.wait_for(socket.receive(), silent_s)
    except TimeoutError as error:
        raise Refused(408, f"nothing was heard for {silent_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    if (audio := message.get("bytes")) is not None:
        kind, scale = _ENCODINGS[encoding]
        if len(audio) % kind.itemsize:
            raise Refused(400, f"{len(audio)} bytes are no whole samples of {encoding}")
        samples = np.frombuffer(audio, kind).astype(np.float32) * np.float32(scale)
        if not np.isfinite(samples).all():
            raise Refused(400, "samples are finite numbers")
        return samples
    text = message.get("text") or ""
    with contextlib.suppress(ValueError, AttributeError, RecursionError):
        if len(text) <= _MOST_TEXT and json.loads(text).get("type") == "end":
            return None
    raise Refused(400, 'a message is audio, or {"type": "end"}')


async def _end(socket: WebSocket, code: int, error: str | None) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may be gone
        if error is not None:
            await socket.send_json({"type": "error", "message": error})
        await socket.close(code)


@contextlib.asynccontextmanager
async def _form(request: Request, limits: Limits) -> AsyncIterator[Any]:
    """The form of a request, within its limits of size and time."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Refused(400, "the body is multipart/form-data with `file` and `model`")
    most = int(limits.body_mb * 1_000_000)
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        raise Refused(413, f"a request has at most {limits.body_mb:g} MB")
    receive, n_bytes = request.receive, 0

    async def counted() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > most:
            raise Refused(413, f"a request has at most {limits.body_mb:g} MB")
        return message

    try:
        async with asyncio.timeout(limits.body_s):
            form = await Request(request.scope, counted).form(max_files=1, max_fields=32)
    except TimeoutError as error:
        raise Refused(408, f"the request took more than {limits.body_s:g} s") from error
    except (MultiPartException, HTTPException) as error:
        reason = getattr(error, "detail", error)
        raise Refused(400, f"the form cannot be read ({reason})") from error
    try:
        yield form
    finally:
        await form.close()


def _copied(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        while part := upload.file.read(1 << 20):
            file.write(part)


def _length_s(path: Path) -> float:
    from workers.data.audio import open_audio

    with open_audio(path) as recording:
        return recording.duration_s


def _answer(words: list[Word], length_s: float, wanted: str) -> Response:
    if wanted == "json":
        return JSONResponse({"text": text_of(words)})
    if wanted == "verbose_json":
        timed = [{"word": w.text, "start": w.start_s, "end": w.end_s} for w in words]
        segment = {"id": 0, "start": 0.0, "end": length_s, "text": text_of(words)}
        told = {"task": "transcribe", "language": "", "duration": length_s, "text": text_of(words)}
        return JSONResponse({**told, "words": timed, "segments": [segment] if words else []})
    form: Any = wanted
    return PlainTextResponse(written(words, form, "recording"))


class Guard:
    """In front of everything: the token, or where there is none, that nobody else's page asks."""

    def __init__(self, app: Starlette, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._expected is not None:
            given = headers.get("authorization", "").encode()
            refusal = None if hmac.compare_digest(given, self._expected) else "needs the token"
        else:
            refusal = _of_elsewhere(headers)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _BAD})
        else:
            status = 401 if self._expected is not None else 403
            await _error(status, refusal, "authentication_error")(scope, receive, send)


def _of_elsewhere(headers: Headers) -> str | None:
    """Why a request comes from a page that somebody else wrote; None where it does not."""
    if _host_of(f"//{headers.get('host', '')}") not in _LOOPBACK:
        return "is served to this machine only, by the name localhost; give it a token for others"
    origin = headers.get("origin")
    if origin is not None and _host_of(origin) not in _LOOPBACK:
        return "pages of other sites may not ask"
    return None


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _error(status: int, message: str, kind: str) -> Response:
    """As OpenAI's clients read it."""
    headers = {"Retry-After": "1"} if status == 503 else None
    told = {"message": message, "type": kind, "param": None, "code": None}
    return JSONResponse({"error": told}, status, headers)


def make_app(service: Service, token: str | None) -> Guard:
    """The application; its lifespan loads the models and looks for bundles that were replaced."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(service.models.watch())
        service.is_ready = True
        try:
            yield
        finally:
            watch.cancel()
            await service.models.close()

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return _error(error.status, str(error), error.kind)

    async def http_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, error.detail, "invalid_request_error")

    async def failed(_request: Request, _exception: Exception) -> Response:
        return _error(500, "failed; see the log", "server_error")

    async def gone(_request: Request, _exception: Exception) -> Response:
        return Response(status_code=499)

    app = Starlette(
        routes=[
            Route("/v1/audio/transcriptions", service.transcriptions, methods=["POST"]),
            Route("/v1/models", service.list_models),
            Route("/health", service.health),
            Route("/metrics", service.tell_metrics),
            WebSocketRoute("/v1/audio/stream", service.stream),
        ],
        exception_handlers={
            Refused: refused,
            HTTPException: http_error,
            ClientDisconnect: gone,
            Exception: failed,
        },
        lifespan=lifespan,
    )
    return Guard(app, token)
