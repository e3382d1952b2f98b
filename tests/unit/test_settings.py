"""Settings of training, learnt across the trials of a family whatever their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from trials import trial_of

from search.policy import AS_MEASURED
from search.strategy.moves import Propose
from search.strategy.sampling import propose
from search.strategy.settings import findings, with_settings
from spaces.points import random_values, recipe_of
from spaces.space import Space
from storage.records import Trial

TRUE = {0.002: 0.4, 0.004: 0.0, 0.008: 0.2}  # what a learning rate adds to the logarithm of WER


@pytest.fixture
def space(make_space: Callable[..., Space]) -> Space:
    return make_space(
        students={"separable_conv": {"channels": {"int": [32, 256]}}},
        training={"learning_rate": list(TRUE), "augment": {"float": [0.0, 1.0]}},
        distil={"weight": [0.0, 0.5], "temperature": [1.0, 2.0]},
        objectives=["wer", "size_mb"],
        search={"settings": "learned", "initial_trials": 0},
    )


def trials_of(space: Space, count: int, noise: float = 0.05) -> list[Trial]:
    """Size counts most; then the learning rate, and augmentation with its best at 0.5."""
    import random

    rng, spread = random.Random(0), np.random.default_rng(0)
    found = []
    for number in range(count):
        values = random_values(space, rng)
        assert values is not None
        params = 1e3 * float(values["separable_conv.channels"]) ** 1.5
        log_wer = 4 - 0.5 * np.log(params) + TRUE[float(values["training.learning_rate"])]
        log_wer += 2.0 * (float(values["training.augment"]) - 0.5) ** 2 + spread.normal(0, noise)
        wer = float(np.exp(log_wer))
        found.append(
            trial_of(
                number,
                values,
                metrics={"wer": wer, "params": params, "size_mb": params / 1e6},
                objective_values=(wer, params / 1e6),
            )
        )
    return found


def chosen(space: Space, trials: list[Trial], name: str, draws: int = 40) -> list[float]:
    values = trials[0].values
    drawn = [
        with_settings(space, dict(values), trials, np.random.default_rng(i)) for i in range(draws)
    ]
    assert {v["separable_conv.channels"] for v in drawn} == {values["separable_conv.channels"]}
    return [float(v[name]) for v in drawn]


def test_settings_that_do_better_at_any_size_are_chosen(space: Space) -> None:
    trials = trials_of(space, 40)
    rates = chosen(space, trials, "training.learning_rate")
    assert np.mean(np.array(rates) == 0.004) > 0.9
    assert abs(np.median(chosen(space, trials, "training.augment")) - 0.5) < 0.15


def test_while_nothing_is_told_apart_every_value_is_tried(space: Space) -> None:
    rates = chosen(space, trials_of(space, 7, noise=1.0), "training.learning_rate")
    assert set(rates) == set(TRUE)


def test_with_few_trials_settings_are_those_of_the_sampler(space: Space) -> None:
    trials = trials_of(space, 5)
    assert with_settings(space, dict(trials[0].values), trials, np.random.default_rng(0)) == dict(
        trials[0].values
    )
    assert findings(space, trials) == []


def test_what_is_found_is_said_with_its_interval(space: Space) -> None:
    first, *others = findings(space, trials_of(space, 40))
    rate = next(f for f in [first, *others] if f.axis == "training.learning_rate")
    assert (rate.best, rate.worst, rate.n_trials) == (0.004, 0.002, 40)
    assert rate.is_sure
    assert rate.low < 1 - np.exp(-0.4) < rate.high
    assert str(rate).startswith("separable_conv: learning rate 0.004 makes ")
    weight = next(f for f in [first, *others] if f.axis == "distil.weight")
    assert not weight.is_sure


def test_a_proposal_is_of_the_space_and_the_same_for_the_same_records(space: Space) -> None:
    trials = trials_of(space, 20)
    moves = [propose(space, AS_MEASURED, 3, 20, trials) for _ in range(2)]
    assert moves[0] == moves[1]
    assert isinstance(moves[0], Propose)
    recipe_of(moves[0].values)
    axes = space.axes_of("separable_conv")
    assert all(axes[n].holds(v) for n, v in moves[0].values.items() if n != "family")
    temperature = "distil.temperature" in moves[0].values
    assert temperature == (float(moves[0].values["distil.weight"]) > 0)


def test_trials_without_errors_teach_nothing(space: Space) -> None:
    trials = [replace(t, objective_values=None) for t in trials_of(space, 20)]
    assert findings(space, trials) == []
