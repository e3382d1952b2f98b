"""Does a job, or finds it done.

A stage is a pure function of its job and the artifact store. It works in a folder named by the
job's key, takes up there what an interrupted attempt left, and writes its result last, in one
step: an equal job finds that result and does nothing.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from storage.artifacts import ArtifactStore
from workers.atomic import whole_or_removed, write_json
from workers.jobs import Job
from workers.results import RESULT, AnyResult, TeacherTargetsResult
from workers.stages.context import StageContext
from workers.workspace import Workspace

_UNFINISHED_ONLY = (".safetensors", ".onnx", ".npy", ".npz")


def run_stage(job: Job, workspace: Workspace) -> AnyResult:
    """Do a job, or find it done.

    Raises:
        UserFault: when the user's input is at fault.
        LostInput: when what an earlier stage made is gone, or went while this one worked.
        Exception: whatever else went wrong, for the executor to report.
    """
    folder = workspace.stage_folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = ArtifactStore(workspace.artifacts)
    with FileLock(folder / "lock"):
        if job.reusable and (found := _finished(job, workspace, artifacts)) is not None:
            return found
        stage = importlib.import_module(f"workers.stages.{job.stage}")
        context = StageContext(workspace, artifacts, folder)
        try:
            result: AnyResult = stage.run(job, context)
        except Exception as error:
            if (lost := context.lost_input()) is not None:  # it was there when the stage began
                raise lost from error
            raise
        result = result.model_copy(update={"cpu_s": _cpu_s()})
        write_json(workspace.stage_result(job), result.model_dump(mode="json"))
        if job.whole == job:
            _clean(folder)
    return result


def _cpu_s() -> float:
    """What this process has cost so far, with those that it started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _finished(job: Job, workspace: Workspace, artifacts: ArtifactStore) -> AnyResult | None:
    """The result of an earlier attempt, if all that it names is still there."""
    try:
        content = json.loads(workspace.stage_result(job).read_text())
        result = RESULT.validate_python({**content, "reused": True, "cpu_s": 0.0})
    except (OSError, ValueError, TypeError, RecursionError, ValidationError):
        return None
    if not all(artifacts.has(digest) for digest in result.digests):
        return None
    if isinstance(result, TeacherTargetsResult):
        return result if whole_or_removed(workspace.soft_targets(result.soft_targets)) else None
    return result


def _clean(folder: Path) -> None:
    """What only an unfinished stage needs is dropped; the result and the log stay."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix in _UNFINISHED_ONLY:
            path.unlink()
