"""The front holds what nothing beats; asking for the best among it is plain language."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import UsageFault
from search.analysis.front import best, front, hypervolume, knee, meets, parse_where
from spaces.metrics import metric_named
from spaces.space import Space
from storage.records import Trial, TrialState

MakeSpace = Callable[..., Space]
OBJECTIVES = ["wer", "size_mb", "throughput"]
REFERENCE = {"wer": 1.0, "size_mb": 50.0, "throughput": 10.0}


def _trial(number: int, metrics: Mapping[str, float], **changes: Any) -> Trial:
    columns: dict[str, Any] = {
        "id": number + 1,
        "study_id": 1,
        "number": number,
        "values": {},
        "recipe": {},
        "recipe_digest": f"{number:064x}",
        "source": "sampler",
        "state": TrialState.COMPLETE,
        "created_at": 0.0,
        "metrics": metrics,
    }
    return Trial(**{**columns, **changes})


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
    found = front(space, trials)
    points = [tuple(t.metrics[o] for o in objectives) for t in found]
    assert set(points) == unbeaten
    assert len(points) == len(unbeaten)
    assert points == sorted(points)


@given(some_trials)
def test_of_equal_trials_the_first_is_on_the_front(
    make_space: MakeSpace, trials: list[Trial]
) -> None:
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    for chosen in front(make_space(objectives=OBJECTIVES), trials):
        equals = [t for t in complete if all(t.metrics[o] == chosen.metrics[o] for o in OBJECTIVES)]
        assert chosen == equals[0]


@pytest.mark.parametrize("state", [s for s in TrialState if s is not TrialState.COMPLETE])
def test_only_complete_trials_are_on_the_front(make_space: MakeSpace, state: TrialState) -> None:
    space = make_space(objectives=OBJECTIVES)
    good = _trial(0, {"wer": 0.0, "size_mb": 0.1, "throughput": 99.0}, state=state)
    poor = _trial(1, {"wer": 0.9, "size_mb": 9.0, "throughput": 1.0})
    assert front(space, [good, poor]) == [poor]
    assert front(space, [good]) == []


def test_in_a_deterministic_study_macs_decide_instead_of_time(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "throughput"])
    light = _trial(0, {"wer": 0.1, "throughput": 10.0, "macs": 1e6})
    heavy = _trial(1, {"wer": 0.1, "throughput": 90.0, "macs": 2e6})
    assert front(space, [light, heavy]) == [heavy]
    assert front(space, [light, heavy], deterministic=True) == [light]


@given(some_trials, metric_rows)
def test_another_trial_never_makes_the_hypervolume_smaller(
    make_space: MakeSpace, trials: list[Trial], metrics: dict[str, float]
) -> None:
    space = make_space(objectives=OBJECTIVES)
    before = hypervolume(space, trials, REFERENCE)
    after = hypervolume(space, [*trials, _trial(99, metrics)], REFERENCE)
    assert 0.0 <= before <= after + 1e-12
    assert after <= 1.0


def test_the_hypervolume_is_the_share_of_the_box_below_the_teacher(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    reference = {"wer": 1.0, "size_mb": 1000.0}
    middle = _trial(0, {"wer": 0.5, "size_mb": 1000.0 * 10**-1.5})  # half way on either scale
    assert hypervolume(space, [middle], reference) == pytest.approx(0.25)
    perfect = _trial(1, {"wer": 0.0, "size_mb": 1.0})
    assert hypervolume(space, [middle, perfect], reference) == pytest.approx(1.0)
    outside = _trial(2, {"wer": 0.5, "size_mb": 1000.0})
    assert hypervolume(space, [outside], reference) == 0.0
    assert hypervolume(space, [], reference) == 0.0


def test_the_knee_is_the_bend_of_the_front(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    rows = [(0.10, 10.0), (0.12, 2.0), (0.30, 1.9), (0.90, 1.0)]
    trials = [_trial(i, {"wer": wer, "size_mb": mb}) for i, (wer, mb) in enumerate(rows)]
    assert knee(space, front(space, trials)) == trials[1]


def test_a_front_of_two_points_has_no_bend(make_space: MakeSpace) -> None:
    space = make_space(objectives=["wer", "size_mb"])
    trials = [_trial(i, {"wer": 0.1 * i, "size_mb": 9.0 - i}) for i in range(3)]
    assert knee(space, trials[:2]) is None
    assert knee(space, []) is None
    assert knee(space, trials) in trials


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
    assert [(name, sign) for name, sign, _ in read] == [(name, sign) for name, sign, _ in terms]
    assert [limit for *_, limit in read] == pytest.approx([limit for *_, limit in terms])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size_mb", '--where: "size_mb" is no condition; write for example "size_mb<=15 and'),
        ("size_mb=15", '--where: "size_mb=15" is no condition'),
        ("size_mb<=15 and", '--where: "" is no condition'),
        ("size_mb<=15 or wer<1", '--where: "size_mb<=15 or wer<1" is no condition'),
        ("size_mb<=1.2.3", '--where: "1.2.3" is no number'),
        ("size<=15", '"size" is no metric; did you mean "size_mb"?'),
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
    assert meets(_trial(0, {"size_mb": 2.0, "wer": 0.05}), parse_where(text)) is met


# the best


def test_the_best_is_the_best_of_those_that_fit() -> None:
    rows = [(0.05, 20.0, 9.0), (0.10, 10.0, 30.0), (0.20, 5.0, 20.0), (0.10, 11.0, 30.0)]
    trials = [
        _trial(i, {"wer": wer, "size_mb": mb, "throughput": t})
        for i, (wer, mb, t) in enumerate(rows)
    ]
    unfinished = _trial(9, {"wer": 0.0, "size_mb": 0.1}, state=TrialState.INFEASIBLE)
    trials.append(unfinished)
    assert best(trials, "wer") == trials[0]
    assert best(trials, "wer", "size_mb<=15") == trials[1]  # of two that are equal the first
    assert best(trials, "size_mb") == trials[2]
    assert best(trials, "throughput", "wer<50%") == trials[1]


@pytest.mark.parametrize("metric", ["word_f1", "word_precision", "word_recall"])
def test_the_best_of_a_share_of_right_words_is_the_highest(metric: str) -> None:
    trials = [_trial(0, {metric: 0.4}), _trial(1, {metric: 0.9}), _trial(2, {metric: 0.6})]
    assert best(trials, metric) == trials[1]


@pytest.mark.parametrize("metric", ["graph_p50_ms", "load_ms", "worse_share", "empty_share"])
def test_the_best_of_other_figures_is_the_lowest(metric: str) -> None:
    trials = [_trial(0, {metric: 0.4}), _trial(1, {metric: 0.2}), _trial(2, {metric: 0.6})]
    assert best(trials, metric) == trials[1]


def test_where_none_fits_the_nearest_miss_is_told() -> None:
    trials = [_trial(0, {"wer": 0.1, "size_mb": 9.0}), _trial(1, {"wer": 0.2, "size_mb": 4.125})]
    with pytest.raises(UsageFault) as caught:
        best(trials, "wer", "size_mb<=3 and wer<0.05")
    assert str(caught.value) == (
        "no complete trial meets size_mb<=3 and wer<0.05 (size_mb: best is 4.125; wer: best is 0.1)"
    )


def test_before_any_trial_is_complete_there_is_no_best() -> None:
    running = _trial(0, {"wer": 0.1}, state=TrialState.RUNNING)
    with pytest.raises(UsageFault, match=r"^the study has no complete trial yet$"):
        best([running], "wer")
    with pytest.raises(UsageFault, match='"wre" is no metric; did you mean "wer"'):
        best([running], "wre")
