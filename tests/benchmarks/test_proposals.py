"""What the next trial costs the coordinator in long studies, in CPU ms.

make bench ONLY=proposals
"""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from trials import trial_of

from search.policy import AS_MEASURED
from search.strategy.optuna_records import FrozenTrials
from search.strategy.sampling import propose
from spaces.load import load_space
from spaces.points import random_values
from spaces.space import Space
from storage.records import Rung, Trial, TrialState

N_PROPOSALS = 9


def trials_of(space: Space, count: int) -> list[Trial]:
    """Half of them stopped at a rung, figures at random."""
    rng, found = random.Random(0), list[Trial]()
    for number in range(count):
        values = random_values(space, rng)
        assert values is not None
        figures = tuple(rng.random() for _ in space.objectives)
        is_stopped = rng.random() < 0.5
        wer = rng.random() + 0.01
        found.append(
            trial_of(
                number,
                values,
                recipe_digest=str(number),
                state=TrialState.STOPPED if is_stopped else TrialState.COMPLETE,
                objective_values=None if is_stopped else figures,
                metrics=dict.fromkeys(space.objectives, 1.0) | {"wer": wer},
                rungs=(Rung(share=0.34, epoch=13, epochs=40, wer=wer, errors=(1,) * 64),),
            )
        )
    return found


@pytest.mark.parametrize("count", [100, 1000, 10_000])
def test_proposals(count: int) -> None:
    space = load_space("edge.yaml")
    trials, frozen = trials_of(space, count), FrozenTrials(space)
    spent = []
    for number in range(count, count + N_PROPOSALS):
        start = time.process_time()
        propose(space, AS_MEASURED, 0, number, trials, frozen)
        spent.append(1000 * (time.process_time() - start))
    first, *rest = spent
    print(
        f"\n{count} trials: {np.median(rest):.0f} ms of CPU (median of {len(rest)}; the first, "
        f"which makes the records anew, {first:.0f})"
    )
    assert all(ms > 0 for ms in spent)
