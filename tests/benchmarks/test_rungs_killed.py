"""Ten SIGKILLs of everything in a search with supernet and rungs: does it end as undisturbed?

make bench ONLY=rungs_killed; SEEDS=3 for more than one search.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

from killed_searches import done_more_than_once, run_through_kills
from shell import TINY_SPACE, command

from search.analysis.trial_frame import trial_frame
from search.cli.common import space_of
from storage.store import Store

N_TRIALS, N_KILLS, LATEST_S = 8, 10, 25.0
SEEDS = int(os.environ.get("SEEDS", "1"))
SPACE = TINY_SPACE.replace(
    "search: {trials: 6, parallel: 2, confirm: false}",
    f"search: {{trials: {N_TRIALS}, parallel: 2, confirm: false, rungs: [0.5], "
    "weight_sharing: on}",
)


def test_rungs_killed(tmp_path: Path) -> None:
    assert "weight_sharing" in SPACE
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    begun = time.monotonic()
    run_through_kills(_launch(tmp_path / "calm", path), seed=0, n_kills=0, latest_s=LATEST_S)
    calm, calm_s = _ended_as(tmp_path / "calm"), time.monotonic() - begun
    print(f"\nundisturbed, {calm_s:.0f} s: front {calm[1]}, {calm[0]}")
    for seed in range(SEEDS):
        home = tmp_path / str(seed)
        begun = time.monotonic()
        run_through_kills(_launch(home, path), seed, N_KILLS, LATEST_S)
        again = done_more_than_once(home)
        found, spent_s = _ended_as(home), time.monotonic() - begun
        print(
            f"seed {seed}: {N_KILLS} kills, {spent_s:.0f} s: done twice: {again or 'nothing'}; "
            f"{'equal to' if found == calm else 'unlike'} the undisturbed search"
        )
        assert not again
        assert found == calm


def _launch(home: Path, path: Path) -> list[str]:
    return command("--home", home, "launch", "--space", path, "--deterministic", "--plain")


def _ended_as(home: Path) -> tuple[list[tuple[object, ...]], list[int]]:
    """Trials as far as no time decides, and the front."""
    with closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        (study,) = store.studies.all()
        trials = store.trials.of(study.id)
    frame = trial_frame(trials, study, space_of(study))
    told = [
        (t.number, str(t.state), t.label, t.metrics.get("wer"), t.metrics.get("size_mb"))
        for t in trials
    ]
    return told, [int(n) for n in frame.loc[frame["on_front"], "number"]]
