"""kill -9 of everything, at any moment; then the same command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

from shell import command

from storage.records import StudyState
from storage.store import Store

N_KILLS = 6


def test_a_search_killed_six_times_ends_with_every_trial_once_and_nothing_trained_twice(
    tmp_path, tiny_space
):
    home = tmp_path / "home"
    arguments = command("--home", home, "launch", "--space", tiny_space, "--trials", 7)
    rng = random.Random(2)
    n_killed = 0
    while True:
        process = subprocess.Popen(
            arguments, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if n_killed < N_KILLS:
            time.sleep(rng.uniform(0.5, 5.0))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                n_killed += 1
                process.communicate()
                continue
        output, _ = process.communicate(timeout=250)
        assert process.returncode == 0, output.decode()
        break
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    study = store.studies.get("tiny")
    trials = store.trials.of(study.id)
    runs = store.stage_runs.of(study.id)
    assert study.state is StudyState.FINISHED
    assert [t.number for t in trials] == list(range(7))
    assert all(t.state.is_final for t in trials)
    assert all(t.state == "complete" for t in trials), [t.reason for t in trials]
    cached = ("prepare", "teacher_targets")  # looked for anew at every launch
    done = [(r.trial_number, r.stage) for r in runs if r.stage not in cached]
    assert len(done) == len(set(done)), "a stage was recorded twice"
    trained = [r.key for r in runs if r.stage in ("train", "compress") and r.state == "done"]
    assert len(trained) == len(set(trained)), "a finished training was done again"
    for trial in trials:
        stages = {s for n, s in done if n == trial.number}
        assert {"screen", "train", "export", "score@cpu", "measure@cpu"} <= stages
