"""Whether the students of a family begin as slices of one supernet, and what that is: pure
functions of the space and of how many trials are wanted.

A supernet trained for 5/3 of the epochs of a student cost about 7 trainings of one on AN4 and 6.1
and 6.5 on synthetic speech. From its slice, at half the rate, 17 % of the epochs came to the same
errors on AN4 (22.1 % WER on average against 23.5 %) and to fewer on the other, though not to fewer
than students that were trained as long as supernet and slice together: BENCHMARKS.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spaces.axes import Axis, Value
from spaces.families import FAMILIES, Dims
from spaces.points import recipe_of
from spaces.recipe import Distil, Training
from spaces.sizes import is_capacity, sized_values
from spaces.space import Space

# A supernet gained 6 points of WER between 18 and 30 epochs, where students had 18.
_EPOCHS_FACTOR = 5 / 3
SUPERNET_TRAININGS = 7.0  # what it costs, in trainings of a student
_OVERHEAD = 0.03  # of a training: curves are scored as often in fewer epochs
_RATE_FACTOR = 0.5
_MOST_CHOICES = 16  # of one dimension; what lies between is within the next larger


@dataclass(frozen=True)
class SupernetPlan:
    """A supernet that holds every student of a family, and how it is trained."""

    largest: Dims
    choices: Mapping[str, tuple[Value, ...]]
    training: Training
    distil: Distil


@dataclass(frozen=True)
class Decision:
    """Whether a family's students begin as slices, with the reason in words."""

    is_shared: bool
    reason: str


def supernet_of(space: Space, family: str) -> SupernetPlan:
    """The supernet of a family: the largest of every dimension, trained as a middling student is,
    but longer. Combinations that `forbid:` rules out are among its slices all the same."""
    axes = space.students[family]
    choices = {n: values for n, a in axes.items() if len(values := _choices(family, n, a)) > 1}
    middle = recipe_of(sized_values(space, family, 0.5))
    changes = {name: values[-1] for name, values in choices.items()}
    changes |= {name: a.at(1.0) for name, a in axes.items() if is_capacity(f"{family}.{name}")}
    augment = space.training.augment
    training = middle.training.model_copy(
        update={
            "epochs": math.ceil(middle.training.epochs * _EPOCHS_FACTOR),
            "augment": (float(augment.at(0.0)) + float(augment.at(1.0))) / 2,
            "consistency": 0.0,  # the slices agree with the largest instead
        }
    )
    return SupernetPlan(
        largest=FAMILIES[family].model_validate({**middle.student.model_dump(), **changes}),
        choices=choices,
        training=training,
        distil=middle.distil.model_copy(update={"hidden_weight": 0.0}),
    )


def _choices(family: str, name: str, axis: Axis) -> tuple[Value, ...]:
    """What students have of a dimension, from small to large. A number that makes no student
    bigger (dropout) decides nothing of their weights: the middle stands for all."""
    last = axis.at(1.0)
    if not is_capacity(f"{family}.{name}") and not isinstance(last, bool | str):
        return ()
    n = min(axis.size() or _MOST_CHOICES, _MOST_CHOICES)
    some = (axis.at(i / max(1, n - 1)) for i in range(n))
    # as the family holds them: 2 and 2.0 are one supernet
    return tuple(dict.fromkeys(_as_held(family, name, value) for value in some))


def _as_held(family: str, name: str, value: Value) -> Value:
    held: Value = getattr(FAMILIES[family].model_validate({name: value}), name)
    return held


def training_of_slice(space: Space, training: Training) -> Training:
    """How a student that begins as a slice is trained: shorter and more gently."""
    epochs = max(1, round(training.epochs * space.search.slice_epochs))
    rate = training.learning_rate * _RATE_FACTOR
    return training.model_copy(update={"epochs": epochs, "learning_rate": rate})


def decide(space: Space, n_trials: int) -> Decision:
    """Whether a supernet of each family is worth its price.

    Costs are counted in trainings of a student: no time decides, so that a search that is repeated
    decides the same.

    Args:
        n_trials: wanted of the study.
    """
    mode = space.search.weight_sharing
    if mode != "auto" or not space.trained_families:
        return Decision(mode == "on", f"{mode}, as the space says")
    if space.task != "offline":
        return Decision(False, "a supernet hears whole utterances, and students live speech")
    if any(axis.size() != 1 for axis in space.front_end.varied().values()):
        return Decision(False, "students that hear differently are no slices of one network")
    saved = 1 - space.search.slice_epochs - _OVERHEAD
    n_trainings = n_trials / len(space.trained_families) / _formats(space)
    pays_from = math.inf if saved <= 0 else math.ceil(SUPERNET_TRAININGS / saved)
    is_shared = n_trainings >= pays_from
    verb = "pays" if is_shared else "does not pay"
    return Decision(
        is_shared,
        f"a supernet costs about {SUPERNET_TRAININGS:g} trainings and saves {max(0.0, saved):.0%} "
        f"of each, so that it pays from {pays_from:g} trainings of a family on; of the "
        f"{n_trials} trials about {n_trainings:.0f} of each family are trainings: it {verb}",
    )


def _formats(space: Space) -> int:
    """How many trials share one training."""
    if space.search.formats != "all":
        return 1
    axes = space.axes_of(next(iter(space.students)))
    formats = (n for n in axes if n.startswith("quantize.") and n != "quantize.qat_epochs")
    return math.prod(axes[name].size() or 1 for name in formats)
