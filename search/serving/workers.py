"""Processes that run one bundle, fed in batches: whatever waits when one gets free goes together.

A process that dies or hangs is started anew and its batch sent again, in halves where it dies of
it, until the request that kills it stands alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from spaces.backends import backend_info
from workers.backends.environments import interpreter_of
from workers.conversation import Conversation
from workers.errors import BundleFault, UserFault, WorkError
from workers.isolated_call import Bounds
from workers.recognizer import OpenedBundle, copied_bundle

log = logging.getLogger("search.serve")

_OPEN_S = 300.0
_LEAST_S, _S_PER_AUDIO_S = 30.0, 10.0
_REMEMBERED = 10_000  # batches
_DEATHS = 3  # that a request alone may cause
_ANSWER_BYTES = 64_000_000


@dataclass(frozen=True)
class Batching:
    """How many requests a process hears at once, and how long the first of them waits for others
    while other processes are busy."""

    most: int = 16
    wait_ms: float = 3.0


@dataclass(frozen=True)
class Windowing:
    """Frames of a window and from one to the next, of a model that hears live speech."""

    window: int
    shift: int


@dataclass(eq=False)
class _Request:
    kind: str
    content: dict[str, Any] | str
    audio_s: float
    answer: asyncio.Future[Any]
    since_s: float = field(default_factory=time.monotonic)
    deaths: int = 0


class Pool:
    """A bundle, loaded in so many processes, on an event loop.

    Args:
        told: of each batch: how many requests, seconds that the first waited, seconds that it took.
        died: of each process that had to be started anew.
    """

    def __init__(
        self,
        path: Path,
        copies: int,
        threads: int,
        batching: Batching,
        told: Callable[[int, float, float], None] = lambda _n, _waited, _took: None,
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self._batching, self._told, self._died = path, batching, told, died
        self._folder = Path(tempfile.mkdtemp(prefix="served-"))
        self._threads = threads
        self._waiting: deque[_Request] = deque()
        self._arrived = asyncio.Event()
        self._took: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # when, how long
        self._calls = ThreadPoolExecutor(copies, "served")
        self._conversations: list[Conversation] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._n_copies, self._n_busy, self._n_users = copies, 0, 0
        self.windowing: Windowing | None = None

    async def open(self) -> None:
        """Load the bundle in every process.

        Raises:
            UserFault, WorkError: when it cannot be.
        """
        loop = asyncio.get_running_loop()
        try:
            self.bundle = await loop.run_in_executor(
                self._calls, copied_bundle, self.path, self._folder
            )
            self._conversations = [self._conversation() for _ in range(self._n_copies)]
            opened = [
                loop.run_in_executor(self._calls, c.ask, self._asked("open"), _OPEN_S)
                for c in self._conversations
            ]
            told = (await asyncio.gather(*opened))[0]
        except BaseException:
            await self.close()
            raise
        if told["n_symbols"] != len(self.bundle.symbols):
            await self.close()
            raise BundleFault(
                f"{self.path}: its model writes {told['n_symbols']} symbols, its tokens are "
                f"{len(self.bundle.symbols)}"
            )
        if told["window"] is not None:
            self.windowing = Windowing(told["window"], told["shift"])
        self._tasks = [asyncio.create_task(self._work(c)) for c in self._conversations]

    def _conversation(self) -> Conversation:
        bundle = self.bundle
        bounds = Bounds(answer_bytes=_ANSWER_BYTES)
        if not backend_info(bundle.backend).gpu:
            memory_mb = psutil.virtual_memory().available // 1_000_000
            bounds = Bounds(
                memory_mb=memory_mb, answer_bytes=_ANSWER_BYTES, folder=bundle.main.parent
            )
        interpreter = interpreter_of(bundle.backend)
        return Conversation("serve", interpreter, self._threads, bounds)

    def _asked(self, kind: str, **content: object) -> dict[str, Any]:
        bundle: OpenedBundle = self.bundle
        return {
            "kind": kind,
            "backend": bundle.backend,
            "model": str(bundle.main),
            "threads": self._threads,
            "front_end": bundle.front_end.code,
            "fast": bundle.has_fast_features,
            **content,
        }

    async def hear(self, kind: str, content: dict[str, Any] | str, audio_s: float) -> Any:
        """What the model makes of a request, `utterances` or `windows`.

        Raises:
            UserFault, WorkError: as the model's process, for this request alone.
        """
        request = _Request(kind, content, audio_s, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._arrived.set()
        return await request.answer

    @property
    def waiting_s(self) -> float:
        """How long the request that is next has waited."""
        return time.monotonic() - self._waiting[0].since_s if self._waiting else 0.0

    def busy_share(self, over_s: float) -> float:
        """What share of their time the processes were busy lately."""
        now = time.monotonic()
        while self._took and now - self._took[0][0] > over_s:
            self._took.popleft()
        return sum(took_s for _, took_s in self._took) / (over_s * self._n_copies)

    @property
    def n_waiting(self) -> int:
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        """Of the processes that run now."""
        return [c.pid for c in self._conversations if c.pid is not None]

    async def _work(self, conversation: Conversation) -> None:
        while True:
            batch = await self._batch()
            if not batch:
                continue
            self._n_busy += 1
            try:
                await self._answer(conversation, batch)
            except Exception as error:  # of ours: these requests fail, the next are heard
                log.exception("%s: a batch failed", self.path.name)
                for request in batch:
                    if not request.answer.done():
                        request.answer.set_exception(WorkError(str(error)))
            finally:
                self._n_busy -= 1

    async def _batch(self) -> list[_Request]:
        """The request that has waited longest and those of its kind that wait with it."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        wait_s = self._batching.wait_ms / 1000 - self.waiting_s
        if wait_s > 0 and len(self._waiting) < self._batching.most and self._n_busy:
            await asyncio.sleep(wait_s)  # others are being heard: more will come
        if not self._waiting:
            return []
        kind = self._waiting[0].kind
        batch: list[_Request] = []
        while self._waiting and self._waiting[0].kind == kind and len(batch) < self._batching.most:
            request = self._waiting.popleft()
            if not request.answer.done():  # who asked may be gone
                batch.append(request)
        return batch

    async def _answer(self, conversation: Conversation, batch: Sequence[_Request]) -> None:
        start_s = time.monotonic()
        name = "samples" if batch[0].kind == "utterances" else "streams"
        asked = self._asked(batch[0].kind, **{name: [r.content for r in batch]})
        time_s = _LEAST_S + _S_PER_AUDIO_S * sum(r.audio_s for r in batch)
        try:
            answers = await self._asked_of(conversation, asked, time_s)
        except UserFault as fault:
            await self._each(conversation, batch, fault)
        except WorkError as error:
            if len(batch) == 1:
                batch[0].deaths += 1
            await self._each(conversation, batch, error)
        else:
            for request, answer in zip(batch, answers, strict=True):
                if not request.answer.done():
                    request.answer.set_result(answer)
            self._took.append((time.monotonic(), time.monotonic() - start_s))
            self._told(len(batch), start_s - batch[0].since_s, time.monotonic() - start_s)

    async def _asked_of(
        self, conversation: Conversation, asked: dict[str, Any], time_s: float
    ) -> Any:
        loop, n_started = asyncio.get_running_loop(), conversation.n_started
        try:
            return await loop.run_in_executor(self._calls, conversation.ask, asked, time_s)
        finally:
            for _ in range(conversation.n_started - n_started):
                self._died()

    async def _each(
        self, conversation: Conversation, batch: Sequence[_Request], error: Exception
    ) -> None:
        """After a batch that failed: a request alone fails, or tries again; others in halves."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._answer(conversation, batch[:half])
            await self._answer(conversation, batch[half:])
            return
        (request,) = batch
        if isinstance(error, UserFault) or request.deaths >= _DEATHS:
            if not request.answer.done():
                request.answer.set_exception(error)
            return
        await self._answer(conversation, batch)

    @contextlib.contextmanager
    def used(self) -> Iterator[Pool]:
        """A request or a stream that this pool has to outlive."""
        self._n_users += 1
        try:
            yield self
        finally:
            self._n_users -= 1

    async def drain(self) -> None:
        """Close when nobody uses it any more."""
        while self._n_users or self._waiting or self._n_busy:
            await asyncio.sleep(0.05)
        await self.close()

    def _closed(self) -> None:
        for conversation in self._conversations:
            conversation.close()
        self._calls.shutdown(wait=False, cancel_futures=True)

    async def close(self) -> None:
        """End the processes."""
        for task in self._tasks:
            task.cancel()
        for conversation in self._conversations:
            conversation.kill()  # who waits for its answer lets go of it
        await asyncio.to_thread(self._closed)
        shutil.rmtree(self._folder, ignore_errors=True)
