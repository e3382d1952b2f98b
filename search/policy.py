"""What may decide in a study, and who may see what when.

In a deterministic study nothing that varies from run to run decides, and a proposal sees only the
results of earlier generations: two runs of it with different `--parallel` end in the same front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spaces.metrics import MetricRef
from spaces.space import Budget, Space
from storage.records import Trial, TrialState


@dataclass(frozen=True)
class Policy:
    """How a study decides.

    Args:
        timed_decides: whether figures that are timed do.
        generation: so many trials are proposed from the same results; None for no generations.
        threads: of every training, where the space does not say; None for what the host has.
    """

    timed_decides: bool
    generation: int | None
    threads: int | None

    def proxy_metric(self, metric: MetricRef) -> MetricRef:
        """The metric that is judged: MACs stand in for a time that must not decide. They order
        students as time does, roughly, and are the same in every run."""
        if self.timed_decides or not metric.known.noisy:
            return metric
        return MetricRef("macs")

    def budgets(self, space: Space) -> tuple[Budget, ...]:
        """The budgets that decide."""
        return tuple(b for b in space.budgets if self.timed_decides or not b.metric.known.noisy)

    def undecided(self, space: Space) -> list[str]:
        """Budgets and gates of a space that decide nothing, in words."""
        if self.timed_decides:
            return []
        timed = [b for b in space.budgets if b.metric.known.noisy]
        return [*map(str, timed), *(f"gate {name}" for name in space.gate.timed)]

    def settled(self, number: int) -> int:
        """Trials below this number are seen with their results by whoever proposes `number`."""
        return number if self.generation is None else number - number % self.generation

    def may_propose(self, number: int, trials: Mapping[int, Trial]) -> bool:
        """Whether the results that a proposal is to see are there."""
        if self.generation is None:
            return True
        return all(trials[n].state.is_final for n in range(self.settled(number)))

    def seen(self, number: int, trials: Sequence[Trial]) -> list[Trial]:
        """The trials as whoever proposes `number` may see them."""
        if self.generation is None:
            return list(trials)
        first = self.settled(number)
        earlier = [t for t in trials if t.number < number]
        return [t if t.number < first else _unfinished(t) for t in earlier]


def _unfinished(trial: Trial) -> Trial:
    return trial.evolve(state=TrialState.RUNNING, objective_values=None, constraints={}, rungs=())


AS_MEASURED = Policy(timed_decides=True, generation=None, threads=None)
DETERMINISTIC = Policy(timed_decides=False, generation=4, threads=1)


def policy_of(deterministic: bool) -> Policy:
    """The policy of a study, from its record."""
    return DETERMINISTIC if deterministic else AS_MEASURED
