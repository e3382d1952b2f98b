"""What a host does to a stage, done from within its child; which, when and how often says a plan.

`perform` is an entry of a `LocalExecutor`; `command_line` is `search` with that entry.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from search.executors.local import run_child
from workers.jobs import JOB, Job, key_of
from workers.workspace import Workspace

SUSPENDED_S = 1.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Plan:
    """A fault that the job of a key meets in so many attempts, each time after a delay."""

    fault: str
    key: str
    times: int
    delay_s: float

    def write(self, folder: Path) -> None:
        (folder / "plan.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> Plan:
        return cls(**json.loads((folder / "plan.json").read_text()))


@dataclass(frozen=True)
class _Scene:
    plan: Plan
    job: Job
    workspace: Workspace
    folder: Path

    def reached(self) -> None:
        """It has come to the fault."""
        n = n_reached(self.folder)
        (self.folder / f"reached-{n}").touch()


def n_reached(folder: Path) -> int:
    """How often the fault was met."""
    return len(list(folder.glob("reached-*")))


def perform(job_json: str, place_json: str, outcome: str) -> None:
    """Do a job as the executor does, in the trouble that is planned for it. The plan lies two
    folders above the home, which may be a disk of its own."""
    job, workspace = JOB.validate_json(job_json), Workspace.model_validate_json(place_json)
    folder = workspace.locks.parents[2]
    plan = Plan.read(folder)
    if key_of(job) == plan.key and n_reached(folder) < plan.times:
        FAULTS[plan.fault](_Scene(plan, job, workspace, folder))
    run_child(job_json, place_json, outcome)


def command_line() -> None:
    """`search`, whose stages meet what is planned."""
    from search.cli import main
    from search.executors import local

    local.run_child = perform
    main()


def _later(scene: _Scene, harm: Callable[[_Scene], None]) -> None:
    """After the delay, while the stage runs; without one before it begins."""
    if scene.plan.delay_s == 0:
        harm(scene)
        return

    def wait_and_harm() -> None:
        time.sleep(scene.plan.delay_s)
        harm(scene)

    threading.Thread(target=wait_and_harm, daemon=True).start()


def _refuse_new_files(scene: _Scene) -> None:
    """No file can be made below the home any more, the outcome of the job included."""
    home, moment = str(scene.workspace.locks.parent), time.monotonic() + scene.plan.delay_s
    met: list[bool] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or time.monotonic() < moment:
            return
        path, _, flags = arguments
        if not str(path).startswith(home) or not flags & os.O_CREAT or os.path.exists(path):
            return
        if not met:
            met.append(True)
            scene.reached()
        raise OSError(errno.ENOSPC, "No space left on device", path)

    sys.addaudithook(refuse)


def _fill(scene: _Scene) -> None:
    """Take all that is left of the disk of the home."""
    scene.reached()
    size = 1 << 20
    descriptor = os.open(filler(scene.workspace.locks.parent), os.O_WRONLY | os.O_CREAT)
    while size:
        try:
            os.write(descriptor, bytes(size))
        except OSError:
            size //= 2
    os.close(descriptor)


def filler(home: Path) -> Path:
    """What fills the disk of a home, beside it."""
    return home.parent / "filler"


def _truncate(scene: _Scene) -> None:
    _harm_inputs(scene, lambda path: os.truncate(path, path.stat().st_size // 2))


def _delete(scene: _Scene) -> None:
    _harm_inputs(scene, Path.unlink)


def _harm_inputs(scene: _Scene, harm: Callable[[Path], None]) -> None:
    paths = [p for p in _inputs(scene.job, scene.workspace) if p.is_file() and p.stat().st_size]
    if paths:
        scene.reached()
    for path in paths:
        harm(path)


def _inputs(job: Job, workspace: Workspace) -> Iterator[Path]:
    """Files that earlier work made and that a job names or, to prepare, reads."""
    if job.stage == "prepare":
        yield from workspace.cache.glob("synthetic/*/*.flac")
    for name, value in _texts(job.model_dump(mode="json")):
        if name == "corpus":
            yield from workspace.corpus(value).glob("*.*")
        elif name == "soft_targets":
            yield from workspace.soft_targets(value).glob("*.*")
        elif _DIGEST.fullmatch(value):
            yield Path(workspace.artifacts) / value[:2] / value


def _texts(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(value, key)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value, name)
    elif isinstance(content, str):
        yield name, content


def _kill(scene: _Scene) -> None:
    scene.reached()
    os.kill(os.getpid(), signal.SIGKILL)


def _suspend(scene: _Scene) -> None:
    scene.reached()
    script = f'kill -STOP "$1"; sleep {SUSPENDED_S}; kill -CONT "$1"'
    subprocess.Popen(["sh", "-c", script, "sh", str(os.getpid())], start_new_session=True)


FAULTS: dict[str, Callable[[_Scene], None]] = {
    "disk full": _refuse_new_files,
    "input truncated": lambda scene: _later(scene, _truncate),
    "input deleted": lambda scene: _later(scene, _delete),
    "out of memory": lambda scene: _later(scene, _kill),
    "suspend": lambda scene: _later(scene, _suspend),
    # for the real command line: a disk that is full, and everything stopped by whoever looks on
    "real full disk": lambda scene: _later(scene, _fill),
    "all suspended": lambda scene: _later(scene, _Scene.reached),
}
