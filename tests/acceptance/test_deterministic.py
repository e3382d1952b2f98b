"""Two real searches that differ only in how many trials run at once end in the same front."""

from __future__ import annotations

import json

import pytest
from shell import TINY_SPACE

N_TRIALS = 5
# most trials are proposals of the sampler, which could depend on what has ended
SPACE = TINY_SPACE.replace("trials: 6", f"trials: {N_TRIALS}, initial_trials: 2")


@pytest.mark.timeout(600)  # two whole searches, one trial at a time in the first
def test_a_deterministic_search_ends_in_the_same_front_however_parallel(tmp_path, cli):
    space, outcomes = tmp_path / "tiny.yaml", []
    space.write_text(SPACE)
    for parallel in (1, 3):
        home = ("--home", tmp_path / str(parallel))
        options = ("--deterministic", "--parallel", parallel)
        done = cli(*home, "launch", "--space", space, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        trials = json.loads(cli(*home, "front", "--all", "--json").stdout)
        best = json.loads(cli(*home, "front", "--json").stdout)
        assert len(trials) == N_TRIALS
        outcomes.append(
            (
                [t["recipe"] for t in trials],
                [(t["metrics"].get("wer"), t["metrics"]["size_mb"]) for t in trials],
                [t["trial"] for t in best],
            )
        )
    assert outcomes[0] == outcomes[1]
