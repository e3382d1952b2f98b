"""Many calls of one operation in one process of its own: what it has loaded stays loaded."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from workers.errors import UserFault, WorkError
from workers.isolated_call import Answer, Bounds, Request, answer_of, end_process, start_process

_LOOK_S = 0.5  # a process that the runtime leaves behind could hold the pipe open for ever
_PART_BYTES = 1 << 16
_END_S = 5.0
# Linux ends a child with the thread that started it; threads of a page come and go.
_STARTER = ThreadPoolExecutor(1, "starter")


class Conversation:
    """A process that is started when it is first asked, and anew once it has ended.

    Of `bounds` the time is that of each answer.
    """

    def __init__(
        self,
        operation: str,
        interpreter: Path | None = None,
        threads: int = 1,
        bounds: Bounds | None = None,
    ) -> None:
        self._how = (operation, interpreter, threads, bounds or Bounds())
        self._partner: _Partner | None = None
        self._turn = threading.Lock()
        self.n_started = 0  # processes so far

    def ask(self, request: Request, time_s: float) -> Answer:
        """Perform the operation once more.

        Raises:
            UserFault: as the operation raised it.
            WorkError: when the process fails, with the last line that it printed.
        """
        with self._turn:
            if self._partner is None or not self._partner.is_running:
                self._end()
                self._partner = _STARTER.submit(_Partner, *self._how).result()
                self.n_started += 1
            try:
                return self._partner.ask(request, time_s)
            except UserFault:
                raise
            except BaseException:  # an answer that comes later would be taken for the next one
                self._end()
                raise

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        partner = self._partner
        return None if partner is None else partner.pid

    def kill(self) -> None:
        """End the process at once, whoever waits for its answer: he is told that it died."""
        partner = self._partner
        if partner is not None:
            partner.kill()

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._partner is not None:
            self._partner.end()
        self._partner = None


class _Partner:
    """One process: a line of JSON goes in, another comes out."""

    def __init__(
        self, operation: str, interpreter: Path | None, threads: int, bounds: Bounds
    ) -> None:
        self._bounds = bounds
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        pipe = subprocess.PIPE
        self._process = start_process(
            operation, interpreter, threads, bounds, pipe, pipe, self._stderr
        )
        self.end = weakref.finalize(self, _end, self._process, self._stderr)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        end_process(self._process)

    def ask(self, request: Request, time_s: float) -> Answer:
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None and answers is not None
        try:
            given.write(json.dumps({**self._bounds.limits, "request": request}).encode() + b"\n")
            given.flush()
            line = self._line(answers, time.monotonic() + time_s)
        except TimeoutError as error:
            raise WorkError(f"took more than {time_s:g} s and was ended") from error
        except BrokenPipeError:
            line = b""
        return answer_of(
            0 if line else self._how_it_ended(), line.decode(errors="replace"), self._stderr
        )

    def _line(self, answers: IO[bytes], deadline: float) -> bytes:
        """The next answer; empty where the process has ended without."""
        line = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                if selector.select(min(left_s, _LOOK_S)):
                    part = os.read(answers.fileno(), _PART_BYTES)
                    line += part
                    if not part:
                        return b""
                elif not self.is_running:
                    return b""
                if len(line) > self._bounds.answer_bytes:
                    raise WorkError(f"answered more than {self._bounds.answer_bytes} bytes")
        return bytes(line)

    def _how_it_ended(self) -> int:
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired as error:
            raise WorkError("answers no more and was ended") from error


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    end_process(process)
    for pipe in (process.stdin, process.stdout, stderr):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # of what it was not told any more
                pipe.close()
    process.wait()
