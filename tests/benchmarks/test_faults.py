"""A hundred studies, each with a fault of its host at a stage and a moment drawn at random: how
many end with every trial complete and the front of the study that nothing happened to."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import faulty_runs
from faulty_runs import BY_COMMAND, FAULTS, Run

N_HERE, N_BY_COMMAND = 80, 20
_AT_ONCE = 3


def test_faults(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_AT_ONCE, spawn) as pool:
        home = pool.submit(faulty_runs.make_undisturbed, tmp_path / "undisturbed").result().folder
        waiting = [
            pool.submit(faulty_runs.run_one, seed, fault, home, tmp_path / str(seed))
            for seed, fault in _plan()
        ]
        runs = []
        for n, ended in enumerate(as_completed(waiting), 1):
            run = ended.result()
            runs.append(run)
            how = f"not right: {run.reason}" if run.reason else "right"
            where = f"seed {run.seed}: {run.fault} in {run.stage}"
            print(f"{n:3d} {where}, {run.n_launches} launches: {how}", flush=True)
    _print_table(runs)
    assert not [r for r in runs if r.reason]


def _plan() -> list[tuple[int, str]]:
    """(seed, fault) of each run. A full disk of its own only root can have."""
    rng = random.Random(0)
    planned = [(seed, rng.choice(FAULTS)) for seed in range(N_HERE)]
    by_command = [(N_HERE + n, BY_COMMAND[n % 5 > 2]) for n in range(N_BY_COMMAND)]
    if os.geteuid() != 0:
        n = sum(fault == "real full disk" for _, fault in by_command)
        print(f"\n{n} runs on a full disk are left out: only root may mount one")
        by_command = [(s, fault) for s, fault in by_command if fault != "real full disk"]
    return planned + by_command


def _print_table(runs: Sequence[Run]) -> None:
    right = Counter((r.fault, r.stage) for r in runs if not r.reason)
    tried = Counter((r.fault, r.stage) for r in runs)
    faults = (*FAULTS, *BY_COMMAND)
    print(f"\nended right, of tried{'':10s}" + "".join(f"{f:>17s}" for f in faults))
    for stage in sorted({r.stage for r in runs}):
        cells = [
            f"{right[f, stage]} of {tried[f, stage]}" if tried[f, stage] else "" for f in faults
        ]
        print(f"{stage:31s}" + "".join(f"{c:>17s}" for c in cells))
    sums = [
        f"{sum(not r.reason for r in runs if r.fault == f)} of {sum(r.fault == f for r in runs)}"
        for f in faults
    ]
    print(f"{'all':31s}" + "".join(f"{c:>17s}" for c in sums))
    print(f"{sum(not r.reason for r in runs)} of {len(runs)} ended right")
