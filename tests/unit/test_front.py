"""The front holds what nothing beats; asking for the best among it is plain language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.front import front_numbers, hypervolume, knee_number
from search.analysis.pick import best_trial, fits, parse_where
from search.analysis.trial_frame import trial_frame
from search.errors import UsageFault
from search.policy import policy_of
from spaces.metrics import MetricRef, metric_named
from spaces.space import Space
from storage.records import Study, StudyState, Trial, TrialState

MakeSpace = Callable[..., Space]
OBJECTIVES = ["wer", "size_mb", "throughput"]
REFERENCE = {MetricRef("wer"): 1.0, MetricRef("size_mb"): 50.0, MetricRef("throughput"): 10.0}
STUDY = Study(
    id=1,
    name="some",
    space_yaml="",
    space_path="",
    space_digest="0" * 64,
    seed=0,
    deterministic=False,
    state=StudyState.RUNNING,
    trials_wanted=12,
    created_at=0.0,
)


def _trial(number: int, metrics: Mapping[str, float], **changes: Any) -> Trial:
    columns: dict[str, Any] = {
        "id": number + 1,
        "study_id": 1,
        "number": number,
        "values": {},
        "recipe": {},
        "recipe_digest": f"{number:064x}",
        "label": f"student {number}",
        "source": "sampler",
        "state": TrialState.COMPLETE,
        "created_at": 0.0,
        "metrics": metrics,
    }
    return Trial(**{**columns, **changes})


def _front(space: Space, trials: Sequence[Trial], deterministic: bool = False) -> list[int]:
    """Of a study: what its frame holds as `on_front`, by the first objective."""
    frame = trial_frame(trials, replace(STUDY, deterministic=deterministic), space)
    numbers = front_numbers(frame, space.objectives, policy_of(deterministic))
    assert set(frame["number"][frame["on_front"]]) == set(numbers)
    return numbers


def _knee(space: Space, trials: Sequence[Trial], deterministic: bool = False) -> int | None:
    frame = trial_frame(trials, replace(STUDY, deterministic=deterministic), space)
    return knee_number(frame, space.objectives, policy_of(deterministic))


def _hypervolume(
    space: Space, trials: Sequence[Trial], reference: Mapping[MetricRef, float] = REFERENCE
) -> float:
    return hypervolume(trial_frame(trials, STUDY, space), space.objectives, reference)


def _beats(a: Mapping[str, float], b: Mapping[str, float], objectives: Sequence[str]) -> bool:
    """At least as good in all, better in one."""
    signs = [-1 if metric_named(o).higher_is_better else 1 for o in objectives]
    pairs = [(s * a[o], s * b[o]) for s, o in zip(signs, objectives, strict=True)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


# Few different values, so that ties are common.
metric_rows = st.fixed_dictionaries(
    {
        "wer": st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.3]),
        "size_mb": st.sampled_from([0.5, 1.0, 2.0, 60.0]),
        "throughput": st.sampled_from([5.0, 20.0, 80.0]),
        "macs": st.sampled_from([1e6, 2e6, 3e6]),
    }
)
some_trials = st.lists(
    st.tuples(metric_rows, st.sampled_from([TrialState.COMPLETE] * 3 + [TrialState.INFEASIBLE])),
    max_size=12,
).map(lambda rows: [_trial(i, metrics, state=state) for i, (metrics, state) in enumerate(rows)])


@given(some_trials, st.sampled_from([OBJECTIVES, OBJECTIVES[:2], ["throughput"]]))
def test_the_front_is_what_no_other_complete_trial_beats(
    make_space: MakeSpace, trials: list[Trial], objectives: list[str]
) -> None:
    space = make_space(objectives=objectives)
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    unbeaten = {
        tuple(t.metrics[o] for o in objectives)
        for t in complete
        if not any(_beats(other.metrics, t.metrics, objectives) for other in complete)
    }
    points = [tuple(trials[n].metrics[o] for o in objectives) for n in _front(space, trials)]
    assert set(points) == unbeaten
    assert len(points) == len(unbeaten)
    assert points == sorted(points)


@given(some_trials)
def test_of_equal_trials_the_first_is_on_the_front(
    make_space: MakeSpace, trials: list[Trial]
) -> None:
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    for number in _front(make_space(objectives=OBJECTIVES), trials):
        chosen = trials[number].metrics
        equals = [t for t in complete if all(t.metrics[o] == chosen[o] for o in OBJECTIVES)]
        assert number == equals[0].number


@pytest.mark.parametrize("state", [s for s in TrialState if s is not TrialState.COMPLETE])
def test_only_complete_trials_are_on_the_front(make_space: MakeSpace, state: TrialState) -> None:
    space = make_space(objectives=OBJECTIVES)
    good = _trial(0, {"wer": 0.0, "size_mb": 0.1, "throughput": 99.0}, state=state)
    poor = _trial(1, {"wer": 0.9, "size_mb": 9.0, "throughput": 1.0})
    assert _front(space, [good, poor]) == [1]
    assert _front(space, [good]) == []


def test_in_a_deterministic_study_macs_decide_instead_of_time(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "throughput"])
    light = _trial(0, {"wer": 0.1, "throughput": 10.0, "macs": 1e6})
    heavy = _trial(1, {"wer": 0.1, "throughput": 90.0, "macs": 2e6})
    assert _front(space, [light, heavy]) == [1]
    assert _front(space, [light, heavy], deterministic=True) == [0]


def test_in_a_deterministic_study_macs_decide_the_knee(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "latency_p95_ms"])
    rows = [(0.1, 1.0, 9e6), (0.12, 0.8, 2e6), (0.3, 0.2, 1.9e6), (0.9, 0.1, 1e6)]
    names = ("wer", "latency_p95_ms", "macs")
    trials = [_trial(i, dict(zip(names, row, strict=True))) for i, row in enumerate(rows)]
    assert _front(space, trials) == _front(space, trials, deterministic=True) == [0, 1, 2, 3]
    assert _knee(space, trials) == 2
    assert _knee(space, trials, deterministic=True) == 1


@given(some_trials, metric_rows)
def test_another_trial_never_makes_the_hypervolume_smaller(
    make_space: MakeSpace, trials: list[Trial], metrics: dict[str, float]
) -> None:
    space = make_space(objectives=OBJECTIVES)
    before = _hypervolume(space, trials)
    after = _hypervolume(space, [*trials, _trial(99, metrics)])
    assert 0.0 <= before <= after + 1e-12
    assert after <= 1.0


def test_the_hypervolume_is_the_share_of_the_box_below_the_teacher(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    reference = {MetricRef("wer"): 1.0, MetricRef("size_mb"): 1000.0}
    middle = _trial(0, {"wer": 0.5, "size_mb": 1000.0 * 10**-1.5})  # half way on either scale
    assert _hypervolume(space, [middle], reference) == pytest.approx(0.25)
    perfect = _trial(1, {"wer": 0.0, "size_mb": 1.0})
    assert _hypervolume(space, [middle, perfect], reference) == pytest.approx(1.0)
    outside = _trial(2, {"wer": 0.5, "size_mb": 1000.0})
    assert _hypervolume(space, [outside], reference) == 0.0
    assert _hypervolume(space, [], reference) == 0.0


def test_the_knee_is_the_bend_of_the_front(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    rows = [(0.10, 10.0), (0.12, 2.0), (0.30, 1.9), (0.90, 1.0)]
    trials = [_trial(i, {"wer": wer, "size_mb": mb}) for i, (wer, mb) in enumerate(rows)]
    assert _knee(space, trials) == 1


def test_a_front_of_two_points_has_no_bend(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    trials = [_trial(i, {"wer": 0.1 * i, "size_mb": 9.0 - i}) for i in range(3)]
    assert _knee(space, trials[:2]) is None
    assert _knee(space, []) is None
    assert _knee(space, trials) in range(3)


# conditions


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("size_mb<=15", [("size_mb", "<=", 15.0)]),
        (" size_mb <= 15 ", [("size_mb", "<=", 15.0)]),
        ("wer<8%", [("wer", "<", 0.08)]),
        ("wer < 8.5 %", [("wer", "<", 0.085)]),
        (
            "size_mb<=15 and latency_p95_ms<=50",
            [("size_mb", "<=", 15), ("latency_p95_ms", "<=", 50)],
        ),
        ("size_mb<=15, wer>0.1", [("size_mb", "<=", 15), ("wer", ">", 0.1)]),
        ("size_mb<=15 && throughput>=2e1", [("size_mb", "<=", 15), ("throughput", ">=", 20)]),
        ("latency_p95_ms@pi-5<1e-2", [("latency_p95_ms@pi-5", "<", 0.01)]),
        ("graph_p50_ms<3", [("graph_p50_ms", "<", 3.0)]),
    ],
)
def test_a_condition_is_read(text: str, terms: list[tuple[str, str, float]]) -> None:
    read = parse_where(text)
    assert [(limit.metric, limit.sign) for limit in read] == [(n, sign) for n, sign, _ in terms]
    assert [limit.value for limit in read] == pytest.approx([value for *_, value in terms])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size_mb", '--where: "size_mb" is not a condition; write for example "size_mb<=15 and'),
        ("size_mb=15", '--where: "size_mb=15" is not a condition'),
        ("size_mb<=15 and", '--where: "" is not a condition'),
        ("size_mb<=15 or wer<1", '--where: "size_mb<=15 or wer<1" is not a condition'),
        ("size_mb<=1.2.3", '--where: "1.2.3" is not a number'),
        ("size<=15", '"size" is not a metric; did you mean "size_mb"?'),
    ],
)
def test_what_is_no_condition_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(UsageFault) as caught:
        parse_where(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("size_mb<=2", True),
        ("size_mb<2", False),
        ("size_mb>=2", True),
        ("size_mb>2", False),
        ("wer<10%", True),
        ("size_mb<=2 and wer<1%", False),
        ("latency_p95_ms<1000", False),
    ],
)
def test_a_trial_meets_a_condition_or_not(text: str, met: bool) -> None:
    frame = pd.DataFrame({"size_mb": [2.0], "wer": [0.05]})
    assert fits(frame, parse_where(text)).tolist() == [met]


def test_a_trial_without_a_figure_meets_no_condition_on_it(make_space: MakeSpace) -> None:
    trials = [_trial(0, {"wer": 0.5, "size_mb": 2.0}), _trial(1, {"wer": 0.1})]
    frame = trial_frame(trials, STUDY, make_space())
    for text in ("size_mb<=2", "size_mb>=2"):
        assert fits(frame, parse_where(text)).tolist() == [True, False]


# the best


def test_the_best_is_the_best_of_those_that_fit(make_space: MakeSpace) -> None:
    rows = [(0.05, 20.0, 9.0), (0.10, 10.0, 30.0), (0.20, 5.0, 20.0), (0.10, 11.0, 30.0)]
    trials = [
        _trial(i, {"wer": wer, "size_mb": mb, "throughput": t})
        for i, (wer, mb, t) in enumerate(rows)
    ]
    unfinished = _trial(9, {"wer": 0.0, "size_mb": 0.1}, state=TrialState.INFEASIBLE)
    trials.append(unfinished)
    frame = trial_frame(trials, STUDY, make_space())
    assert best_trial(frame, "wer") == 0
    assert best_trial(frame, "wer", "size_mb<=15") == 1  # of two that are equal the first
    assert best_trial(frame, "size_mb") == 2
    assert best_trial(frame, "throughput", "wer<50%") == 1


def test_the_best_is_of_the_front_where_chance_may_have_set_it_apart(make_space: MakeSpace) -> None:
    sure = {"latency_p95_ms_low": 0.95, "latency_p95_ms_high": 1.05}
    trials = [
        _trial(0, {"wer": 0.100, "wer_low": 0.08, "wer_high": 0.12, "size_mb": 9.0}),
        _trial(1, {"wer": 0.101, "wer_low": 0.08, "wer_high": 0.12, "size_mb": 9.0}),
        _trial(2, {"wer": 0.300, "wer_low": 0.28, "wer_high": 0.32, "size_mb": 1.0}),
    ]
    trials = [
        t.evolve(metrics={**t.metrics, **sure, "latency_p95_ms": ms})
        for t, ms in zip(trials, (1.01, 1.0, 1.02), strict=True)
    ]
    frame = trial_frame(trials, STUDY, make_space())
    assert frame.loc[frame["on_front"], "number"].tolist() == [0, 2]
    assert frame["latency_p95_ms"].idxmin() == 1  # by a difference that is not told apart
    assert best_trial(frame, "latency_p95_ms") == 0
    assert best_trial(frame, "size_mb") == 2


@pytest.mark.parametrize("metric", ["word_f1", "word_precision", "word_recall"])
def test_the_best_of_a_share_of_right_words_is_the_highest(
    make_space: MakeSpace, metric: str
) -> None:
    trials = [_trial(0, {metric: 0.4}), _trial(1, {metric: 0.9}), _trial(2, {metric: 0.6})]
    assert best_trial(trial_frame(trials, STUDY, make_space()), metric) == 1


@pytest.mark.parametrize("metric", ["graph_p50_ms", "load_ms", "worse_share", "empty_share"])
def test_the_best_of_other_figures_is_the_lowest(make_space: MakeSpace, metric: str) -> None:
    trials = [_trial(0, {metric: 0.4}), _trial(1, {metric: 0.2}), _trial(2, {metric: 0.6})]
    assert best_trial(trial_frame(trials, STUDY, make_space()), metric) == 1


def test_where_none_fits_the_nearest_miss_is_told(make_space: MakeSpace) -> None:
    trials = [_trial(0, {"wer": 0.1, "size_mb": 9.0}), _trial(1, {"wer": 0.2, "size_mb": 4.125})]
    frame = trial_frame(trials, STUDY, make_space())
    with pytest.raises(UsageFault) as caught:
        best_trial(frame, "wer", "size_mb<=3 and wer<0.05")
    assert str(caught.value) == (
        "no complete trial meets size_mb<=3 and wer<0.05 (size_mb: best is 4.125; wer: best is 0.1)"
    )


def test_what_no_trial_was_measured_in_has_no_best(make_space: MakeSpace) -> None:
    frame = trial_frame([_trial(0, {"wer": 0.1, "size_mb": 9.0})], STUDY, make_space())
    with pytest.raises(UsageFault) as caught:
        best_trial(frame, "energy_mj")
    assert str(caught.value) == (
        "energy_mj was not measured in this study (measured: wer, size_mb)"
    )


def test_before_any_trial_is_complete_there_is_no_best(make_space: MakeSpace) -> None:
    running = _trial(0, {"wer": 0.1}, state=TrialState.RUNNING)
    frame = trial_frame([running], STUDY, make_space())
    with pytest.raises(UsageFault, match=r"^the study has no complete trial yet$"):
        best_trial(frame, "wer")
    with pytest.raises(UsageFault, match='"wre" is not a metric; did you mean "wer"'):
        best_trial(frame, "wre")
