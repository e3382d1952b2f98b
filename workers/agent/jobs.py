"""One job at a time, a bounded queue behind it, and a bounded memory of what came of the last ones.

All of it happens on the event loop; a thread waits for the child process that measures. A model
that crashes its runtime, never ends or eats memory ends that child and costs that job only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from workers.agent.cache import Cache, NoRoom
from workers.agent.messages import JobMessage
from workers.errors import UserFault, WorkError
from workers.isolated_call import Bounds, call
from workers.probe.request import Candidate, LatencyRequest, process_samples_of

State = Literal["queued", "running", "done", "failed", "cancelled"]
_MOST_FINISHED = 32
_MOST_RESULT_BYTES = 16_000_000  # of one job
_MOST_KEPT_BYTES = 32_000_000  # of all finished ones
_MOST_ERROR = 500
# What a result needs: six series of numbers, a text an utterance, and of each model the rest.
_SERIES, _NUMBER_BYTES, _TEXT_BYTES, _REST_BYTES = 6, 25, 10_000, 1_000_000
_PATH = re.compile(r"(?<![^\s:'\"([=])(?:/[^\s/:'\"]+)*/([^\s/:'\"]+)")


class QueueFull(Exception):
    """No more jobs are taken now."""


class OtherJob(Exception):
    """A job of that name is another one."""


@dataclass(eq=False)
class Job:
    """What is known of one job. `result` is JSON: a list of ProcessSample as objects."""

    name: str
    content: str  # digest of its message
    message: JobMessage
    state: State = "queued"
    result: bytes = b""
    error: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_final(self) -> bool:
        return self.state not in ("queued", "running")

    def end_process(self) -> None:
        """Kill the child with all that it started."""
        process = self.process
        if process is not None and process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                process.kill()


class Jobs:
    """Takes jobs in order. `bounds` are those of one job; `most` may wait."""

    def __init__(
        self, cache: Cache, bounds: Bounds, most: int, log: Callable[[str], None] = print
    ) -> None:
        self._cache, self._bounds, self.most, self._log = cache, bounds, most, log
        self._jobs: dict[str, Job] = {}
        self._waiting: asyncio.Queue[Job] = asyncio.Queue()
        self._taking = asyncio.Lock()

    @property
    def n_waiting(self) -> int:
        return sum(j.state == "queued" for j in self._jobs.values())

    @property
    def is_running(self) -> bool:
        return any(j.state == "running" for j in self._jobs.values())

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def n_before(self, job: Job) -> int:
        """Jobs that will end before this one begins."""
        others = list(self._jobs.values())
        return sum(not j.is_final for j in others[: others.index(job)]) if job in others else 0

    async def take(self, name: str, message: JobMessage) -> tuple[Job, bool]:
        """Queue a job; (the one of that name, whether it is new).

        Raises:
            OtherJob: when that name has another content.
            QueueFull: try again later.
            Missing: files that are not in the cache.
        """
        content = hashlib.sha256(message.to_json().encode()).hexdigest()
        async with self._taking:
            known = self._jobs.get(name)
            if known is not None:
                if known.content != content:
                    raise OtherJob
                return known, False
            if self.n_waiting >= self.most:
                raise QueueFull
            await asyncio.to_thread(self._cache.need, message.digests)
            job = Job(name, content, message)
            self._jobs[name] = job
            self._waiting.put_nowait(job)
            return job, True

    def cancel(self, name: str) -> None:
        """End a job, or forget a finished one."""
        job = self._jobs[name]
        if job.is_final:
            del self._jobs[name]
            return
        was_running = job.state == "running"
        self._end(job, "cancelled")
        if was_running:
            job.end_process()

    async def work(self) -> None:
        """Perform the jobs that come, for ever."""
        while True:
            job = await self._waiting.get()
            if job.state != "queued":
                continue
            job.state = "running"
            self._log(f"job {job.name[:8]} begins")
            try:
                state, payload = await asyncio.to_thread(self._perform, job)
            except RuntimeError as error:  # no thread is to be had
                state, payload = "failed", self._failure(f"the device could not begin it ({error})")
            finally:
                self._cache.release(job.message.digests)
            if job.state == "running":
                self._end(job, state, payload)

    def close(self) -> None:
        """Cancel all that has not ended."""
        for job in list(self._jobs.values()):
            if not job.is_final:
                self.cancel(job.name)

    def _end(self, job: Job, state: State, payload: bytes = b"") -> None:
        if job.state == "queued":  # a running one still uses its files
            self._cache.release(job.message.digests)
        job.state = state
        if state == "done":
            job.result = payload
        else:
            job.error = payload.decode()
        job.ended.set()
        self._log(f"job {job.name[:8]} {state}{f': {job.error}' if job.error else ''}")
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        final = [j for j in self._jobs.values() if j.is_final]
        kept_bytes = sum(len(j.result) for j in final)
        n_kept = len(final)
        for job in final[:-1]:
            if n_kept <= _MOST_FINISHED and kept_bytes <= _MOST_KEPT_BYTES:
                return
            del self._jobs[job.name]
            n_kept, kept_bytes = n_kept - 1, kept_bytes - len(job.result)

    def _perform(self, job: Job) -> tuple[State, bytes]:
        """In a thread: measure in a child process; the state it ends in, and result or error."""

        def started(process: subprocess.Popen[bytes]) -> None:
            job.process = process
            if job.state != "running":  # cancelled before there was anything to kill
                job.end_process()

        try:
            self._cache.make_again()
            request = _laid_out(job.message, self._cache)
            bounds = replace(self._bounds, answer_bytes=_most_bytes(request))
            answer = call(
                "measure", asdict(request), None, request.threads, bounds, on_start=started
            )
            return "done", _checked(answer, len(request.candidates))
        except UserFault as error:
            return "failed", self._failure(str(error))
        except WorkError as error:
            return "failed", self._failure(_last_line(str(error)))
        except NoRoom as error:
            return "failed", self._failure(str(error))
        except OSError as error:
            return "failed", self._failure(f"the device could not begin it ({error.strerror})")
        except Exception as error:  # whatever is wrong with one job, the next one is served
            return "failed", self._failure(f"the device failed ({type(error).__name__})")
        finally:
            self._cache.empty_work()

    def _failure(self, text: str) -> bytes:
        """Bounded, on one line, of paths only the last part, and nothing that a terminal obeys."""
        plain = _PATH.sub(r"\1", " ".join(text.replace(f"{self._cache.work}/", "").split()))
        return "".join(c for c in plain[:_MOST_ERROR] if c.isprintable()).encode(errors="replace")


def _laid_out(message: JobMessage, cache: Cache) -> LatencyRequest:
    """The request over files with the names that they need, in the work folder."""

    def placed(digest: str, path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        cache.place(digest, path)
        return str(path)

    candidates = []
    for i, candidate in enumerate(message.candidates):
        folder = cache.work / str(i)
        for name, digest in candidate.files.items():
            placed(digest, folder / "model" / name)
        tokens = placed(candidate.tokens, folder / "tokens.txt")
        model = str(folder / "model" / candidate.main)
        settings = dict(candidate.settings)
        candidates.append(
            Candidate(
                candidate.backend,
                model,
                tokens,
                settings,
                candidate.front_end,
                candidate.filter_bank,
            )
        )
    audio = [placed(d, cache.work / "audio" / f"{i}.npy") for i, d in enumerate(message.audio)]
    return LatencyRequest(
        candidates=tuple(candidates),
        audio=tuple(audio),
        audio_s=message.audio_s,
        threads=message.threads,
        min_runs=message.min_runs,
        max_s=message.max_s,
        within=message.within,
        restarts=1,
        details=message.details,
        gpu=message.gpu,
    )


def _most_bytes(request: LatencyRequest) -> int:
    """Of the answer to a request; more is none."""
    of_an_utterance = request.most_passes * _SERIES * _NUMBER_BYTES + _TEXT_BYTES
    each = len(request.audio) * of_an_utterance + _REST_BYTES
    return min(_MOST_RESULT_BYTES, len(request.candidates) * each)


def _checked(answer: Any, n_candidates: int) -> bytes:
    """The answer of a child as JSON; a model may have made its runtime say anything.

    Raises:
        WorkError: when it is not a measurement.
    """
    try:
        restarts = process_samples_of(answer)
        result = json.dumps([asdict(r) for r in restarts], allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise WorkError("gave no measurement") from error
    if len(restarts) != n_candidates or len(result) > _MOST_RESULT_BYTES:
        raise WorkError("gave no measurement of a sane size")
    return result


def _last_line(text: str) -> str:
    """How a child ended and its last line, without the traceback before it."""
    how, _, lines = text.partition(": ")
    return f"{how}: {lines.rpartition(' / ')[2]}" if lines else how
