"""What child processes of these tests run: found by name, so in a module of its own.

An entry of an executor takes a job, a workspace and the file for its outcome, all as text.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from search.executors.local import run_child
from storage.store import Store
from workers.jobs import Export
from workers.results import ExportResult, Reading


def open_and_add(url: str, study: dict[str, Any], number: int) -> int:
    """Open a database that others open at the same time; returns the id of a study made there."""
    store = Store(url)
    made = store.studies.create(**{**study, "name": f"study-{number}"})
    store.close()
    return made.id


def succeeded(model: str) -> ExportResult:
    """What a job gives back that went well, with the process that did it among its readings."""
    pid = Reading(metric="pid", value=os.getpid())
    return ExportResult(model=model, float32="float", tokens="tokens", readings=(pid,), cpu_s=0.5)


def work(job: Export) -> ExportResult:
    """What the jobs of these tests do, by the word in `checkpoint`."""
    word, _, rest = job.checkpoint.partition(" ")
    if word == "succeed":
        return succeeded(rest)
    if word == "raise":
        raise ValueError(rest)
    raise AssertionError(word)


def perform(job_json: str, _workspace_json: str, outcome: str) -> None:
    """Do `work`, or die in the way the job asks for."""
    job = Export.model_validate_json(job_json)
    if job.checkpoint == "exit":
        os._exit(3)
    if job.checkpoint == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.checkpoint == "hang":
        (Path(outcome).parent / "progress.json").write_text('{"what": "x", "done": 1, "of": 4}')
        time.sleep(600)
    if job.checkpoint == "no json":
        Path(outcome).write_text('{"result": ')
        return
    if job.checkpoint == "late exit":
        Path(outcome).write_text(json.dumps({"result": succeeded("late").model_dump(mode="json")}))
        sys.exit(5)
    Path(outcome).write_text(json.dumps({"result": work(job).model_dump(mode="json")}))


def hold_and_run(job_json: str, workspace_json: str, outcome: str) -> None:
    """The executor's own entry, by a child that holds a lock for as long as it lives."""
    with FileLock(Path(outcome).parent / "alive"):
        run_child(job_json, workspace_json, outcome)
