"""A search of simulated trials on a cluster: stages that take a moment and follow from their jobs.

Run as a program it is the coordinator: HOME, STORE, ADDRESS, TRIALS, WORKERS, and `freely` where
it need not end as every other: a deterministic search has no more than four trials at a time.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from fakes import SPACE, Work

from workers.jobs import JOB, key_of

STAGE_S = float(os.environ.get("SIMULATED_STAGE_S", "0.3"))


def perform(job_json: str, _workspace_json: str, outcome: str) -> None:
    """What a child of an executor does."""
    job = JOB.validate_json(job_json)
    time.sleep(STAGE_S * random.Random(key_of(job)).uniform(0.5, 1.5))
    result = Work()(job)
    partial = Path(f"{outcome}.part")
    partial.write_text(json.dumps({"result": result.model_dump(mode="json")}))
    partial.rename(outcome)


def space_of(trials: int, workers: int) -> str:
    """The space of a search of so many trials, so many at once."""
    return SPACE.replace("trials: 14, parallel: 2", f"trials: {trials}, parallel: {workers}")


def _main() -> None:
    from search.executors.ray.executor import RayExecutor
    from search.home import Home
    from search.progress import Snapshot
    from search.study.launch import launch
    from search.study.options import Options
    from storage.records import Event

    class Silent:
        """Watches nothing."""

        def event(self, event: Event) -> None:
            print(event.message, flush=True)

        def tick(self, snapshot: Snapshot) -> None:
            """Nothing is shown."""

    class Executor(RayExecutor):
        """Its jobs make no files."""

        def has_artifact(self, digest: str) -> bool:
            return True

    folder, store, address, trials, workers, *how = sys.argv[1:]
    home = Home.at(Path(folder), store)
    home.folder.mkdir(parents=True, exist_ok=True)
    path = home.folder / "space.yaml"
    path.write_text(space_of(int(trials), int(workers)))
    executor = Executor(address, home.workspace(), 600, "simulated:perform")
    options = Options(deterministic=how != ["freely"])
    launch(str(path), home, options, Silent(), executor)


if __name__ == "__main__":
    _main()
