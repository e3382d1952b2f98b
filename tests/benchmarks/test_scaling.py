"""More workers, as much more done: simulated trials of some five seconds on a cluster.

make bench ONLY=scaling
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from ray_nodes import ray_cluster

from search.home import Home
from storage.records import StudyState
from storage.store import Store

STAGE_S = 0.8  # a trial has some six stages
TRIALS_OF_ONE = 8


@pytest.mark.parametrize("workers", [1, 8, 64])
def test_scaling(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the time that trials take, how much is left over between them; 64 workers: is one lost?"""
    trials = TRIALS_OF_ONE * workers if workers < 64 else 128
    home = Home.at(tmp_path / "home")
    monkeypatch.setenv("SIMULATED_STAGE_S", str(STAGE_S))  # nodes have it from here
    with ray_cluster(*({"num_cpus": 8} for _ in range(max(1, workers // 8)))) as address:
        script = Path(__file__).parents[1] / "support" / "simulated.py"
        place = (home.folder, home.store_url, address)
        command = [sys.executable, script, *place, trials, workers, "freely"]
        began = time.monotonic()
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            largest_mb = 0.0
            while process.poll() is None:
                with_it = psutil.Process(process.pid).memory_info().rss / 1e6
                largest_mb = max(largest_mb, with_it)
                time.sleep(0.5)
        assert process.returncode == 0, (tmp_path / "log").read_text()[-2000:]
        passed_s = time.monotonic() - began
    with closing(Store(home.store_url)) as store:
        study = store.studies.get("fake")
        ended = store.trials.of(study.id)
        runs = [r for r in store.stage_runs.of(study.id) if r.trial_number is not None]
    assert study.state is StudyState.FINISHED
    assert len(ended) == trials
    first = min(r.started_at for r in runs)
    last = max(r.started_at + r.duration_s for r in runs)
    busy_s = sum(r.duration_s for r in runs)
    print(
        f"\n{workers} workers: {trials} trials in {last - first:.0f} s ({passed_s:.0f} s with the "
        f"start), {busy_s / workers / (last - first):.0%} of the workers' time in stages; "
        f"coordinator {largest_mb:.0f} MB"
    )
