"""A region that some trials of a study are to lie in: its limits steer proposals and screening, and
judge nothing.

Within it the limits are constraints to the sampler, beside budgets; its first trials are the known
ones nearest to the limits, varied. What is screened out for it says nothing once it is over.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import moocore
import numpy as np

from search.objectives import violations
from search.strategy.moves import Propose
from spaces.axes import Axis, FloatRange, Value
from spaces.points import Values, choose, recipe_of, refusal
from spaces.sizes import byte_weight
from spaces.space import Budget, Space, parse_budget
from storage.records import Focus, Trial, TrialState

_MOST_VARIED = 6
_SHARE_VARIED = 1 / 3
_BASES = 3  # that are varied in turn
_STEP = 0.15  # of an axis, to a neighbouring value


def focus_at(focuses: Sequence[Focus], number: int) -> Focus | None:
    """The focus of a trial, where it has one."""
    return next((f for f in reversed(focuses) if f.covers(number)), None)


def limits_of(focus: Focus) -> tuple[Budget, ...]:
    """Its limits, as budgets are."""
    return tuple(parse_budget(metric, limit) for metric, limit in focus.towards.items())


def excesses(focus: Focus, trial: Trial) -> dict[str, float]:
    """How far a trial is beyond each limit that it has a figure for, as a share of the limit, so
    that milliseconds and megabytes add up; 0 or less where it is met."""
    limits = {str(limit): abs(limit.limit) or 1.0 for limit in limits_of(focus)}
    found = violations(limits_of(focus), trial.metrics, {})
    return {f"towards {text}": excess / limits[text] for text, excess in found.items()}


def is_outside_a_focus(trial: Trial) -> bool:
    """Whether it was screened out although it may meet every budget."""
    is_out = trial.state is TrialState.SCREENED_OUT
    return is_out and all(excess <= 0 for excess in trial.constraints.values())


def tried(trials: Sequence[Trial], focus: Focus | None) -> set[str]:
    """Digests of the recipes that are not to be tried again: those outside an earlier focus may
    be."""
    return {t.recipe_digest for t in trials if not is_outside_a_focus(t) or _breaks(t, focus)}


def _breaks(trial: Trial, focus: Focus | None) -> bool:
    return focus is not None and any(e > 0 for e in excesses(focus, trial).values())


def seen_within(trials: Sequence[Trial], focus: Focus | None) -> list[Trial]:
    """Trials as a sampler is to see them: with the limits of the focus as constraints, and without
    those that say nothing outside an earlier one."""
    kept = [t for t in trials if not is_outside_a_focus(t) or _breaks(t, focus)]
    if focus is None:
        return kept
    # one that is not seen to have ended may hold figures that nobody may see yet
    return [
        t.evolve(constraints={**t.constraints, **excesses(focus, t)}) if t.state.is_final else t
        for t in kept
    ]


def vary_nearest(
    space: Space, focus: Focus, seed: int, number: int, trials: Sequence[Trial], known: set[str]
) -> Propose | None:
    """One of the known trials nearest to the limits with one axis changed, for the first trials
    of a focus; None for later ones, and where nothing new is left beside them.

    Args:
        trials: those whose results may be seen.
        known: digests of the recipes that were tried.
    """
    place = number - focus.first
    if place >= min(_MOST_VARIED, math.ceil(_SHARE_VARIED * focus.trials)):
        return None
    bases = _nearest(space, focus, trials)
    first = place % min(_BASES, len(bases)) if bases else 0
    rng = random.Random(seed)
    for base in [*bases[first : first + 1], *bases[:first], *bases[first + 1 :]]:
        for values in _beside(space, focus, base, rng):
            is_new = recipe_of(values).digest() not in known
            if is_new and refusal(space, values) is None:
                return Propose(values, "focus")
    return None


def _nearest(space: Space, focus: Focus, trials: Sequence[Trial]) -> list[Trial]:
    """Measured trials: those of the front first, each by its distance from the limits."""
    metrics = [limit.metric for limit in limits_of(focus)]
    known = [
        t
        for t in trials
        if t.state is TrialState.COMPLETE
        and t.objective_values is not None
        and all(metric in t.metrics for metric in metrics)
    ]
    if not known:
        return []
    maximise = [o.known.higher_is_better for o in space.objectives]
    best = moocore.is_nondominated(np.array([t.objective_values for t in known]), maximise=maximise)
    order = [
        (not is_best, sum(map(abs, excesses(focus, t).values())), t.number)
        for t, is_best in zip(known, best, strict=True)
    ]
    by_number = {t.number: t for t in known}
    return [by_number[number] for _, _, number in sorted(order)]


def _beside(space: Space, focus: Focus, base: Trial, rng: random.Random) -> Iterator[Values]:
    """The recipe of a trial with one axis changed to a neighbouring value; where it is too big or
    too slow, smaller ones come first."""
    family = str(base.values["family"])
    found = []
    for name, axis in space.axes_of(family).items():
        for value in _neighbours(axis, base.values[name]) if name in base.values else ():
            changed = {**base.values, name: value}
            found.append(choose(space, family, lambda n, a, c=changed: c.get(n, a.at(0.5))))  # type: ignore[misc]
    rng.shuffle(found)
    broken = [str(limit) for limit in limits_of(focus) if limit.metric.known.known_untrained]
    is_heavy = any(excesses(focus, base)[f"towards {text}"] > 0 for text in broken)
    weight = byte_weight(dict(base.values))
    yield from sorted(found, key=lambda v: is_heavy and byte_weight(v) >= weight)


def _neighbours(axis: Axis, value: Value) -> list[Value]:
    """The values a step below and above, of a choice of words all others."""
    if isinstance(axis, FloatRange) and axis.size() is None:
        place = _quantile(axis, float(value))
        return [axis.at(q) for q in (place - _STEP, place + _STEP) if 0 <= q <= 1]
    values = axis.values_in_order()
    if any(isinstance(v, str) for v in values):
        return [v for v in values if v != value]
    ordered = sorted(values, key=float)
    if value not in ordered:
        return []
    place, step = ordered.index(value), max(1, round(_STEP * (len(ordered) - 1)))
    return [ordered[i] for i in (place - step, place + step) if 0 <= i < len(ordered)]


def _quantile(axis: FloatRange, value: float) -> float:
    """Where a value lies between the ends of a range."""
    scale = math.log if axis.log else float
    low, high = scale(axis.low), scale(axis.high)
    return (scale(value) - low) / (high - low)
