"""A study that begins with what earlier ones know: their fronts first, their trials to learn from,
none of them its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from trials import trial_of

from search.policy import AS_MEASURED, DETERMINISTIC
from search.strategy.initial_design import initial_design
from search.strategy.moves import Propose
from search.strategy.sampling import propose
from search.strategy.warm_start import Earlier, WarmStart, axes_here, recipe_here, warm_start
from spaces.identity import space_digest
from spaces.points import random_values, refusal
from spaces.space import Space
from storage.records import Trial

MakeSpace = Callable[..., Space]
AXES: dict[str, Any] = {
    "students": {
        "separable_conv": {"channels": {"int": [16, 256], "step": 8}, "blocks": [1, 2, 4, 8]},
        "recurrent": {"cell": ["gru", "lstm"], "hidden": {"int": [16, 256], "log": True}},
    },
    "training": {"learning_rate": {"float": [0.001, 0.01], "log": True}},
    "distil": {"weight": [0.0, 0.5], "temperature": {"float": [1.0, 4.0]}},
    "objectives": ["wer", "size_mb"],
}
BEST_RATE = 0.003


def _metrics(values: Mapping[str, Any], scale: float = 1.0) -> dict[str, float]:
    """A learning rate off the best costs errors, whatever the size; `scale` is of other data."""
    width = float(values.get("separable_conv.channels") or values.get("recurrent.hidden") or 1)
    depth = float(values.get("separable_conv.blocks", 2))
    off = abs(np.log(float(values["training.learning_rate"]) / BEST_RATE))
    wer = scale * (0.05 + 1.5 / (width * depth) + 0.2 * off)
    return {"wer": float(wer), "size_mb": width * depth / 100, "latency_p95_ms": width / 10}


def _trial(number: int, values: Mapping[str, Any], scale: float = 1.0, **changes: Any) -> Trial:
    metrics = _metrics(values, scale)
    given = {"metrics": metrics, "objective_values": (metrics["wer"], metrics["size_mb"])}
    return trial_of(number, values, **{**given, **changes})


def _drawn(space: Space, count: int, scale: float = 1.0) -> tuple[Trial, ...]:
    rng = random.Random(1)
    values = [random_values(space, rng) for _ in range(count)]
    return tuple(_trial(n, v, scale) for n, v in enumerate(values) if v is not None)


@pytest.fixture(scope="module")
def space(make_space: MakeSpace) -> Space:
    return make_space(**AXES)


@pytest.fixture(scope="module")
def earlier(space: Space) -> tuple[Trial, ...]:
    return _drawn(space, 60)


def _warm(space: Space, trials: Sequence[Trial], is_alike: bool = True) -> WarmStart:
    return warm_start(space, AS_MEASURED, [Earlier("edge", tuple(trials), is_alike)])


def _go_on(space: Space, warm: WarmStart | None, count: int, scale: float = 1.0) -> list[Trial]:
    out: list[Trial] = []
    more = {} if warm is None else {"warm": warm}
    for number in range(count):
        proposal = propose(space, AS_MEASURED, 0, number, out, **more)  # type: ignore[arg-type]
        assert isinstance(proposal, Propose)
        out.append(_trial(number, proposal.values, scale, source=proposal.source))
    return out


def test_the_fronts_of_earlier_studies_are_proposed_first(
    space: Space, earlier: tuple[Trial, ...]
) -> None:
    trials = _go_on(space, _warm(space, earlier), 8)
    assert [t.source for t in trials] == ["warm_start"] * 6 + ["sampler"] * 2
    told = np.array([t.objective_values for t in earlier])
    for trial in trials[:6]:
        better = (told <= trial.objective_values).all(1) & (told < trial.objective_values).any(1)
        assert not better.any()


def test_a_short_front_leaves_room_for_the_initial_design(
    space: Space, earlier: tuple[Trial, ...]
) -> None:
    trials = _go_on(space, _warm(space, earlier[:1]), 6)
    assert [t.source for t in trials] == ["warm_start"] + ["initial_design"] * 5
    assert [t.values for t in trials[1:]] == initial_design(space, 6)[1:]


def test_no_recipe_from_experience_means_none(
    make_space: MakeSpace, earlier: tuple[Trial, ...]
) -> None:
    space = make_space(**AXES, search={"initial_trials": 0})
    assert {t.source for t in _go_on(space, _warm(space, earlier), 2)} == {"sampler"}


@pytest.mark.parametrize("is_alike", [True, False])
def test_what_an_earlier_study_knows_is_learnt_from(
    space: Space, earlier: tuple[Trial, ...], is_alike: bool
) -> None:
    """On other data errors are ten times as many, and their order says as much."""
    scale = 1.0 if is_alike else 10.0

    def off(warm: WarmStart | None) -> float:
        rates = [
            float(t.values["training.learning_rate"]) for t in _go_on(space, warm, 18, scale)[6:]
        ]
        return float(np.mean(np.abs(np.log(np.array(rates) / BEST_RATE))))

    assert off(_warm(space, earlier, is_alike)) < 0.75 * off(None)


def test_alike_values_are_told_as_they_are_and_others_by_rank(
    space: Space, earlier: tuple[Trial, ...]
) -> None:
    alike, other = _warm(space, earlier), _warm(space, earlier, is_alike=False)
    own = [t.evolve(objective_values=(10.0 + n, 5.0 - n)) for n, t in enumerate(earlier[:5])]
    assert [t.objective_values for t in alike.told([])] == [t.objective_values for t in earlier]
    assert other.told(own[:3]) == []
    told = other.told(own)
    for place, (low, high) in enumerate(((10.0, 14.0), (1.0, 5.0))):
        theirs = [t.objective_values[place] for t in earlier if t.objective_values]
        mine = [t.objective_values[place] for t in told if t.objective_values]
        assert (min(mine), max(mine)) == (low, high)
        order = np.argsort(theirs, kind="stable")
        assert (np.diff(np.array(mine)[order]) >= 0).all()
    numbers = [t.number for t in told]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < -1  # none is of the study, nor what Optuna is asked for


def test_equal_records_give_equal_proposals(space: Space, earlier: tuple[Trial, ...]) -> None:
    trials = _go_on(space, _warm(space, earlier), 12)
    for policy in (AS_MEASURED, DETERMINISTIC):
        first, again = (
            propose(space, policy, 0, 12, list(trials), warm=_warm(space, earlier, False))
            for _ in range(2)
        )
        assert first == again


def test_without_earlier_studies_proposals_are_as_ever(space: Space) -> None:
    nothing = warm_start(space, AS_MEASURED, [])
    assert _go_on(space, nothing, 12) == _go_on(space, None, 12)


def test_only_axes_and_values_of_this_space_are_taken(
    make_space: MakeSpace, earlier: tuple[Trial, ...]
) -> None:
    narrow = make_space(
        students={"separable_conv": {"channels": {"int": [16, 64], "step": 16}, "blocks": [2]}},
        training={"learning_rate": {"float": [0.002, 0.004]}},
        objectives=["wer", "size_mb"],
        forbid=[{"channels": 32}],
    )
    warm = _warm(narrow, earlier)
    assert {str(k.trial.values["family"]) for k in warm.known} == {"separable_conv"}
    for known in warm.known:
        axes = narrow.axes_of("separable_conv")
        names = set(known.trial.values) - {"family"}
        assert names <= set(axes)
        assert all(axes[name].holds(known.trial.values[name]) for name in names)
    for values in warm.design:
        assert refusal(narrow, values) is None
        assert values["separable_conv.blocks"] == 2  # this space leaves no choice of it

    values = {
        "family": "separable_conv",
        "separable_conv.channels": 48,
        "separable_conv.blocks": 8,
        "training.learning_rate": 0.003,
        "distil.weight": 0.0,
        "gone.axis": 1,
    }
    here = axes_here(narrow, values)
    assert (here["separable_conv.channels"], here["training.learning_rate"]) == (48, 0.003)
    assert not {"separable_conv.blocks", "gone.axis", "distil.weight"} & set(here)
    made = recipe_here(narrow, values)
    assert made is not None
    assert (made["separable_conv.channels"], made["separable_conv.blocks"]) == (48, 2)
    assert recipe_here(narrow, {**values, "separable_conv.channels": 32}) is None  # forbidden
    assert recipe_here(narrow, {**values, "separable_conv.channels": 50}) is None


def test_budgets_of_this_study_hold_for_what_is_exact(
    make_space: MakeSpace, earlier: tuple[Trial, ...]
) -> None:
    tight = make_space(**AXES, budgets={"size_mb": "<= 2", "wer": "<= 20%"})
    for is_alike in (True, False):
        warm = _warm(tight, earlier, is_alike)
        assert warm.design
        assert all(_metrics(values)["size_mb"] <= 2 for values in warm.design)
        broken = {k.trial.constraints["size_mb <= 2"] > 0 for k in warm.known}
        assert broken == {True, False}
        assert all(("wer <= 0.2" in k.trial.constraints) == is_alike for k in warm.known)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_goes_on_from_there(
    make_space: MakeSpace, earlier: tuple[Trial, ...], sampler: str
) -> None:
    space = make_space(**AXES, search={"sampler": sampler})
    trials = _go_on(space, _warm(space, earlier[:20]), 8)
    assert [t.source for t in trials][-2:] == ["sampler"] * 2
    assert len({t.recipe_digest for t in trials}) == 8


def test_two_studies_take_turns(space: Space, earlier: tuple[Trial, ...]) -> None:
    parts = [Earlier("a", earlier[:30], True), Earlier("b", earlier[30:], True)]
    warm = warm_start(space, AS_MEASURED, parts)
    assert len(warm.known) == len(earlier)
    firsts = [warm_start(space, AS_MEASURED, [part]).design[0] for part in parts]
    assert list(warm.design[:2]) == firsts


def test_what_a_study_learns_from_is_part_of_what_it_is(make_space: MakeSpace) -> None:
    plain, empty = make_space(), make_space(search={"warm_start": []})
    named = make_space(search={"warm_start": "edge"})
    assert named.search.warm_start == ("edge",)
    assert space_digest(plain) == space_digest(empty) != space_digest(named)
