"""Records as Optuna sees them, without copies: what an ask costs is then the sampler's own work."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.distributions import distribution_of
from spaces.space import Space
from storage import records
from storage.records import Trial

_Fingerprint = tuple[object, ...]


class FrozenTrials:
    """Records in Optuna's form, each made once and again when its record has changed."""

    def __init__(self, space: Space) -> None:
        self._families = tuple(space.students)
        self._distributions = {f: _distributions(space, f) for f in self._families}
        self._made: dict[int, tuple[_Fingerprint, FrozenTrial]] = {}

    def of(self, trials: Iterable[Trial]) -> list[FrozenTrial]:
        """The trials of which a sampler can learn."""
        return [self._frozen(trial) for trial in trials if _is_informative(trial)]

    def _frozen(self, trial: Trial) -> FrozenTrial:
        fingerprint = (trial.state, trial.objective_values, *trial.constraints.items())
        known, made = self._made.get(trial.number, (None, None))
        if made is None or known != fingerprint:
            made = self._make(trial)
            self._made[trial.number] = (fingerprint, made)
        return made

    def _make(self, trial: Trial) -> FrozenTrial:
        every = self._distributions[str(trial.values["family"])]
        distributions = {k: d for k, d in every.items() if k in trial.values}
        state = TrialState.RUNNING
        if trial.objective_values is not None:
            state = TrialState.COMPLETE
        elif trial.state.is_final:  # screened out: learnt from as bad
            state = TrialState.PRUNED
        made = create_trial(
            state=state,
            values=None if trial.objective_values is None else list(trial.objective_values),
            params={k: trial.values[k] for k in distributions},
            distributions=distributions,
            system_attrs=dict(trial.sampler_attrs),
            constraints=dict(trial.constraints) or None,
        )
        # What is asked for has number and id 0 in its storage; samplers tell it apart by these.
        made.number = made._trial_id = trial.number + 1
        return made


def _distributions(space: Space, family: str) -> dict[str, BaseDistribution]:
    """Of every axis of a family that leaves a choice."""
    found: dict[str, BaseDistribution] = {}
    if len(space.students) > 1:
        found["family"] = CategoricalDistribution(tuple(space.students))
    axes = space.axes_of(family).items()
    return found | {name: distribution_of(axis) for name, axis in axes if axis.size() != 1}


def _is_informative(trial: Trial) -> bool:
    """What failed, or still waits for a device, says nothing of its recipe."""
    nothing = (
        records.TrialState.FAILED,
        records.TrialState.CANCELLED,
        records.TrialState.UNMEASURED,
    )
    return trial.state not in nothing


class RecordStorage(InMemoryStorage):
    """Trials that are there already, and one that is asked for."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._records = trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        asked = super().get_all_trials(study_id, deepcopy=False, states=states)
        found = [t for t in self._records if states is None or t.state in states] + asked
        return copy.deepcopy(found) if deepcopy else found
