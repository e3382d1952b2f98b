"""One training, many points: which formats of which trained networks are still to be tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from trials import trial_of

from search.policy import AS_MEASURED
from search.strategy.formats import other_format
from search.strategy.moves import Propose
from search.strategy.sampling import propose
from spaces.points import recipe_of
from spaces.space import Space
from storage.records import Trial, TrialState

FORMATS = ("fp32", "fp16", "int8_dynamic")
MakeSpace = Callable[..., Space]
SEARCH = {"formats": "all", "initial_trials": 0}
STUDENTS = {"separable_conv": {"channels": {"int": [16, 64]}}}


@pytest.fixture
def space(make_space: Callable[..., Space]) -> Space:
    return make_space(students=STUDENTS, search=SEARCH, quantize={"scheme": list(FORMATS)})


def tried(moves: Sequence[Propose], state: TrialState) -> list[Trial]:
    return [
        trial_of(
            n,
            move.values,
            recipe=recipe_of(move.values).content(),
            source=move.source,
            state=state,
            objective_values=(0.5, 1.0, 1.0) if state is TrialState.COMPLETE else None,
        )
        for n, move in enumerate(moves)
    ]


def searched(space: Space, n: int, state: TrialState = TrialState.COMPLETE) -> list[Propose]:
    moves: list[Propose] = []
    for number in range(n):
        move = propose(space, AS_MEASURED, 0, number, tried(moves, state))
        assert isinstance(move, Propose)
        moves.append(move)
    return moves


BOTH = {"scheme": ["fp32", "int8_static"]}


def test_only_what_matters_in_a_format_makes_another(make_space: MakeSpace) -> None:
    quantize = {**BOTH, "calibration": ["minmax", "entropy"]}
    space = make_space(students=STUDENTS, search=SEARCH, quantize=quantize)
    first, *others = searched(space, 3)
    assert [m.source for m in others] == ["format", "format"]
    told = {
        (str(m.values["quantize.scheme"]), m.values.get("quantize.calibration"))
        for m in (first, *others)
    }
    assert told == {("fp32", None), ("int8_static", "minmax"), ("int8_static", "entropy")}


def test_a_format_that_needs_another_training_is_no_format_of_this_one(
    make_space: MakeSpace,
) -> None:
    quantize = {**BOTH, "qat_epochs": [2, 3]}
    space = make_space(students=STUDENTS, search=SEARCH, quantize=quantize)
    student = {"family": "separable_conv", "separable_conv.channels": 16}
    rounded = {**student, "quantize.scheme": "int8_static", "quantize.qat_epochs": 3}
    floating = {**student, "quantize.scheme": "fp32"}
    for values, wanted in ((rounded, [rounded, floating]), (floating, [floating])):
        (trial,) = tried([Propose(values, "user")], TrialState.COMPLETE)
        seen, found = set(), []
        while (move := other_format(space, [trial], seen)) is not None:
            seen.add(recipe_of(move.values).digest())
            found.append(dict(move.values))
        assert len(found) == len(wanted)
        assert all(values in found for values in wanted)


def test_a_trained_network_is_tried_in_every_format_before_another_is_trained(
    space: Space,
) -> None:
    moves = searched(space, 6)
    assert [m.source for m in moves] == ["sampler", "format", "format"] * 2
    for first in (0, 3):
        network = [{**m.values, "quantize.scheme": ""} for m in moves[first : first + 3]]
        assert network[0] == network[1] == network[2]
        schemes = {str(m.values["quantize.scheme"]) for m in moves[first : first + 3]}
        assert schemes == set(FORMATS)


def test_a_student_that_was_never_trained_is_not_tried_in_other_formats(space: Space) -> None:
    assert {m.source for m in searched(space, 4, TrialState.SCREENED_OUT)} == {"sampler"}


def test_a_forbidden_format_is_not_tried(make_space: Callable[..., Space]) -> None:
    made = make_space(
        students=STUDENTS,
        search=SEARCH,
        quantize={"scheme": list(FORMATS)},
        forbid=[{"quantize.scheme": "fp16"}],
    )
    schemes = [m.values["quantize.scheme"] for m in searched(made, 6)]
    assert "fp16" not in schemes
    assert [m.source for m in searched(made, 4)] == ["sampler", "format"] * 2


def test_without_it_the_sampler_chooses_the_format(make_space: Callable[..., Space]) -> None:
    made = make_space(
        students=STUDENTS, search={"initial_trials": 0}, quantize={"scheme": list(FORMATS)}
    )
    assert {m.source for m in searched(made, 4)} == {"sampler"}
