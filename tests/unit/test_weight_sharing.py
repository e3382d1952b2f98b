"""Which students begin as slices of a supernet, how it is made, and how they are trained."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from search.strategy.weight_sharing import decide, supernet_of, training_of_slice
from spaces.families import Recurrent, SeparableConv
from spaces.identity import space_digest
from spaces.load import load_space
from spaces.points import random_values, recipe_of
from spaces.recipe import Training
from spaces.space import Space

Make = Callable[..., Space]
FAMILIES = {
    "separable_conv": {
        "channels": {"int": [16, 64], "step": 16},
        "expand": [2, 1],
        "kernel": {"int": [5, 63], "step": 2},
        "dropout": [0.0, 0.1, 0.2],
    },
    "recurrent": {"cell": ["gru", "lstm"], "layers": [1, 2], "bidirectional": [True, False]},
}


def shared(make_space: Make, mode: str = "on", **search: object) -> Space:
    return make_space(students=FAMILIES, search={"weight_sharing": mode, **search})


# the supernet


def test_a_supernet_is_the_largest_student_and_has_every_choice_from_small_to_large(
    make_space: Make,
) -> None:
    space = shared(make_space)
    plan = supernet_of(space, "separable_conv")
    assert plan.largest == SeparableConv(channels=64, expand=2, kernel=63, dropout=0.1)
    assert plan.choices["channels"] == (16, 32, 48, 64)
    assert plan.choices["expand"] == (1.0, 2.0)
    kernels = plan.choices["kernel"]
    assert (kernels[0], kernels[-1]) == (5, 63)
    assert len(kernels) == 16
    assert all(int(kernel) % 2 for kernel in kernels)
    assert "dropout" not in plan.choices
    other = supernet_of(space, "recurrent")
    assert other.largest == Recurrent(cell="lstm", layers=2, bidirectional=True)
    assert other.choices == {
        "cell": ("gru", "lstm"),
        "layers": (1, 2),
        "bidirectional": (False, True),
    }


def test_every_student_of_a_space_lies_within_its_supernet() -> None:
    space = load_space("edge.yaml")
    rng = random.Random(0)
    plans = {family: supernet_of(space, family) for family in space.students}
    for _ in range(200):
        values = random_values(space, rng)
        assert values is not None
        student = recipe_of(values).student
        largest = plans[student.family].largest
        for name in type(student).capacity:
            assert getattr(student, name) <= getattr(largest, name)


def test_a_supernet_is_trained_longer_than_a_student_with_middling_augmentation(
    make_space: Make,
) -> None:
    training = {
        "epochs": 30,
        "learning_rate": [0.001, 0.004, 0.01],
        "augment": [0.5, 1.0],
        "consistency": [0.0, 0.2],
    }
    plan = supernet_of(make_space(training=training, search={}), "separable_conv")
    assert plan.training.epochs == 50
    assert plan.training.learning_rate == 0.004
    assert plan.training.augment == 0.75
    assert plan.training.consistency == 0.0


def test_a_student_from_a_slice_is_trained_shorter_and_more_gently(make_space: Make) -> None:
    space = shared(make_space, slice_epochs=0.25)
    recipe = Training(epochs=40, learning_rate=0.004, augment=0.5)
    assert training_of_slice(space, recipe) == Training(epochs=10, learning_rate=0.002, augment=0.5)
    assert training_of_slice(space, Training(epochs=1)).epochs == 1


# whether


def test_weights_are_shared_where_enough_trainings_are_to_come(make_space: Make) -> None:
    space = shared(make_space, "auto")
    few, many = decide(space, 16), decide(space, 18)
    assert (few.is_shared, many.is_shared) == (False, True)
    assert few.reason.startswith("a supernet costs about 7 trainings and saves 80% of each")
    assert "of the 16 trials about 8 of each family are trainings: it does not pay" in few.reason
    assert many.reason.endswith("about 9 of each family are trainings: it pays")


def test_trials_that_differ_in_their_number_format_alone_are_one_training(
    make_space: Make,
) -> None:
    space = make_space(
        students=FAMILIES,
        quantize={"scheme": ["fp32", "fp16", "int4"]},
        search={"weight_sharing": "auto", "formats": "all"},
    )
    assert not decide(space, 53).is_shared
    assert decide(space, 54).is_shared


@pytest.mark.parametrize("share", [0.97, 1.0])
def test_a_slice_that_is_trained_as_long_never_pays(make_space: Make, share: float) -> None:
    assert not decide(shared(make_space, "auto", slice_epochs=share), 1_000_000).is_shared


@pytest.mark.parametrize(("mode", "is_shared"), [("on", True), ("off", False)])
def test_what_the_space_says_is_done(make_space: Make, mode: str, is_shared: bool) -> None:
    assert [decide(shared(make_space, mode), n).is_shared for n in (1, 10_000)] == [is_shared] * 2


def test_a_space_that_shares_no_weights_is_the_study_it_was(make_space: Make) -> None:
    plain = make_space(search={})
    before = "58036a0c9def82e45899f0b9808ced558416dffe8b00fb8b0ee148feb108dec2"
    assert space_digest(plain) == before  # of versions that did not know them
    assert space_digest(make_space(search={"slice_epochs": 0.5})) == space_digest(plain)
    digests = [
        space_digest(make_space(search={"weight_sharing": "on", "slice_epochs": share}))
        for share in (0.17, 0.5)
    ]
    assert len({space_digest(plain), *digests}) == 3
