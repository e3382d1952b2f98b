"""From axis values to recipes: conditions, rules, counting, first guesses."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.strategy.initial_design import initial_design
from spaces.counting import Count, count
from spaces.errors import SpaceError
from spaces.load import load_space, shipped_spaces
from spaces.points import (
    choose,
    enumerate_values,
    is_active,
    random_values,
    recipe_of,
    refusal,
)
from spaces.recipe import PARTS, Recipe
from spaces.sizes import byte_weight, extreme_values, is_capacity, sized_values
from spaces.space import Space

MakeSpace = Callable[..., Space]
TWO_FAMILIES = {
    "separable_conv": {"channels": [16, 24], "blocks": [1, 2]},
    "recurrent": {"hidden": [16, 32], "cell": ["gru", "lstm"]},
}


# conditions


def test_what_later_versions_added_is_an_axis_where_it_is_asked_for(make_space: MakeSpace) -> None:
    plain = make_space(distil={"weight": 0.5}, prune={"ratio": 0.3})
    asked = make_space(
        distil={"weight": 0.5, "frames": "symmetric"},
        prune={"ratio": 0.3, "scope": ["module", "global"]},
        quantize={"scheme": "int4", "qat_epochs": [0, 4]},
        training={"start": ["nothing", "teacher"]},
    )
    more = {"distil.frames", "prune.scope", "quantize.qat_epochs", "training.start"}
    before, after = (set(space.axes_of("separable_conv")) for space in (plain, asked))
    assert after - before == more


def test_a_student_of_another_family_has_no_choice_of_its_start(make_space: MakeSpace) -> None:
    space = make_space(students=TWO_FAMILIES, training={"start": ["nothing", "teacher"]})
    assert "training.start" in space.axes_of("separable_conv")  # that of the teacher
    assert "training.start" not in space.axes_of("recurrent")


@pytest.mark.parametrize(
    "asked", [{"calibration": "entropy"}, {"keep": 2}, {"equalise": True}], ids=str
)
def test_other_runtimes_are_not_asked_for_what_our_quantizer_does(
    make_space: MakeSpace, asked: dict[str, object]
) -> None:
    with pytest.raises(SpaceError, match=r"ov: openvino quantizes by itself, without quantize\."):
        make_space(
            quantize={"scheme": "int8_static", **asked}, targets={"ov": {"backend": "openvino"}}
        )


@pytest.mark.parametrize(
    "asked",
    [
        {"calibration": ["minmax", "percentile"]},
        {"keep": {"int": [0, 3]}},
        {"qat_epochs": [0, 4]},
        {"equalise": True},
    ],
    ids=str,
)
def test_every_axis_of_quantization_has_ends_and_sizes(
    make_space: MakeSpace, asked: dict[str, object]
) -> None:
    space = make_space(quantize={"scheme": ["fp32", "int8_static"], **asked})
    ends = [extreme_values(space, "separable_conv", smallest) for smallest in (True, False)]
    assert [values["quantize.scheme"] for values in ends] == ["int8_static", "fp32"]
    assert byte_weight(ends[0]) < byte_weight(ends[1])
    for quantile in (0.0, 0.5, 1.0):
        recipe_of(sized_values(space, "separable_conv", quantile))


def test_rounded_weights_are_neither_kept_nor_equalised(make_space: MakeSpace) -> None:
    asked = {"keep": [1, 2], "equalise": [True, False], "qat_epochs": [0, 4]}
    space = make_space(quantize={"scheme": "int8_static", **asked})
    last = choose(space, "separable_conv", lambda _, axis: axis.at(1.0))
    first = choose(space, "separable_conv", lambda _, axis: axis.at(0.0))
    assert last["quantize.qat_epochs"] == 4
    assert {"quantize.keep", "quantize.equalise"} & set(last) == set()
    assert {"quantize.keep", "quantize.equalise"} <= set(first)


def test_key_frames_are_not_asked_of_runtimes_that_cannot_gather_them(
    make_space: MakeSpace,
) -> None:
    students = {"conformer": {"attended": [0.3, 1.0]}}
    space = make_space(students=students, targets={"phone": {"backend": "litert"}})
    values = choose(space, "conformer", lambda _, axis: axis.at(0.0))
    assert refusal(space, values) == "phone: litert cannot gather frames; attended is 1 there"
    assert refusal(space, {**values, "conformer.attended": 1.0}) is None


def test_an_axis_without_effect_is_not_chosen(make_space: MakeSpace) -> None:
    space = make_space(
        distil={"weight": [0.0, 0.5], "temperature": [1.0, 2.0], "hidden_weight": [0.0, 1.0]},
        prune={"ratio": [0.0, 0.5], "epochs": [5, 10]},
    )
    plain = choose(space, "separable_conv", lambda _, axis: axis.at(0.0))
    full = choose(space, "separable_conv", lambda _, axis: axis.at(1.0))
    missing = {"distil.temperature", "distil.hidden_weight", "prune.epochs"}
    assert set(full) - set(plain) == missing
    assert set(full) == {"family", *space.axes_of("separable_conv")}


@pytest.mark.parametrize(
    ("axis", "values", "active"),
    [
        ("distil.temperature", {"distil.weight": 0.0}, False),
        ("distil.temperature", {"distil.weight": 0.1}, True),
        ("distil.hidden_weight", {"distil.weight": 0}, False),
        ("prune.epochs", {"prune.ratio": 0.0}, False),
        ("prune.epochs", {"prune.ratio": 0.3}, True),
        ("prune.rounds", {"prune.ratio": 0.0}, False),
        ("prune.scope", {"prune.ratio": 0.3}, True),
        ("distil.frames", {"distil.weight": 0.0}, False),
        ("distil.hidden_layers", {"distil.weight": 0.5, "distil.hidden_weight": 0.0}, False),
        ("distil.hidden_layers", {"distil.weight": 0.5, "distil.hidden_weight": 1.0}, True),
        ("quantize.qat_epochs", {"quantize.scheme": "fp16"}, False),
        ("quantize.qat_epochs", {"quantize.scheme": "fp16", "quantize.encoder": "int4"}, True),
        ("quantize.calibration", {"quantize.scheme": "int4"}, False),
        ("quantize.calibration", {"quantize.scheme": "int8"}, True),
        ("quantize.equalise", {"quantize.scheme": "int8_dynamic"}, True),
        ("separable_conv.channels", {}, True),
    ],
)
def test_an_axis_matters_or_not_by_what_was_chosen_before(
    axis: str, values: dict[str, Any], active: bool
) -> None:
    assert is_active(axis, values) is active


# recipes


def test_every_value_finds_its_place_in_the_recipe(make_space: MakeSpace) -> None:
    values = {
        "family": "separable_conv",
        "separable_conv.channels": 24,
        "training.epochs": 3,
        "distil.weight": 0.5,
        "distil.temperature": 2.0,
        "prune.ratio": 0.3,
        "prune.epochs": 2,
        "quantize.scheme": "fp16",
    }
    recipe = recipe_of(values)
    assert recipe.student.family == "separable_conv"
    assert recipe.student.channels == 24
    assert recipe.training.epochs == 3
    assert (recipe.distil.weight, recipe.distil.temperature) == (0.5, 2.0)
    assert (recipe.prune.ratio, recipe.prune.epochs) == (0.3, 2)
    assert {getattr(recipe.quantize, part) for part in PARTS} == {"fp16"}


def test_a_part_named_on_its_own_overrides_the_scheme(make_space: MakeSpace) -> None:
    space = make_space(quantize={"scheme": "int8_dynamic", "head": ["fp32"]})
    values = choose(space, "separable_conv", lambda _, axis: axis.at(0.0))
    quantize = recipe_of(values).quantize
    assert (quantize.frontend, quantize.encoder) == ("int8_dynamic", "int8_dynamic")
    assert quantize.head == "fp32"


def test_equal_recipes_have_equal_digests_however_they_were_written(make_space: MakeSpace) -> None:
    whole = {"family": "separable_conv", "separable_conv.expand": 2}
    real = {"separable_conv.expand": 2.0, "family": "separable_conv"}
    other = {"family": "separable_conv", "separable_conv.expand": 2.5}
    assert recipe_of(whole).digest() == recipe_of(real).digest()
    assert recipe_of(whole).digest() != recipe_of(other).digest()


# rules


@pytest.mark.parametrize(
    ("rule", "falls"),
    [
        ({"family": "recurrent"}, True),
        ({"family": "separable_conv"}, False),
        ({"recurrent.hidden": 32}, True),
        ({"hidden": 32}, True),
        ({"hidden": [16, 32]}, True),
        ({"hidden": [16]}, False),
        ({"hidden": ">=32"}, True),
        ({"hidden": "> 32"}, False),
        ({"hidden": "<33"}, True),
        ({"hidden": "<= 31"}, False),
        ({"hidden": "!=32"}, False),
        ({"cell": "!=gru"}, True),
        ({"hidden": 32, "cell": "lstm"}, True),
        ({"hidden": 32, "cell": "gru"}, False),
        ({"channels": 24}, False),
    ],
)
def test_a_rule_forbids_what_meets_all_its_conditions(
    make_space: MakeSpace, rule: dict[str, Any], falls: bool
) -> None:
    space = make_space(students=TWO_FAMILIES, forbid=[rule])
    values = {"family": "recurrent", "recurrent.hidden": 32, "recurrent.cell": "lstm"}
    assert refusal(space, values) == (f"forbidden: {rule}" if falls else None)


def test_a_rule_on_an_axis_without_effect_forbids_nothing(make_space: MakeSpace) -> None:
    space = make_space(
        distil={"weight": [0.0, 0.5], "temperature": [1.0, 2.0]},
        forbid=[{"distil.temperature": "<= 2"}],
    )
    left = list(enumerate_values(space))
    assert left
    assert {values["distil.weight"] for values in left} == {0.0}


def test_random_choices_never_break_a_rule(make_space: MakeSpace) -> None:
    rules = [{"family": "recurrent", "hidden": 16}, {"channels": 24, "blocks": "<2"}]
    space = make_space(students=TWO_FAMILIES, forbid=rules)
    rng = random.Random(0)
    drawn = [random_values(space, rng) for _ in range(300)]
    assert all(values is not None and refusal(space, values) is None for values in drawn)
    assert {recipe_of(v).digest() for v in drawn if v} == {
        recipe_of(v).digest() for v in enumerate_values(space)
    }


def test_rules_that_leave_nothing_are_refused_at_the_door(make_space: MakeSpace) -> None:
    with pytest.raises(SpaceError, match="forbid: forbids every recipe of the space"):
        make_space(forbid=[{"family": "separable_conv"}])


@pytest.mark.parametrize("condition", ["< int8", "<4"])
def test_a_rule_that_compares_a_name_with_a_number_is_refused_at_the_door(
    make_space: MakeSpace, condition: str
) -> None:
    key = "quantize.scheme" if condition == "<4" else "distil.weight"
    with pytest.raises(SpaceError, match=key):
        make_space(quantize={"scheme": ["fp32", "int4"]}, forbid=[{key: condition}])


# counting


def _by_hand(
    channels: list[int],
    weights: list[float],
    temperatures: list[float],
    ratios: list[float],
    epochs: list[int],
    formats: list[list[str]],
) -> set[str]:
    """Digests of every different recipe of these lists, without the code under test."""
    digests = set()
    for c, w, t, r, e, *parts in itertools.product(
        channels, weights, temperatures, ratios, epochs, *formats
    ):
        distil = {"weight": w, "temperature": t} if w > 0 else {"weight": w}
        prune = {"ratio": r, "epochs": e} if r > 0 else {"ratio": r}
        recipe = Recipe.model_validate(
            {
                "student": {"family": "separable_conv", "channels": c},
                "distil": distil,
                "prune": prune,
                "quantize": dict(zip(PARTS, parts, strict=True)),
            }
        )
        digests.add(recipe.digest())
    return digests


def _some(values: list[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


@given(
    channels=_some([16, 24, 32]),
    weights=_some([0.0, 0.5, 0.7]),
    temperatures=_some([1.0, 2.0]),
    ratios=_some([0.0, 0.3, 0.5]),
    epochs=_some([5, 10]),
    encoder=_some(["fp32", "fp16", "int4"]),
    head=_some(["fp32", "fp16"]),
)
def test_the_count_is_what_counting_by_hand_gives(
    make_space: MakeSpace,
    channels: list[int],
    weights: list[float],
    temperatures: list[float],
    ratios: list[float],
    epochs: list[int],
    encoder: list[str],
    head: list[str],
) -> None:
    space = make_space(
        students={"separable_conv": {"channels": channels}},
        distil={"weight": weights, "temperature": temperatures},
        prune={"ratio": ratios, "epochs": epochs},
        quantize={"scheme": encoder, "head": head},
    )
    by_hand = set()
    for scheme in encoder:  # one scheme for frontend and encoder, the head on its own
        formats = [[scheme], [scheme], head]
        by_hand |= _by_hand(channels, weights, temperatures, ratios, epochs, formats)
    counted = count(space)
    assert counted == Count(len(by_hand), counted.at_most, ())
    assert counted.at_most >= len(by_hand)
    assert {recipe_of(v).digest() for v in enumerate_values(space)} == by_hand


@given(forbidden=_some([16, 24, 32], most=2), pair=st.tuples(st.sampled_from([1, 2]), st.just(16)))
def test_forbidden_recipes_are_not_counted(
    make_space: MakeSpace, forbidden: list[int], pair: tuple[int, int]
) -> None:
    blocks, channels = pair
    space = make_space(
        students={"separable_conv": {"channels": [16, 24, 32, 40], "blocks": [1, 2, 3]}},
        forbid=[{"channels": forbidden}, {"blocks": f"<={blocks}", "channels": channels}],
    )
    allowed = [
        (c, b)
        for c in (16, 24, 32, 40)
        for b in (1, 2, 3)
        if c not in forbidden and not (b <= blocks and c == channels)
    ]
    assert count(space).recipes == len(allowed)


def test_a_scheme_that_every_part_overrides_is_not_counted(make_space: MakeSpace) -> None:
    parts = {part: ["fp32", "fp16"] for part in PARTS}
    space = make_space(quantize={"scheme": ["fp32", "int4"], **parts})
    by_hand = _by_hand([16, 24], [0.67], [1.0], [0.0], [10], [["fp32", "fp16"]] * 3)
    assert count(space).recipes == len(by_hand)


def test_steps_of_a_real_range_are_all_counted(make_space: MakeSpace) -> None:
    space = make_space(distil={"weight": {"float": [0.1, 0.4], "step": 0.1}})
    assert count(space).recipes == 2 * 4


def test_a_count_says_what_it_could_not_enumerate(make_space: MakeSpace) -> None:
    continuous = make_space(distil={"temperature": {"float": [1.0, 3.0]}})
    assert str(count(continuous)) == "2 recipes times a continuous choice of distil.temperature"
    vast = make_space(
        students={"separable_conv": {"channels": {"int": [8, 2007]}, "blocks": {"int": [1, 64]}}},
        distil={"weight": [0.1, 0.2]},
    )
    assert count(vast) == Count(None, 2000 * 64 * 2, ())
    assert str(count(vast)) == "up to 256,000 recipes"
    assert str(count(make_space())) == "2 recipes"


# first guesses


@pytest.mark.parametrize("name", shipped_spaces())
@pytest.mark.parametrize("n_trials", [0, 1, 6, 20])
def test_first_guesses_are_different_allowed_recipes_of_every_family(
    name: str, n_trials: int
) -> None:
    space = load_space(name)
    guesses = initial_design(space, n_trials)
    digests = [recipe_of(values).digest() for values in guesses]
    assert len(guesses) <= n_trials
    assert len(set(digests)) == len(digests)
    assert all(refusal(space, values) is None for values in guesses)
    if n_trials >= 6:
        assert {values["family"] for values in guesses} == set(space.students)


@pytest.mark.parametrize("name", shipped_spaces())
def test_first_guesses_go_from_the_smallest_network_to_the_largest(name: str) -> None:
    space = load_space(name)
    guesses = initial_design(space, 4 * len(space.students))
    for family in space.students:
        axes = space.axes_of(family)
        of_family = [values for values in guesses if values["family"] == family]
        for axis in filter(is_capacity, axes):
            along = [values[axis] for values in of_family]
            assert along == sorted(along)
            assert (along[0], along[-1]) == (axes[axis].at(0.0), axes[axis].at(1.0))


def test_first_guesses_never_repeat_a_recipe_where_sizes_coincide(make_space: MakeSpace) -> None:
    space = make_space(students={"separable_conv": {"channels": 16}, "recurrent": {"hidden": 16}})
    guesses = initial_design(space, 20)
    assert [values["family"] for values in guesses] == ["separable_conv", "recurrent"]


def test_first_guesses_leave_out_what_is_forbidden(make_space: MakeSpace) -> None:
    space = make_space(
        students={"separable_conv": {"channels": [16, 24, 32]}}, forbid=[{"channels": 16}]
    )
    assert [v["separable_conv.channels"] for v in initial_design(space, 3)] == [24, 32]


def test_first_guesses_take_sound_settings_where_the_axes_allow_them(make_space: MakeSpace) -> None:
    space = make_space(
        distil={"weight": [0.0, 0.5, 0.67], "temperature": {"float": [1.0, 3.0]}},
        training={"epochs": [10, 20], "learning_rate": {"float": [0.001, 0.01], "log": True}},
        prune={"ratio": [0.0, 0.5]},
        quantize={"scheme": ["fp32", "int8_dynamic", "int4"]},
    )
    for values in initial_design(space, 4):
        recipe = recipe_of(values)
        assert (recipe.distil.weight, recipe.distil.temperature) == (0.67, 1.0)
        assert (recipe.training.epochs, recipe.training.learning_rate) == (20, 4e-3)
        assert (recipe.prune.ratio, recipe.quantize.encoder) == (0.0, "int8_dynamic")


@pytest.mark.parametrize(
    "axis", [{"float": [0, 1], "step": 0.25}, {"float": [0, 0.9], "step": 0.5}]
)
def test_first_guesses_stay_on_the_steps_of_an_axis(
    make_space: MakeSpace, axis: dict[str, Any]
) -> None:
    space = make_space(distil={"weight": axis})
    allowed = {values["distil.weight"] for values in enumerate_values(space)}
    assert {values["distil.weight"] for values in initial_design(space, 6)} <= allowed


def test_the_extremes_enclose_every_size(make_space: MakeSpace) -> None:
    space = make_space(
        students={"conformer": {"channels": [16, 32], "heads": [1, 2], "blocks": [1, 2]}},
        prune={"ratio": [0.0, 0.5]},
        quantize={"scheme": ["fp32", "int8_static", "fp16"]},
    )
    small = recipe_of(extreme_values(space, "conformer", smallest=True))
    large = recipe_of(extreme_values(space, "conformer", smallest=False))
    assert (small.student.channels, small.student.heads, small.student.blocks) == (16, 1, 1)
    assert (large.student.channels, large.student.heads, large.student.blocks) == (32, 2, 2)
    assert (small.prune.ratio, small.quantize.encoder) == (0.5, "int8_static")
    assert (large.prune.ratio, large.quantize.encoder) == (0.0, "fp32")
    middle = sized_values(space, "conformer", 0.0)
    assert middle["conformer.channels"] == 16
