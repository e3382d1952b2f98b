"""Budgets are read, compared with what was measured, and told in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.objectives import metrics_of, objective_values, violation_message, violations
from search.policy import AS_MEASURED, DETERMINISTIC
from spaces.errors import SpaceError
from spaces.metrics import MetricRef
from spaces.space import Budget, Space, parse_budget
from workers.results import Reading

MakeSpace = Callable[..., Space]


def _budget(metric: str, limit: float, relative_to_teacher: bool = False) -> Budget:
    return Budget(MetricRef.parse(metric), limit, relative_to_teacher)


# reading


@pytest.mark.parametrize(
    ("metric", "raw", "budget"),
    [
        ("size_mb", "<= 15", _budget("size_mb", 15.0)),
        ("size_mb", "  <=15 ", _budget("size_mb", 15.0)),
        ("wer", "<= 1e-1", _budget("wer", 0.1)),
        ("wer", "<= teacher", _budget("wer", 0.0, True)),
        ("wer", "<= teacher + 0.012", _budget("wer", 0.012, True)),
        ("wer", "<=teacher+0.012", _budget("wer", 0.012, True)),
        ("wer", "<= teacher -0.01", _budget("wer", -0.01, True)),
        ("throughput", ">= 20", _budget("throughput", 20.0)),
        ("latency_p95_ms@pi5", "<= 50", _budget("latency_p95_ms@pi5", 50.0)),
    ],
)
def test_a_limit_is_read(metric: str, raw: str, budget: Budget) -> None:
    assert parse_budget(metric, raw) == replace(budget, written=raw)


@pytest.mark.parametrize(
    ("metric", "raw", "message"),
    [
        ("size_mb", 15, "15 is not a budget: "),
        ("size_mb", None, "None is not a budget: "),
        ("size_mb", "15", "'15' is not a budget: "),
        ("size_mb", "<=", "'<=' is not a budget: "),
        ("size_mb", "< 15", "'< 15' is not a budget: "),
        ("size_mb", "<= 15 MB", "'<= 15 MB' is not a budget: "),
        ("size_mb", "<= 1.2.3", "'<= 1.2.3' is not a budget: "),
        ("size_mb", ">= 15", "'>= 15' limits size_mb from the wrong side: "),
    ],
)
def test_what_is_no_limit_is_refused_with_an_example(
    metric: str, raw: object, message: str
) -> None:
    with pytest.raises(ValueError, match=r"is not a budget|wrong side") as caught:
        parse_budget(metric, raw)
    assert str(caught.value) == message + 'write "<= 15" or "<= teacher + 0.012"'


def test_a_metric_to_be_large_is_limited_from_below() -> None:
    with pytest.raises(ValueError, match='wrong side: write ">= 15" or ">= teacher'):
        parse_budget("throughput", "<= 20")


def test_a_limit_on_no_metric_is_refused() -> None:
    with pytest.raises(ValueError, match='"size" is not a metric; did you mean "size_mb"'):
        parse_budget("size", "<= 15")


def test_a_space_refuses_a_budget_on_a_target_it_has_not(make_space: MakeSpace) -> None:
    with pytest.raises(SpaceError, match="latency_p95_ms@pi5: no target pi5"):
        make_space(budgets={"latency_p95_ms@pi5": "<= 50"})


# comparing


@given(limit=st.floats(-1e6, 1e6), value=st.floats(-1e6, 1e6))
def test_a_budget_is_broken_exactly_beyond_its_limit(limit: float, value: float) -> None:
    below, above = _budget("size_mb", limit), _budget("throughput", limit)
    assert (below.excess(value, None) > 0) == (value > limit)
    assert (above.excess(value, None) > 0) == (value < limit)


def test_a_limit_beside_the_teacher_waits_for_the_teacher() -> None:
    budget = _budget("wer", 0.01, relative_to_teacher=True)
    assert budget.limit_given(None) is None
    assert budget.excess(0.5, None) is None
    assert budget.limit_given(0.05) == pytest.approx(0.06)
    assert budget.excess(0.07, 0.05) == pytest.approx(0.01)
    assert budget.excess(0.06, 0.05) == pytest.approx(0.0)


def test_a_budget_is_told_as_it_is_written(make_space: MakeSpace) -> None:
    space = make_space(
        budgets={"size_mb": "<= 15", "wer": "<= teacher + 0.012", "throughput": ">= 20"}
    )
    assert [str(b) for b in space.budgets] == [
        "size_mb <= 15",
        "wer <= teacher + 0.012",
        "throughput >= 20",
    ]
    assert [parse_budget(b.metric, str(b).partition(" ")[2]) for b in space.budgets] == list(
        space.budgets
    )
    assert space.needs_teacher_value() == ("wer",)


def test_figures_of_the_first_target_go_without_its_name(make_space: MakeSpace) -> None:
    space = make_space(targets={"pc": {}, "pi5": {"threads": 2}})
    figures = [
        Reading(metric="size_mb", value=2.0),
        Reading(metric="latency_p95_ms", target="pi5", value=90.0),
        Reading(metric="latency_p95_ms", target="pc", value=9.0),
    ]
    assert metrics_of(space, figures) == {
        "size_mb": 2.0,
        "latency_p95_ms@pi5": 90.0,
        "latency_p95_ms@pc": 9.0,
        "latency_p95_ms": 9.0,
    }


def test_objectives_are_told_in_their_order(make_space: MakeSpace) -> None:
    space = make_space(objectives=["latency_p95_ms", "wer", "throughput"])
    metrics = {"wer": 0.1, "latency_p95_ms": 7.0, "throughput": 50.0, "macs": 3e6}
    assert objective_values(space, metrics, AS_MEASURED) == (7.0, 0.1, 50.0)


def test_where_figures_that_vary_must_not_decide_macs_stand_in(make_space: MakeSpace) -> None:
    space = make_space(objectives=["latency_p95_ms", "wer", "throughput", "size_mb"])
    metrics = {"wer": 0.1, "macs": 3e6, "size_mb": 2.0}
    told = objective_values(space, metrics, DETERMINISTIC)
    assert told == (3e6, 0.1, -3e6, 2.0)  # throughput is to be large, MACs small
    latency, wer = MetricRef("latency_p95_ms", "pi5"), MetricRef("wer")
    assert DETERMINISTIC.proxy_metric(latency) == "macs"
    assert DETERMINISTIC.proxy_metric(wer) == wer
    assert AS_MEASURED.proxy_metric(latency) == latency


def test_only_budgets_on_what_is_known_are_compared(make_space: MakeSpace) -> None:
    space = make_space(
        budgets={"size_mb": "<= 5", "wer": "<= teacher + 0.01", "cer": "<= 0.2", "params": "<= 9"}
    )
    metrics = {"size_mb": 6.5, "wer": 0.2, "params": 4.0}
    assert violations(space.budgets, metrics, teacher={}) == {
        "size_mb <= 5": 1.5,
        "params <= 9": -5.0,
    }
    with_teacher = violations(space.budgets, metrics, teacher={"wer": 0.3})
    assert with_teacher["wer <= teacher + 0.01"] == pytest.approx(-0.11)


def test_broken_budgets_are_told_with_what_was_measured(make_space: MakeSpace) -> None:
    space = make_space(budgets={"size_mb": "<= 5", "wer": "<= 0.1", "throughput": ">= 20"})
    metrics = {"size_mb": 6.51234, "wer": 0.05, "throughput": 12.0}
    excess = violations(space.budgets, metrics, {})
    assert violation_message(excess, metrics, space.budgets) == (
        "breaks size_mb <= 5 (is 6.512) and throughput >= 20 (is 12)"
    )
    met = {**metrics, "size_mb": 5.0, "throughput": 20.0}
    assert violation_message(violations(space.budgets, met, {}), met, space.budgets) is None
