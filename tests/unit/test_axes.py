"""An axis is read from YAML, counted, and walked from its first value to its last."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.axes import Axis, AxisError, Choice, FloatRange, IntRange, parse_axis


@pytest.mark.parametrize(
    ("raw", "axis"),
    [
        (128, Choice((128,))),
        ("fp32", Choice(("fp32",))),
        (True, Choice((True,))),
        (0.5, Choice((0.5,))),
        ([64, 96], Choice((64, 96))),
        ({"choice": ["gru", "lstm"]}, Choice(("gru", "lstm"))),
        ({"int": [64, 256]}, IntRange(64, 256)),
        ({"int": [64, 256], "step": 16}, IntRange(64, 256, step=16)),
        ({"int": [64, 256], "log": True}, IntRange(64, 256, log=True)),
        ({"int": [7, 7]}, IntRange(7, 7)),
        ({"float": [1, 4]}, FloatRange(1.0, 4.0)),
        ({"float": [0.5, 1.5], "step": 0.5}, FloatRange(0.5, 1.5, step=0.5)),
        ({"float": [0.001, 0.1], "log": True}, FloatRange(0.001, 0.1, log=True)),
        ({"int": [1, 4], "log": False}, IntRange(1, 4)),
    ],
)
def test_every_form_of_an_axis_is_read(raw: object, axis: Axis) -> None:
    assert parse_axis(raw) == axis
    assert parse_axis(axis) is axis


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "is empty: write a value, a list of values, or {int: [low, high]}"),
        ([], "a choice needs a list of at least one value"),
        ({"choice": 3}, "a choice needs a list of at least one value"),
        ([[1, 2]], "a choice holds plain values, not [1, 2]"),
        ([1, None], "a choice holds plain values, not None"),
        ([1, 2, 1], "the choice [1, 2, 1] names a value twice"),
        ([1.0, math.nan], "nan is not a finite number"),
        (math.inf, "inf is not a finite number"),
        ({}, "an axis has exactly one of choice:, int: or float:"),
        ({"int": [1, 2], "float": [1, 2]}, "an axis has exactly one of choice:, int: or float:"),
        (
            {"int": [1, 2], "stpe": 1},
            "unknown key 'stpe' beside int: (known: ['int', 'log', 'step'])",
        ),
        ({"choice": [1], "step": 1}, "unknown key 'step' beside choice: (known: ['choice'])"),
        ({"int": [1, 2.5]}, "int: needs two whole numbers, [low, high], not [1, 2.5]"),
        ({"int": [1, 2, 3]}, "int: needs two whole numbers, [low, high], not [1, 2, 3]"),
        ({"int": [False, True]}, "int: needs two whole numbers, [low, high], not [False, True]"),
        ({"float": "1..2"}, "float: needs two numbers, [low, high], not '1..2'"),
        ({"float": [0.0, math.inf]}, "inf is not a finite number"),
        ({"int": [5, 1]}, "low 5 is above high 1"),
        ({"int": [1, 5], "log": "yes"}, "log: is true or false, not 'yes'"),
        ({"float": [0, 1], "log": True}, "a logarithmic range starts above 0, not at 0"),
        ({"int": [1, 9], "log": True, "step": 2}, "log: and step: exclude each other"),
        ({"int": [1, 9], "step": 0}, "step: is a number above 0, not 0"),
        ({"int": [1, 9], "step": 0.5}, "step: is a number above 0, not 0.5"),
        ({"float": [1, 9], "step": True}, "step: is a number above 0, not True"),
        ({"float": [1, 9], "step": math.nan}, "step: is a number above 0, not nan"),
    ],
)
def test_what_is_no_axis_is_refused_with_the_reason(raw: object, reason: str) -> None:
    with pytest.raises(AxisError) as caught:
        parse_axis(raw)
    assert str(caught.value) == reason


choices = st.lists(st.integers(-9, 99), min_size=1, max_size=6, unique=True).map(
    lambda values: Choice(tuple(values))
)
int_ranges = st.builds(
    lambda low, width, step: IntRange(low, low + width, step=step),
    st.integers(-50, 300),
    st.integers(0, 60),
    st.integers(1, 20),
)
log_ranges = st.builds(
    lambda low, width: IntRange(low, low + width, log=True), st.integers(1, 99), st.integers(0, 60)
)
countable = st.one_of(choices, int_ranges, log_ranges)
shares = st.floats(0.0, 1.0)


@given(countable, shares)
def test_a_share_of_the_way_is_always_a_value_of_the_axis(axis: Axis, share: float) -> None:
    assert axis.holds(axis.at(share))
    assert axis.at(share) in axis.values_in_order()


@given(countable)
def test_the_way_leads_from_the_smallest_value_to_the_largest(axis: Axis) -> None:
    assert axis.at(0.0) == min(axis.values_in_order())
    assert axis.at(1.0) == max(axis.values_in_order())


@given(countable)
def test_the_size_is_the_number_of_different_values_held(axis: Axis) -> None:
    assert axis.size() == len(set(axis.values_in_order()))
    assert all(axis.holds(value) for value in axis.values_in_order())


@given(countable, shares, shares)
def test_the_way_never_turns_back(axis: Axis, one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert axis.at(near) <= axis.at(far)


def test_names_keep_the_order_of_the_file() -> None:
    axis = Choice(("fp32", "int4", "fp16"))
    assert [axis.at(share) for share in (0.0, 0.5, 1.0)] == ["fp32", "int4", "fp16"]


def test_half_way_on_a_logarithmic_scale_is_the_geometric_mean() -> None:
    assert FloatRange(0.001, 0.1, log=True).at(0.5) == pytest.approx(0.01)
    assert IntRange(16, 256, log=True).at(0.5) == 64
    assert FloatRange(1.0, 3.0).at(0.5) == pytest.approx(2.0)


def test_a_range_without_steps_cannot_be_counted_unless_it_is_a_point() -> None:
    assert FloatRange(0.0, 1.0).size() is None
    assert FloatRange(0.5, 0.5).size() == 1


def test_what_lies_outside_is_not_held() -> None:
    assert not IntRange(4, 10, step=2).holds(5)
    assert not IntRange(4, 10, step=2).holds(12)
    assert not IntRange(0, 1).holds(True)
    assert not IntRange(4, 10).holds(5.0)
    assert not FloatRange(0.0, 1.0).holds(1.5)
    assert not FloatRange(0.0, 1.0).holds("0.5")
    assert not Choice((1, 2)).holds(3)


@pytest.mark.parametrize(
    ("low", "high", "step", "values"),
    [
        (0.0, 1.0, 0.25, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.0, 0.3, 0.1, [0.0, 0.1, 0.2, 0.3]),
        (0.0, 0.7, 0.1, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (0.0, 0.9, 0.5, [0.0, 0.5]),
        (1.0, 2.0, 5.0, [1.0]),
    ],
)
def test_a_range_of_numbers_in_steps_holds_its_steps_and_nothing_else(
    low: float, high: float, step: float, values: list[float]
) -> None:
    axis = FloatRange(low, high, step=step)
    assert axis.size() == len(values)
    assert axis.values_in_order() == pytest.approx(values)
    assert {round(float(axis.at(i / 100)), 9) for i in range(101)} == set(values)
    assert all(axis.holds(value) for value in axis.values_in_order())
    assert not axis.holds(low + step / 3)
