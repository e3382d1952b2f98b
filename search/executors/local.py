"""Runs each job in a child process of this host.

Children are forked from a server that has imported torch already and started no threads, so
that a stage costs milliseconds to start and shares nothing with the next. A child ends by itself
when the coordinator is gone, however it went.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from search.clock import SYSTEM_CLOCK, Clock
from search.errors import EnvironmentFault
from search.executors.base import JobError, JobOutcome, is_environment_fault, job_error
from search.executors.temporary import own_temporary_folder
from search.progress import StageProgress
from storage.artifacts import ArtifactStore
from workers.atomic import write_json
from workers.errors import KILLED
from workers.jobs import JOB, Job
from workers.results import RESULT
from workers.workspace import Workspace

_LOG_LINES = 30
# The kernel ends what takes its last memory, and who reads a mapped file that was cut short.
_SENT_BY_THE_HOST = (signal.SIGKILL, signal.SIGBUS)
_LONGEST_LOOK_S = 5.0  # between two looks; what is more was a pause of ours
_OUT_OF_MEMORY_HINT = " (out of memory?)"
_NO_OUTCOME = os.EX_IOERR  # of a child whose outcome this host did not let it write
_SERVER_GONE = 255  # what multiprocessing says of a child when nobody can tell how it ended


@dataclass
class _Running:
    """A child at work; `idle_s` is for how long we have watched it without a sign of progress."""

    process: ForkServerProcess
    folder: Path
    outcome: Path
    started: float
    watched: float
    sign: int | None = None
    idle_s: float = 0.0


class LocalExecutor:
    """Child processes; a stage that tells of no progress for `timeout_s` is ended.

    Args:
        entry: what a child does in place of a stage.
        preload: modules that children find imported.
    """

    def __init__(
        self,
        workspace: Workspace,
        timeout_s: float,
        entry: Callable[..., None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        preload: Sequence[str] = ("workers.stages.preload",),
    ) -> None:
        self._workspace, self._timeout_s, self._clock = workspace, timeout_s, clock
        self._entry = entry or run_child
        self._artifacts = ArtifactStore(workspace.artifacts)
        self._running: dict[int, _Running] = {}
        # A thread that spins while it waits for another takes the core that the other needs: on a
        # busy host training in two threads took twice as long so. Read when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        own_temporary_folder()

    def submit(self, ticket: int, job: Job) -> None:
        folder = self._workspace.stage_folder(job)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = folder / f"outcome.{uuid.uuid4().hex}.json"
        process = self._context.Process(
            target=self._entry,
            args=(JOB.dump_json(job).decode(), self._workspace.model_dump_json(), str(outcome)),
            daemon=False,
        )
        _start(process)
        now = self._clock.monotonic()
        self._running[ticket] = _Running(process, folder, outcome, now, watched=now)

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        if not self._running:
            self._clock.sleep(timeout_s)
            return []
        sentinels = [r.process.sentinel for r in self._running.values()]
        multiprocessing.connection.wait(sentinels, timeout_s)
        ended = []
        for ticket, running in list(self._running.items()):
            if running.process.exitcode is not None:
                ended.append(self._collect(ticket))
            elif self._watch(running) > self._timeout_s:
                _end(running)
                del self._running[ticket]
                ended.append(self._timed_out(ticket, running))
        return ended

    def _timed_out(self, ticket: int, running: _Running) -> JobOutcome:
        return JobOutcome(
            ticket,
            self._clock.monotonic() - running.started,
            error=f"made no progress for {self._timeout_s:g} s and was ended",
            log=last_lines(running.folder),
        )

    def _collect(self, ticket: int) -> JobOutcome:
        running = self._running.pop(ticket)
        running.process.join()
        code = running.process.exitcode
        duration_s = self._clock.monotonic() - running.started
        log = last_lines(running.folder)
        try:
            outcome = json.loads(running.outcome.read_text())
        except (OSError, ValueError):
            return JobOutcome(
                ticket,
                duration_s,
                error=_how_it_ended(code),
                is_environment_fault=_is_of_the_host(code),
                log=log,
            )
        running.outcome.unlink(missing_ok=True)
        if "error" in outcome:
            return JobOutcome.failed(ticket, duration_s, JobError.model_validate(outcome), log)
        result = RESULT.validate_python(outcome["result"])
        return JobOutcome(ticket, duration_s, result=result, log=log)

    def has_artifact(self, digest: str) -> bool:
        return self._artifacts.has(digest)

    def progress(self, ticket: int) -> StageProgress | None:
        running = self._running.get(ticket)
        if running is None:
            return None
        try:
            text = (running.folder / "progress.json").read_text()
            return StageProgress.model_validate_json(text)
        except (OSError, ValueError):
            return None

    def log(self, ticket: int) -> str | None:
        running = self._running.get(ticket)
        return None if running is None else last_lines(running.folder)

    def _watch(self, running: _Running) -> float:
        """Seconds without progress that we have seen.

        Only what passes between two looks is counted, and little of it: after Ctrl-Z or a night's
        sleep of the machine neither we nor the child have run.
        """
        now = self._clock.monotonic()
        passed_s, running.watched = min(now - running.watched, _LONGEST_LOOK_S), now
        sign = _last_sign(running.folder)
        running.idle_s = 0.0 if sign != running.sign else running.idle_s + passed_s
        running.sign = sign
        return running.idle_s

    def cancel(self, ticket: int) -> None:
        running = self._running.pop(ticket, None)
        if running is not None:
            _end(running)

    def close(self) -> None:
        for ticket in list(self._running):
            self.cancel(ticket)


def _start(process: ForkServerProcess) -> None:
    """Fork a child, from a new server where there is none.

    Raises:
        EnvironmentFault: when the server is ended before it answers.
    """
    resource_tracker.ensure_running()  # which would unblock the signal
    # The server inherits the mask: Ctrl-C reaches it only when it ignores it. Here it waits.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise EnvironmentFault(
            f"the process that stages are forked from was ended while it started"
            f"{_OUT_OF_MEMORY_HINT}"
        ) from error


def _last_sign(folder: Path) -> int | None:
    """When a stage last told of progress, in nanoseconds; None before it first did."""
    try:
        return (folder / "progress.json").stat().st_mtime_ns
    except OSError:
        return None


def _end(running: _Running) -> None:
    running.process.kill()
    running.process.join()
    running.outcome.unlink(missing_ok=True)


def last_lines(folder: Path) -> str | None:
    try:
        lines = (folder / "log.txt").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return "\n".join(lines[-_LOG_LINES:]) or None


def _is_of_the_host(code: int | None) -> bool:
    return code in (_NO_OUTCOME, _SERVER_GONE) or -(code or 0) in _SENT_BY_THE_HOST


def _how_it_ended(code: int | None) -> str:
    if code == _NO_OUTCOME:
        return "its outcome could not be written (no space left on device?)"
    if code == _SERVER_GONE:
        return "the process that it was forked from was ended"
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{KILLED}{name}{_OUT_OF_MEMORY_HINT * (name == 'SIGKILL')}"
    return f"its process ended with {code} and no result"


def run_child(job_json: str, place_json: str, outcome: str) -> None:
    """What a child process does: one job, its outcome written last, in one step."""
    try:
        _run_job(job_json, place_json, outcome)
    except OSError as error:
        if not is_environment_fault(error):
            raise
        os._exit(_NO_OUTCOME)  # untold: there may be no log, and the terminal is not ours


def _run_job(job_json: str, place_json: str, outcome: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator decides on Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job, workspace = JOB.validate_json(job_json), Workspace.model_validate_json(place_json)
    _log_to(workspace.stage_folder(job) / "log.txt")
    from workers.stages.run import run_stage

    try:
        content: object = {"result": run_stage(job, workspace).model_dump(mode="json")}
    except Exception as error:
        traceback.print_exc()
        content = job_error(error).model_dump(mode="json")
    write_json(Path(outcome), content)
    sys.stdout.flush(), sys.stderr.flush()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _log_to(path: Path) -> None:
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
