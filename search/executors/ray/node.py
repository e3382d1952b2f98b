"""What runs on a node: one job, in a process of its own, telling how far it is until it ends."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from search.executors.base import JobOutcome
from search.executors.local import LocalExecutor
from search.executors.ray.cluster import NodeReport
from search.progress import StageProgress
from spaces.recipe import digest_of
from spaces.record import Record
from workers.jobs import Job, OnDevice
from workers.probe.machine import report
from workers.workspace import Workspace

_LOOK_S = 1.0
_DISTRIBUTIONS = ("compression-search", "torch", "onnxruntime", "ray", "numpy")
_CUDA = "CUDA_VISIBLE_DEVICES"


class Told(Record):
    """What a node says of a job: how far it is, or in the end how it went."""

    progress: StageProgress | None = None
    log: str | None = None
    outcome: JobOutcome | None = None


class Errand(Record):
    """A job with all that a node has to know to do it."""

    job: Job
    workspace: Workspace
    timeout_s: float
    coordinator: str  # the name of its host
    entry: str | None = None  # what does the job in place of its stage, as module:function


def do(errand_json: str) -> Iterator[str]:
    """Do an errand; gives `Told` as JSON whenever there is something new, the outcome last."""
    errand = Errand.model_validate_json(errand_json)
    _hide_main()
    workspace = here(errand.workspace, errand.coordinator)
    job = _with_gpus(errand.job)
    entry = _entry(errand.entry)
    executor = (
        LocalExecutor(workspace, errand.timeout_s)
        if entry is None
        else LocalExecutor(workspace, errand.timeout_s, entry, preload=(_module(errand.entry),))
    )
    told = Told()
    try:
        executor.submit(0, job)
        while not (ended := executor.poll(_LOOK_S)):
            now = Told(progress=executor.progress(0), log=executor.log(0))
            if now != told:
                told = now
                yield told.model_dump_json()
        yield Told(outcome=ended[0]).model_dump_json()
    finally:
        executor.close()


def here(workspace: Workspace, coordinator: str) -> Workspace:
    """The folders of a home on this host: its locks are of this host alone."""
    if platform.node() == coordinator:
        return workspace
    name = f"search-locks-{os.getuid()}-{digest_of(str(workspace.locks))[:16]}"
    return workspace.model_copy(update={"locks": Path(tempfile.gettempdir()) / name})


def _hide_main() -> None:
    """A child imports the main module of whoever starts it: that of Ray's worker takes it half a
    second."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    if hasattr(main, "__file__"):
        del main.__file__


def _with_gpus(job: Job) -> Job:
    """On those that Ray has given to this task. Processes are forked from one that outlives the
    task: they see all GPUs, and take these by number."""
    import ray

    os.environ.pop(_CUDA, None)
    if not isinstance(job, OnDevice) or job.device != "cuda":
        return job
    numbers = tuple(int(i) for i in ray.get_runtime_context().get_accelerator_ids()["GPU"])
    return job.model_copy(update={"gpus": numbers})


def _module(entry: str | None) -> str:
    return (entry or "").partition(":")[0]


def _entry(name: str | None) -> Callable[..., None] | None:
    if name is None:
        return None
    module, _, function = name.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    return found


def report_of_node(paths: list[str], marks: dict[str, str]) -> str:
    """A `NodeReport` as JSON.

    Args:
        paths: what has to be seen here.
        marks: files, and what is in them where a folder is the same.
    """
    others = [str(Path(path).parent) for path, word in marks.items() if _word_in(path) != word]
    versions = {name: _version(name) for name in _DISTRIBUTIONS}
    return NodeReport(
        host=platform.node(),
        versions={"Python": platform.python_version(), **versions},
        identity=report().identity,
        missing=(*others, *(path for path in paths if not Path(path).exists())),
    ).model_dump_json()


def _word_in(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"
