"""Sends each job to a node of a Ray cluster and brings its outcome back.

The connection to the cluster is a process of its own (`driver.py`). A job whose worker or node is
lost is sent again, a few times; where the cluster itself is lost, all jobs are, and the study is
taken up again when it answers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from search.clock import SYSTEM_CLOCK, Clock
from search.errors import EnvironmentFault
from search.executors.base import JobOutcome
from search.executors.ray.cluster import ClusterReport
from search.executors.ray.messages import Answer, Asked, Start
from search.executors.ray.node import Errand, Told
from search.progress import StageProgress
from storage.artifacts import ArtifactStore
from workers.errors import KILLED, MissingExtra
from workers.jobs import Job
from workers.workspace import Workspace

_WAITS = Told(progress=StageProgress(what="waits for a node", done=0, of=1))
_LONGEST_CONNECT_S = 180.0
_LONGEST_END_S = 10.0
_LOST_AFTER = "RAY_gcs_rpc_server_reconnect_timeout_s"  # seconds, then the driver is ended


@dataclass
class _Running:
    began: float
    told: Told = _WAITS


class RayExecutor:
    """Jobs on the nodes of a cluster.

    Args:
        address: as `ray start` tells it; `auto` is the cluster of this machine.
        entry: what does a job in place of its stage, as module:function.
        memory_gb: what a stage that trains or teaches may take of its node.
        paths: what every node has to see, beside the folders of the home.
    """

    def __init__(
        self,
        address: str,
        workspace: Workspace,
        timeout_s: float,
        entry: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        memory_gb: float = 0.0,
        paths: Sequence[Path] = (),
    ) -> None:
        self._workspace, self._timeout_s = workspace, timeout_s
        self._entry, self._clock = entry, clock
        self._start = Start(
            address=address,
            memory_gb=memory_gb,
            paths=tuple(str(path) for path in paths),
            marks={},
        )
        self._artifacts = ArtifactStore(workspace.artifacts)
        self._running: dict[int, _Running] = {}
        self._driver: subprocess.Popen[str] | None = None
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()

    def cluster(self) -> ClusterReport:
        """What the cluster is; connects where that is not done yet.

        Raises:
            EnvironmentFault: when it does not answer.
            MissingExtra: when Ray is not installed here.
        """
        self._end_driver()
        self._start = self._start.model_copy(update={"marks": self._marked()})
        self._driver = self._started()
        answer = None
        with contextlib.suppress(EnvironmentFault):  # it has ended without an answer
            answer = self._next(_LONGEST_CONNECT_S)
        if answer is None or answer.cluster is None:
            self._end_driver()
            reason = "" if answer is None or answer.refused is None else f" ({answer.refused})"
            raise EnvironmentFault(
                f"the Ray cluster {self._start.address} does not answer{reason}; start one with "
                "`ray start --head`, or give the token of one that has one (RAY_AUTH_MODE=token, "
                "RAY_AUTH_TOKEN): see `search help engines`"
            )
        return answer.cluster

    def submit(self, ticket: int, job: Job) -> None:
        if self._driver is None:
            self.cluster().check()
        errand = Errand(
            job=job,
            workspace=self._workspace,
            timeout_s=self._timeout_s,
            coordinator=platform.node(),
            entry=self._entry,
        )
        self._running[ticket] = _Running(self._clock.monotonic())
        self._ask(Asked(ticket=ticket, errand=errand))

    def poll(self, timeout_s: float) -> list[JobOutcome]:
        if not self._running:
            self._clock.sleep(timeout_s)
            return []
        ended = []
        answer = self._next(timeout_s)
        while answer is not None:
            outcome = self._heard(answer)
            if outcome is not None:
                ended.append(outcome)
            answer = self._next(0.0)
        return ended

    def _heard(self, answer: Answer) -> JobOutcome | None:
        """The outcome of a job, where that is what was told."""
        running = self._running.get(answer.ticket)
        if running is None:  # cancelled meanwhile
            return None
        duration_s = self._clock.monotonic() - running.began
        if answer.times:
            del self._running[answer.ticket]
            error = f"{answer.times} workers were lost with it ({answer.lost})"
            return JobOutcome(answer.ticket, duration_s, error=error, log=running.told.log)
        if answer.told is None:
            running.told = _WAITS
            return None
        if answer.told.outcome is None:
            running.told = answer.told
            return None
        del self._running[answer.ticket]
        outcome = replace(answer.told.outcome, ticket=answer.ticket, duration_s=duration_s)
        return _of_one_node(outcome)

    def has_artifact(self, digest: str) -> bool:
        return self._artifacts.has(digest)

    def progress(self, ticket: int) -> StageProgress | None:
        running = self._running.get(ticket)
        return None if running is None else running.told.progress

    def log(self, ticket: int) -> str | None:
        running = self._running.get(ticket)
        return None if running is None else running.told.log

    def cancel(self, ticket: int) -> None:
        if self._running.pop(ticket, None) is not None:
            with contextlib.suppress(EnvironmentFault):  # then it is gone already
                self._ask(Asked(ticket=ticket))

    def close(self) -> None:
        """End all jobs, and the connection with them."""
        self._running.clear()
        self._end_driver()

    # the driver

    def _marked(self) -> dict[str, str]:
        """Files with words of their own, in the folders that all nodes have to share: a folder of
        the same name is not enough."""
        folders = [self._workspace.cache.parent]
        if "://" not in self._workspace.artifacts:
            folders.append(Path(self._workspace.artifacts))
        marks = {}
        for folder in folders:
            path, word = folder / ".shared", uuid.uuid4().hex
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(word, encoding="ascii")
            marks[str(path)] = word
        return marks

    def _started(self) -> subprocess.Popen[str]:
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("--engine ray", "ray")
        self._workspace.work.mkdir(parents=True, exist_ok=True)
        with (self._workspace.work / "ray.log").open("a") as log:
            driver = subprocess.Popen(
                [sys.executable, "-m", "search.executors.ray.driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={_LOST_AFTER: "20", **os.environ},
                text=True,
                bufsize=1,
                start_new_session=True,  # Ctrl-C is the coordinator's
            )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=_hear, args=(driver.stdout, self._answers), daemon=True).start()
        _write(driver, self._start.model_dump_json())
        return driver

    def _ask(self, asked: Asked) -> None:
        if self._driver is None:
            raise EnvironmentFault(_LOST)
        try:
            _write(self._driver, asked.model_dump_json())
        except OSError as error:
            self.close()
            raise EnvironmentFault(_LOST) from error

    def _next(self, timeout_s: float) -> Answer | None:
        """What the driver said; None where it said nothing in time.

        Raises:
            EnvironmentFault: when it has ended.
        """
        try:
            answer = (
                self._answers.get(timeout=timeout_s) if timeout_s else self._answers.get_nowait()
            )
        except queue.Empty:
            return None
        if answer is None:
            self.close()
            raise EnvironmentFault(_LOST)
        return answer

    def _end_driver(self) -> None:
        driver, self._driver = self._driver, None
        if driver is None:
            return
        assert driver.stdin is not None
        with contextlib.suppress(OSError):
            driver.stdin.close()  # it ends what it has sent, then itself
        try:
            driver.wait(_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()


_LOST = "the Ray cluster was lost (its head, or the way to it); what ran on it begins again"


def _hear(answers: IO[str], into: queue.SimpleQueue[Answer | None]) -> None:
    try:
        with answers:
            for line in answers:
                into.put(Answer.model_validate_json(line))
    finally:
        into.put(None)


def _write(driver: subprocess.Popen[str], line: str) -> None:
    assert driver.stdin is not None
    driver.stdin.write(line + "\n")
    driver.stdin.flush()


def _of_one_node(outcome: JobOutcome) -> JobOutcome:
    """The kernel of one node ended it: no reason to end what runs on others."""
    if outcome.is_environment_fault and (outcome.error or "").startswith(KILLED):
        return replace(outcome, is_environment_fault=False)
    return outcome
