"""Does a job, or finds it done.

A stage is a pure function of its job and the artifact store. It works in a folder named by the
job's key, takes up there what an interrupted attempt left, and writes its result last, in one
step: an equal job finds that result and does nothing.
"""

from __future__ import annotations

import importlib
import json
import shutil
import time
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
        Exception: whatever else went wrong, for the executor to report.
    """
    folder = workspace.stage_folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = ArtifactStore(workspace.artifacts)
    with FileLock(folder / "lock"):
        if job.reusable and (found := _finished(folder, workspace, artifacts)) is not None:
            return found
        stage = importlib.import_module(f"workers.stages.{job.stage}")
        result: AnyResult = stage.run(job, StageContext(workspace, artifacts, folder))
        result = result.model_copy(update={"cpu_s": time.process_time()})
        write_json(folder / "result.json", result.model_dump(mode="json"))
        _clean(folder)
    return result


def _finished(folder: Path, workspace: Workspace, artifacts: ArtifactStore) -> AnyResult | None:
    """The result of an earlier attempt, if all that it names is still there."""
    try:
        content = json.loads((folder / "result.json").read_text())
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
