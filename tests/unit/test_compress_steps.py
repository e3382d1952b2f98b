"""The steps of `search compress`, and which model is kept."""

from __future__ import annotations

import pytest

from search.compress.run import Loss, Outcome, Stage
from search.compress.steps import parse_steps
from search.errors import UsageFault
from spaces.recipe import Quantize
from workers.results import Reading


def stage(name: str, size_mb: float, loss: float | None, limit: float = 0.01) -> Stage:
    return Stage(
        name=name,
        model="m",
        tokens="t",
        network=None,
        quantize=Quantize(),
        readings=(Reading(metric="size_mb", value=size_mb),),
        errors=(),
        words=(),
        loss=None if loss is None else Loss(loss, loss - 0.01, loss + 0.01, limit),
    )


def test_steps_have_a_limit_each_or_one_for_all() -> None:
    one = parse_steps("prune:0.2,quantize,int4", "1.5")
    assert [step.loss_limit for step in one] == [0.015] * 3
    assert (one[0].ratio, one[0].scheme) == (0.2, None)
    assert [step.scheme for step in one[1:]] == ["int8", "int4"]
    each = parse_steps("fp16, prune", "0,2%")
    assert [step.loss_limit for step in each] == [0.0, 0.02]
    assert each[1].is_pruning and each[1].ratio == 0.3


def test_all_that_is_wrong_is_in_one_message() -> None:
    with pytest.raises(UsageFault) as refused:
        parse_steps("prune:2,half,int8:1", "-1,x")
    said = str(refused.value)
    for part in ('"prune:2"', '"half" is no step', '"int8:1"', "--loss-limit: -1", '"x" is not'):
        assert part in said


def test_the_smallest_that_held_is_kept_whatever_its_place() -> None:
    first, small, larger = (
        stage("as brought", 9, None),
        stage("int4", 1, 0.0),
        stage("fp16", 4, 0.0),
    )
    assert Outcome((first, small, larger)).kept is small
    broken = stage("prune", 0.5, 0.02)
    assert Outcome((first, larger, broken)).kept is larger
    assert Outcome((first, larger, broken)).broken is broken
    assert Outcome((first, broken)).kept is first


@pytest.mark.parametrize(
    ("value", "limit", "is_told"), [(0.0, 0.02, True), (0.015, 0.02, False), (0.05, 0.02, True)]
)
def test_what_this_audio_does_not_tell_is_said_so(
    value: float, limit: float, is_told: bool
) -> None:
    loss = Loss(value, value - 0.01, value + 0.01, limit)
    assert loss.is_told is is_told
    assert loss.is_broken is (value > limit)
