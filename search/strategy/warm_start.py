"""What earlier studies know, for a sampler that begins: their fronts are proposed first, and their
trials are learnt from. They are no trials of the study.

On the same data and targets their figures are told as they are. Elsewhere only their order holds:
each objective is told as the value of this study at the same quantile, once it has values of its
own (the idea of quantile-based transfer, Salinas et al., ICML 2020, without its model).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from scipy.stats import rankdata

from search.objectives import judged_metrics, objective_values, signs, violations
from search.policy import Policy
from spaces.axes import Axis, Value
from spaces.metrics import MetricRef
from spaces.points import Values, choose, recipe_of, refusal
from spaces.space import Space
from storage.records import Trial, TrialState

_FIRST = -2  # numbers of earlier trials go down from here; what is asked for is 0 to Optuna
_OWN = 4  # values of its own from which on a study maps those of others onto them
_LEARN_FROM_PARTS = ("tpe",)  # samplers that learn from a trial of which they know some axes only


@dataclass(frozen=True)
class Earlier:
    """The measured trials of one earlier study; `is_alike`: data and targets are the same."""

    study: str
    trials: tuple[Trial, ...]
    is_alike: bool


@dataclass(frozen=True)
class _Known:
    """A trial as this space has it, numbered below 0: the first of all. `quantiles` are those of
    its values in its own study."""

    trial: Trial
    objective_values: tuple[float, ...]
    quantiles: tuple[float, ...]
    is_alike: bool


@dataclass(frozen=True)
class WarmStart:
    """Made once from earlier studies; what it tells follows from the trials that are seen.

    `design` are recipes of this space that nothing beat in their studies.
    """

    known: tuple[_Known, ...]
    design: tuple[Values, ...]

    def told(self, seen: Sequence[Trial]) -> list[Trial]:
        """The earlier trials with the values that the sampler is told."""
        if not self.known:
            return []
        own = np.array([t.objective_values for t in seen if t.objective_values is not None])
        out = []
        for known in self.known:
            if known.is_alike:
                out.append(known.trial.evolve(objective_values=known.objective_values))
            elif len(own) >= _OWN:
                pairs = zip(own.T, known.quantiles, strict=True)
                values = tuple(float(np.quantile(column, q)) for column, q in pairs)
                out.append(known.trial.evolve(objective_values=values))
        return out

    def opening(self, design: Sequence[Values]) -> list[tuple[Values, str]]:
        """The first recipes of the study, each with who proposes it: those of earlier fronts in
        place of as many of its initial design."""
        first = [(values, "warm_start") for values in self.design[: len(design)]]
        return first + [(values, "initial_design") for values in design[len(first) :]]


NOTHING = WarmStart((), ())


def usable(space: Space, policy: Policy, trials: Sequence[Trial]) -> list[Trial]:
    """Measured trials of a family of this space that have a figure of each of its objectives."""
    metrics = judged_metrics(space.objectives, policy)
    return [
        t
        for t in trials
        if t.state.is_measured
        and t.values.get("family") in space.trained_families  # the teacher may be another
        and all(metric in t.metrics for metric in metrics)
    ]


def warm_start(space: Space, policy: Policy, earlier: Sequence[Earlier]) -> WarmStart:
    """What a study learns from others, all of the same objectives."""
    known: list[_Known] = []
    for one in earlier:
        known += _known_of(space, policy, one, first=_FIRST - len(known))
    fronts = [_front(space, policy, one) for one in earlier]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*fronts))
    found = {recipe_of(values).digest(): values for values in in_turn if values is not None}
    return WarmStart(tuple(known), tuple(found.values()))


def _known_of(space: Space, policy: Policy, earlier: Earlier, first: int) -> list[_Known]:
    trials = usable(space, policy, earlier.trials)
    values = np.array([objective_values(space, t.metrics, policy) for t in trials])
    quantiles = (rankdata(values, axis=0) - 1) / max(1, len(trials) - 1) if trials else values
    takes_parts = space.search.sampler in _LEARN_FROM_PARTS
    out: list[_Known] = []
    for trial, told, places in zip(trials, values, quantiles, strict=True):
        axes = axes_here(space, trial.values)
        if len(axes) > 1 and (takes_parts or recipe_here(space, trial.values) is not None):
            here = _as_here(space, policy, trial, axes, earlier.is_alike, first - len(out))
            out.append(_Known(here, _floats(told), _floats(places), earlier.is_alike))
    return out


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _as_here(
    space: Space, policy: Policy, trial: Trial, axes: Values, is_alike: bool, number: int
) -> Trial:
    metrics = trial.metrics if is_alike else _exact(trial.metrics)
    return dataclasses.replace(
        trial,
        number=number,
        values=axes,
        state=TrialState.COMPLETE,
        metrics=metrics,
        constraints=violations(policy.budgets(space), metrics, {}),
        sampler_attrs={},
    )


def _exact(metrics: Mapping[str, float]) -> dict[str, float]:
    """Figures that follow from the recipe alone, whatever the data and the device."""
    known = {name: MetricRef.of(name) for name in metrics}
    return {
        name: metrics[name]
        for name, ref in known.items()
        if ref.is_known and ref.known.known_untrained and not ref.known.noisy
    }


def axes_here(space: Space, values: Mapping[str, Value]) -> Values:
    """Of the axis values of an earlier trial those that this space has and allows."""
    family = str(values["family"])
    axes = space.axes_of(family)
    found = {n: values[n] for n, axis in axes.items() if n in values and axis.holds(values[n])}
    return {"family": family, **found}


def recipe_here(space: Space, values: Mapping[str, Value]) -> Values | None:
    """The recipe of an earlier trial in this space, which sets what it leaves no choice of; None
    where it does not allow it."""
    absent: list[str] = []

    def pick(name: str, axis: Axis) -> Value:
        if axis.size() == 1:
            return axis.at(0.0)
        if name in values and axis.holds(values[name]):
            return values[name]
        absent.append(name)
        return axis.at(0.5)

    here = choose(space, str(values["family"]), pick)
    return None if absent or refusal(space, here) is not None else here


def _front(space: Space, policy: Policy, earlier: Earlier) -> list[Values]:
    """Recipes of its front that this space allows and whose exact figures keep its budgets: the
    ends and the middle first, so that the first few span it."""
    known = [
        t
        for t in usable(space, policy, earlier.trials)
        if t.state is TrialState.COMPLETE and _keeps_budgets(space, policy, t)
    ]
    if not known:
        return []
    metrics = judged_metrics(space.objectives, policy)
    points = np.array([[t.metrics[m] for m in metrics] for t in known]) * signs(metrics)
    best = moocore.is_nondominated(points)
    order = [i for i in np.argsort(points[:, 0], kind="stable") if best[i]]
    found = [recipe_here(space, known[i].values) for i in _spread(order)]
    return [values for values in found if values is not None]


def _keeps_budgets(space: Space, policy: Policy, trial: Trial) -> bool:
    excess = violations(policy.budgets(space), _exact(trial.metrics), {})
    return all(e <= 0 for e in excess.values())


def _spread(order: Sequence[int]) -> list[int]:
    """The same with both ends first, then what halves the gaps."""
    n, places = len(order), [0, len(order) - 1]
    parts = 2
    while len(set(places)) < n:
        places += [round(i * (n - 1) / parts) for i in range(1, parts)]
        parts *= 2
    return [order[place] for place in dict.fromkeys(places)]
