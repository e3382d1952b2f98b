"""Searches that differ only in how many trials run at once, and where, end in the same front."""

from __future__ import annotations

import json

import pytest
from ray_nodes import ray_cluster
from shell import TINY_SPACE

N_TRIALS = 5
# most trials are proposals of the sampler, which could depend on what has ended
SPACE = TINY_SPACE.replace("trials: 6", f"trials: {N_TRIALS}, initial_trials: 2")


@pytest.mark.timeout(600)  # whole searches, one trial at a time in the first
def test_a_deterministic_search_ends_in_the_same_front_however_parallel(tmp_path, cli):
    space = tmp_path / "tiny.yaml"
    space.write_text(SPACE)
    assert _searched(cli, tmp_path / "1", space, "--parallel", 1) == _searched(
        cli, tmp_path / "3", space, "--parallel", 3
    )


@pytest.mark.timeout(600)
def test_on_a_cluster_it_ends_in_the_front_that_it_has_on_one_machine(tmp_path, cli):
    space = tmp_path / "tiny.yaml"
    space.write_text(SPACE.replace(f"trials: {N_TRIALS}", "trials: 3"))
    device = {"num_cpus": 0, "resources": {"target_cpu": 1}}
    with ray_cluster({"num_cpus": 1}, {"num_cpus": 1}, device) as address:
        engine = ("--engine", "ray", "--address", address)
        there = _searched(cli, tmp_path / "there", space, *engine, n_trials=3)
    assert there == _searched(cli, tmp_path / "here", space, n_trials=3)


def _searched(cli, home, space, *options, n_trials=N_TRIALS):
    """Recipes, errors and sizes, and the front."""
    done = cli("--home", home, "launch", "--space", space, "--deterministic", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = json.loads(cli("--home", home, "front", "--all", "--json").stdout)
    best = json.loads(cli("--home", home, "front", "--json").stdout)
    assert len(trials) == n_trials
    return (
        [t["recipe"] for t in trials],
        [(t["metrics"].get("wer"), t["metrics"]["size_mb"]) for t in trials],
        [t["trial"] for t in best],
    )
