"""A search that is killed as a whole at random moments, each time continued by the same command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from storage.store import Store

_CACHED = ("prepare", "teacher_targets")  # looked for anew at every launch
_LONGEST_S = 600


def run_through_kills(arguments: Sequence[str], seed: int, n_kills: int, latest_s: float) -> None:
    """Launch until it ends by itself.

    Args:
        arguments: the command.
        latest_s: after so much of a launch at the latest it is killed.
    """
    rng, n_killed = random.Random(seed), 0
    while True:
        process = subprocess.Popen(
            arguments, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if n_killed < n_kills:
            time.sleep(rng.uniform(0.5, latest_s))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                n_killed += 1
                process.communicate()
                continue
        output, _ = process.communicate(timeout=_LONGEST_S)
        assert process.returncode == 0, output.decode()
        return


def done_more_than_once(home: Path) -> list[str]:
    """Stages that are recorded twice, and trainings that were done again after they had ended."""
    with closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        (study,) = store.studies.all()
        runs = [r for r in store.stage_runs.of(study.id) if r.state != "failed"]
    stages = [f"trial {r.trial_number}: {r.stage}" for r in runs if r.stage not in _CACHED]
    trained = [r.key for r in runs if r.state == "done" and r.stage in _TRAINED]
    return sorted({x for each in (stages, trained) for x in each if each.count(x) > 1})


_TRAINED = ("train", "compress", "supernet")
