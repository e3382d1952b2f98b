"""What to try next follows from the records alone, whatever the sampler."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from trials import trial_of

from search.policy import AS_MEASURED, DETERMINISTIC, Policy
from search.strategy.initial_design import initial_design
from search.strategy.moves import Nothing, Propose
from search.strategy.optuna_records import FrozenTrials
from search.strategy.sampling import propose
from spaces.load import load_space, shipped_spaces
from spaces.points import enumerate_values, recipe_of, refusal
from spaces.space import Space
from storage.records import Trial, TrialState

MakeSpace = Callable[..., Space]
SAMPLERS = ("tpe", "nsga2", "gp", "random")
TWO_FAMILIES = {
    "separable_conv": {"channels": {"int": [16, 64], "step": 16}, "expand": [1, 2]},
    "recurrent": {"cell": ["gru", "lstm"], "hidden": {"int": [16, 128], "log": True}},
}
AXES = {
    "training": {"learning_rate": {"float": [0.001, 0.01], "log": True}},
    "distil": {"weight": [0.0, 0.5], "temperature": {"float": [1.0, 3.0]}},
    "prune": {"ratio": [0.0, 0.5]},
}
BUDGETS = {"size_mb": "<= 5", "latency_p95_ms": "<= 50"}


def _space(make_space: MakeSpace, sampler: str, **sections: Any) -> Space:
    search = {"sampler": sampler, **sections.pop("search", {})}
    return make_space(**{"students": TWO_FAMILIES, **AXES, "search": search, **sections})


def _figures(space: Space, values: Mapping[str, Any]) -> tuple[float, ...]:
    """Three made-up objectives that pull against each other; a function of the recipe."""
    size = float(values.get("separable_conv.channels") or values.get("recurrent.hidden") or 20)
    noise = int(recipe_of(values).digest()[:4], 16) / 0xFFFF
    return (1.0 / size + noise / 50, size / 4 + noise, size / 20)


def _trial(space: Space, number: int, proposal: Propose, **changes: Any) -> Trial:
    given = {
        "label": recipe_of(proposal.values).label(),
        "source": proposal.source,
        "state": TrialState.RUNNING,
        "sampler_attrs": proposal.sampler_attrs,
    }
    return trial_of(number, proposal.values, **{**given, **changes})


def _completed(space: Space, trial: Trial) -> Trial:
    return trial.evolve(state=TrialState.COMPLETE, objective_values=_figures(space, trial.values))


def _with_every_end(space: Space, trial: Trial) -> Trial:
    """A trial ended in one of all the ways there are, by its number."""
    values = _figures(space, trial.values)
    met = {"size_mb <= 5": -1.0, "latency_p95_ms <= 50": -2.0}
    broken = {"size_mb <= 5": 0.5, "latency_p95_ms <= 50": -2.0}
    ends: list[dict[str, Any]] = [
        {"state": TrialState.COMPLETE, "objective_values": values, "constraints": met},
        {"state": TrialState.INFEASIBLE, "objective_values": values, "constraints": broken},
        {"state": TrialState.SCREENED_OUT, "constraints": {"size_mb <= 5": 3.0}},
        {"state": TrialState.COMPLETE, "objective_values": values, "constraints": met},
        {"state": TrialState.FAILED, "reason": "its process ended with 3"},
        {"state": TrialState.CANCELLED},
        {"state": TrialState.UNMEASURED},
        {"state": TrialState.STOPPED},
        {"state": TrialState.RUNNING},
    ]
    return trial.evolve(**ends[trial.number % len(ends)])


def _run(
    space: Space,
    n_trials: int,
    end: Callable[[Space, Trial], Trial] = _completed,
    seed: int = 0,
    policy: Policy = AS_MEASURED,
) -> list[Trial]:
    trials: list[Trial] = []
    for number in range(n_trials):
        proposal = propose(space, policy, seed, number, trials)
        if isinstance(proposal, Nothing):
            break
        trials.append(end(space, _trial(space, number, proposal)))
    return trials


def _records(
    make_space: MakeSpace,
    sampler: str,
    n_trials: int,
    end: Callable[[Space, Trial], Trial] = _completed,
    **sections: Any,
) -> tuple[Space, list[Trial]]:
    """A space and its first trials; those before a Gaussian process, which is slow, at random."""
    by = _space(make_space, "random" if sampler == "gp" else sampler, **sections)
    return _space(make_space, sampler, **sections), _run(by, n_trials, end)


def _from_json(trials: Sequence[Trial]) -> list[Trial]:
    """Trials as a store gives them back."""
    return [
        t.evolve(
            values=json.loads(json.dumps(t.values)),
            sampler_attrs=json.loads(json.dumps(t.sampler_attrs)),
            constraints=json.loads(json.dumps(t.constraints)),
        )
        for t in trials
    ]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_records_give_equal_proposals(make_space: MakeSpace, sampler: str) -> None:
    space, trials = _records(make_space, sampler, 13)
    random.seed(1)
    np.random.seed(1)
    first = propose(space, AS_MEASURED, 0, 13, trials)
    random.seed(2)
    np.random.seed(2)
    assert isinstance(first, Propose)
    assert propose(space, AS_MEASURED, 0, 13, _from_json(trials)) == first
    assert first.source == "sampler"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_records_kept_from_ask_to_ask_give_the_proposals_of_records_read_anew(
    make_space: MakeSpace, sampler: str
) -> None:
    """Trials run when they are first seen, and end, are judged anew or are extended later."""
    space, ended = _records(make_space, sampler, 16, _with_every_end)
    kept = FrozenTrials(space)
    for number in range(12, 16):
        running = [
            t.evolve(state=TrialState.RUNNING, objective_values=None, constraints={})
            if t.number >= number - 2
            else t
            for t in ended[:number]
        ]
        anew = propose(space, AS_MEASURED, 0, number, running)
        assert propose(space, AS_MEASURED, 0, number, running, kept) == anew


def test_another_seed_gives_other_proposals(make_space: MakeSpace) -> None:
    space = _space(make_space, "tpe")
    trials = _run(space, 8)
    proposals = [propose(space, AS_MEASURED, seed, 8, trials) for seed in range(4)]
    digests = {recipe_of(p.values).digest() for p in proposals if isinstance(p, Propose)}
    assert len(digests) > 1


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_deterministic_study_ignores_results_of_the_generation_under_way(
    make_space: MakeSpace, sampler: str
) -> None:
    space = _space(make_space, sampler)
    assert DETERMINISTIC.generation is not None
    first = 5 * DETERMINISTIC.generation
    number = first + DETERMINISTIC.generation - 1
    trials = _run(space, number, policy=DETERMINISTIC)
    ends: list[dict[str, Any]] = [
        {"state": TrialState.RUNNING, "objective_values": None},
        {"state": TrialState.COMPLETE, "objective_values": (0.0, 0.0, 0.0)},
        {
            "state": TrialState.INFEASIBLE,
            "objective_values": (9.0, 9.0, 9.0),
            "constraints": {"a": 1.0},
        },
        {"state": TrialState.FAILED, "objective_values": None},
        {"state": TrialState.SCREENED_OUT, "objective_values": None, "constraints": {"a": 1.0}},
    ]
    proposals = [
        propose(
            space,
            DETERMINISTIC,
            0,
            number,
            [t if t.number < first else t.evolve(**end) for t in trials],
        )
        for end in ends
    ]
    assert isinstance(proposals[0], Propose)
    assert all(p == proposals[0] for p in proposals)


@pytest.mark.parametrize("policy", [AS_MEASURED, DETERMINISTIC])
def test_results_of_earlier_generations_are_learnt_from(
    make_space: MakeSpace, policy: Policy
) -> None:
    space = _space(make_space, "tpe")
    trials = _run(space, 24, policy=policy)
    turned = [
        t.evolve(objective_values=tuple(-v for v in t.objective_values or ())) for t in trials
    ]
    one = [propose(space, policy, seed, 24, trials) for seed in range(4)]
    other = [propose(space, policy, seed, 24, turned) for seed in range(4)]
    assert one != other


@pytest.mark.parametrize("name", shipped_spaces())
def test_the_initial_design_comes_first(name: str) -> None:
    space = load_space(name)
    count = max(6, 2 * len(space.students))
    design = initial_design(space, count)
    count = len(design)  # fewer, where a family has fewer recipes than that
    trials = _run(space, count)
    assert [t.source for t in trials] == ["initial_design"] * len(design)
    assert [t.values for t in trials] == design
    following = propose(space, AS_MEASURED, 0, count, trials)
    assert isinstance(following, Propose)
    assert following.source == ("format" if space.search.formats == "all" else "sampler")


@pytest.mark.parametrize("key", ["initial_trials", "expert_trials"])
def test_the_size_of_the_initial_design_is_the_users(make_space: MakeSpace, key: str) -> None:
    few = _space(make_space, "random", search={key: 2})
    assert [t.source for t in _run(few, 4)] == ["initial_design"] * 2 + ["sampler"] * 2
    none = _space(make_space, "random", search={key: 0})
    assert [t.source for t in _run(none, 2)] == ["sampler", "sampler"]


def test_what_was_tried_already_of_the_initial_design_is_passed_over(make_space: MakeSpace) -> None:
    space = _space(make_space, "random")
    second = initial_design(space, 6)[1]
    by_hand = _trial(space, 0, Propose(second, "user"))
    proposed = propose(space, AS_MEASURED, 0, 1, [_completed(space, by_hand)])
    assert proposed == Propose(initial_design(space, 6)[2], "initial_design")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_learns_from_trials_however_they_ended(
    make_space: MakeSpace, sampler: str
) -> None:
    space, trials = _records(make_space, sampler, 32, _with_every_end, budgets=BUDGETS)
    proposal = propose(space, AS_MEASURED, 0, 32, trials)
    assert isinstance(proposal, Propose)
    assert proposal.source == "sampler"
    assert len(trials) == 32
    assert {t.state for t in trials} == set(TrialState) - {TrialState.QUEUED}
    assert len({recipe_of(proposal.values).digest(), *(t.recipe_digest for t in trials)}) == 33


def test_nsga2_breeds_from_its_first_population(make_space: MakeSpace) -> None:
    space = _space(make_space, "nsga2")
    trials = _run(space, 40)
    assert len({t.recipe_digest for t in trials}) == 40
    generations = {v for t in trials for k, v in t.sampler_attrs.items() if "generation" in k}
    assert generations == {0, 1}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_recipe_of_a_small_space_is_tried_once_and_then_none(
    make_space: MakeSpace, sampler: str
) -> None:
    space = make_space(
        students={"separable_conv": {"channels": [16, 24]}, "recurrent": {}},
        distil={"weight": [0.0, 0.5], "temperature": [1.0, 2.0]},
        forbid=[{"channels": 24, "distil.weight": 0}],
        search={"sampler": sampler, "initial_trials": 2},
    )
    every = {recipe_of(values).digest() for values in enumerate_values(space)}
    assert len(every) == 8
    trials = _run(space, 50)
    assert [t.recipe_digest for t in trials].count(trials[0].recipe_digest) == 1
    assert sorted(t.recipe_digest for t in trials) == sorted(every)
    assert propose(space, AS_MEASURED, 0, len(trials), trials) == Nothing(is_exhausted=True)


def test_a_recipe_is_tried_once_although_every_part_overrides_the_scheme(
    make_space: MakeSpace,
) -> None:
    parts = {part: ["fp32", "fp16"] for part in ("frontend", "encoder", "head")}
    space = make_space(
        students={"separable_conv": {"channels": 16}},
        quantize={"scheme": ["fp32", "int4"], **parts},
        search={"sampler": "random"},
    )
    trials = _run(space, 50)
    assert len({t.recipe_digest for t in trials}) == len(trials) == 8


@pytest.mark.parametrize(
    "axis",
    [
        {"float": [0, 1], "step": 0.25},
        {"float": [0, 0.9], "step": 0.5},
        {"float": [0, 0.3], "step": 0.1},
    ],
)
def test_a_range_in_steps_is_searched_to_its_last_value(
    make_space: MakeSpace, axis: dict[str, Any]
) -> None:
    space = make_space(distil={"weight": axis}, search={"sampler": "tpe"})
    trials = _run(space, 50)
    values = {round(float(t.values["distil.weight"]), 6) for t in trials}
    n_steps = {0.25: 5, 0.5: 2, 0.1: 4}[axis["step"]]
    assert values == {round(i * axis["step"], 6) for i in range(n_steps)}
    assert len(trials) == 2 * n_steps


def test_whole_numbers_in_steps_need_not_end_at_the_upper_end(make_space: MakeSpace) -> None:
    space = make_space(training={"epochs": {"int": [10, 25], "step": 10}})
    trials = _run(space, 50)
    assert {t.values["training.epochs"] for t in trials} == {10, 20}
    assert len(trials) == 4


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_no_proposal_breaks_a_rule(make_space: MakeSpace, sampler: str) -> None:
    rules = [{"family": "recurrent", "cell": "gru"}, {"channels": ">=48", "expand": 2}]
    space = _space(make_space, sampler, forbid=rules)
    trials = _run(space, 16)
    assert len(trials) == 16
    assert all(refusal(space, t.values) is None for t in trials)


def test_after_many_trials_a_proposal_is_still_new_and_still_pure(make_space: MakeSpace) -> None:
    space = _space(make_space, "random", search={"initial_trials": 0})
    rng = random.Random(0)
    trials = []
    for number in range(1700):
        values = {
            "family": "separable_conv",
            "separable_conv.channels": rng.choice([16, 32, 48, 64]),
            "separable_conv.expand": rng.choice([1, 2]),
            "training.learning_rate": rng.uniform(0.001, 0.01),
            "distil.weight": 0.0,
            "prune.ratio": 0.0,
        }
        trial = _trial(space, number, Propose(values, "sampler"))
        trials.append(_completed(space, trial) if number % 3 else trial)
    proposal = propose(space, AS_MEASURED, 0, 1700, trials)
    assert isinstance(proposal, Propose)
    assert proposal == propose(space, AS_MEASURED, 0, 1700, trials)
    assert recipe_of(proposal.values).digest() not in {t.recipe_digest for t in trials}
