"""What to try next: a pure function of the space, the seed and the trials it may see.

No sampler state is kept between two proposals. The store is the one memory: every ask is of a new
Optuna study over its records, with a seed of its own for every trial number. A search that was
killed therefore goes on as if it had not been, and equal records give equal proposals. What is kept
is the form in which Optuna reads a record (`FrozenTrials`).
"""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import moocore
import numpy as np
import optuna

from search.policy import Policy
from search.strategy.focus import seen_within, vary_nearest
from search.strategy.focus import tried as recipes_tried
from search.strategy.formats import other_format
from search.strategy.initial_design import initial_design
from search.strategy.moves import Nothing, Propose
from search.strategy.optuna_records import FrozenTrials, RecordStorage
from search.strategy.rungs import with_predictions
from search.strategy.settings import with_settings
from search.strategy.warm_start import NOTHING, WarmStart
from spaces.axes import Axis, Choice, IntRange, Value
from spaces.counting import count as count_recipes
from spaces.points import choose, enumerate_values, random_values, recipe_of, refusal
from spaces.space import Space
from storage.records import Focus, Trial, TrialState

DEFAULT_INITIAL = 6
_INITIAL_PER_FAMILY = 2  # its smallest and its largest, before anything is said of a family
_ATTEMPTS = 20
_WINDOW = 250  # beyond so many trials the sampler sees the front and the latest
_SMALL_SPACE = 5000

optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(
    space: Space,
    policy: Policy,
    seed: int,
    number: int,
    trials: Sequence[Trial],
    frozen: FrozenTrials | None = None,
    focus: Focus | None = None,
    warm: WarmStart = NOTHING,
) -> Propose | Nothing:
    """The recipe to try as trial `number`; Nothing when every recipe has been tried.

    Args:
        trials: all trials so far, running ones included.
        frozen: of this space, to be used again for the next.
        focus: the region that the trial is to lie in.
        warm: what earlier studies know.
    """
    frozen = frozen or FrozenTrials(space)
    seen = policy.seen(number, trials)
    tried = recipes_tried(seen, focus)
    n_initial = space.search.initial_trials
    if n_initial is None:
        n_initial = max(DEFAULT_INITIAL, _INITIAL_PER_FAMILY * len(space.students))
    design = initial_design(space, n_initial) if number < n_initial else []
    for values, source in warm.opening(design)[number:]:
        if recipe_of(values).digest() not in tried:
            return Propose(values, source)
    if space.search.formats == "all":
        other = other_format(space, seen, tried)
        if other is not None:
            return other
    if focus is not None:
        near = vary_nearest(space, focus, _seed(seed, number), number, seen, tried)
        if near is not None:
            return near
    told = seen_within([*warm.told(seen), *_windowed(space, seen)], focus)
    known = with_predictions(space, policy, told)
    for attempt in range(_ATTEMPTS):
        own_seed = _seed(seed, number, attempt)
        move = _ask(space, own_seed, known, frozen)
        if space.search.settings == "learned":
            rng = np.random.default_rng(own_seed)
            move = replace(move, values=with_settings(space, move.values, known, rng))
        is_allowed = refusal(space, move.values) is None
        if is_allowed and recipe_of(move.values).digest() not in tried:
            return move
    return _untried(space, _seed(seed, number, _ATTEMPTS), tried)


def _seed(*parts: int) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _untried(space: Space, seed: int, tried: set[str]) -> Propose | Nothing:
    rng = random.Random(seed)
    for _ in range(200):
        values = random_values(space, rng)
        if values is not None and recipe_of(values).digest() not in tried:
            return Propose(values, "random")
    size = count_recipes(space)
    if size.continuous or size.at_most > _SMALL_SPACE:
        return Nothing(is_exhausted=True)
    left = [v for v in enumerate_values(space) if recipe_of(v).digest() not in tried]
    return Propose(rng.choice(left), "random") if left else Nothing(is_exhausted=True)


def _with_axes(space: Space, trials: Sequence[Trial]) -> Sequence[Trial]:
    """What a sampler learns from that knows only axes which every trial has: not from the teacher's
    graph, which has next to none."""
    if space.search.sampler not in ("gp", "nsga2"):
        return trials
    return [t for t in trials if t.values["family"] in space.trained_families] or trials


def _ask(space: Space, seed: int, trials: Sequence[Trial], frozen: FrozenTrials) -> Propose:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments
        study = optuna.create_study(
            directions=[
                "maximize" if o.known.higher_is_better else "minimize" for o in space.objectives
            ],
            sampler=_sampler(space.search.sampler, seed),
            storage=RecordStorage(frozen.of(_with_axes(space, trials))),
        )
        trial = study.ask()
    families = tuple(space.students)
    family = trial.suggest_categorical("family", families) if len(families) > 1 else families[0]
    values = choose(space, family, lambda name, axis: _suggest(trial, name, axis))
    attrs = dict(study.get_trials(deepcopy=False)[-1].system_attrs)
    return Propose(values, "sampler", attrs)


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "tpe":
        return optuna.samplers.TPESampler(
            multivariate=True, group=True, n_startup_trials=10, seed=seed
        )
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(population_size=20, seed=seed)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _suggest(trial: optuna.Trial, name: str, axis: Axis) -> Value:
    if axis.size() == 1:
        return axis.at(0.0)
    if isinstance(axis, Choice):
        return cast(Value, trial.suggest_categorical(name, axis.values))
    if isinstance(axis, IntRange):
        return trial.suggest_int(name, axis.low, axis.last, step=axis.step, log=axis.log)
    return trial.suggest_float(name, axis.low, axis.last, step=axis.step, log=axis.log)


def _windowed(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """All trials, or of many the front and the latest: asking costs with what is seen, 270 ms at
    10,000 trials with a window of 1,500."""
    if len(trials) <= _WINDOW:
        return list(trials)
    older, latest = trials[:-_WINDOW], trials[-_WINDOW:]
    known = [t for t in older if t.objective_values is not None and t.state is TrialState.COMPLETE]
    if not known:
        return list(latest)
    maximise = [o.known.higher_is_better for o in space.objectives]
    best = moocore.is_nondominated(np.array([t.objective_values for t in known]), maximise=maximise)
    front = [t for t, is_best in zip(known, best, strict=True) if is_best]
    return front[-_WINDOW // 4 :] + list(latest)
