"""Sound recipes of a wanted size: where a search begins, and the ends of a space."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping

from spaces.axes import Axis, Choice, Value
from spaces.families import FAMILIES
from spaces.points import Values, choose, is_active, refusal, refused_by_target
from spaces.recipe import PARTS
from spaces.space import Space


def is_capacity(axis_name: str) -> bool:
    """Whether an axis makes a student bigger or smaller, as its family declares."""
    family, _, name = axis_name.partition(".")
    return family in FAMILIES and name in FAMILIES[family].capacity


def sized_values(space: Space, family: str, quantile: float) -> Values:
    """The choice of a family at one point between its smallest and largest network."""

    def pick(name: str, axis: Axis) -> Value:
        if is_capacity(name):
            return axis.at(quantile)
        return _sound(name, axis)

    values = choose(space, family, pick)
    return values if refused_by_target(space, values) is None else _in_a_format(space, values)


def _in_a_format(space: Space, values: Values) -> Values:
    """The same student in the first number formats that every target takes; unchanged where there
    are none."""
    axes = space.axes_of(str(values["family"]))
    formats = {n: a.values_in_order() for n, a in axes.items() if n.startswith("quantize.")}
    for chosen in itertools.product(*formats.values()):
        every = {**values, **dict(zip(formats, chosen, strict=True))}
        other = {name: value for name, value in every.items() if is_active(name, every)}
        if refused_by_target(space, other) is None:
            return other
    return values


_FORMATS = ("quantize.scheme", *(f"quantize.{part}" for part in PARTS))
_BITS = {"int4": 4, "int8": 8, "int8_static": 8, "int8_dynamic": 8, "fp16": 16, "fp32": 32}
_NEIGHBOURS = 400  # allowed recipes looked at when the very end of a family is forbidden


def extreme_values(space: Space, family: str, smallest: bool) -> Values:
    """The allowed choice that ships fewest (or most) bytes, as far as its axes tell."""

    def pick(name: str, axis: Axis) -> Value:
        if name in _FORMATS and isinstance(axis, Choice):
            order = sorted(axis.values, key=lambda v: _BITS[str(v)])
            return order[0 if smallest else -1]
        if name == "prune.ratio":
            return axis.at(1.0 if smallest else 0.0)
        if is_capacity(name):
            return axis.at(0.0 if smallest else 1.0)
        return _sound(name, axis)

    end = choose(space, family, pick)
    if refusal(space, end) is None:
        return end
    rng = random.Random(0)
    others = [choose(space, family, lambda _, a: a.at(rng.random())) for _ in range(_NEIGHBOURS)]
    allowed = [values for values in others if refusal(space, values) is None]
    best = min if smallest else max
    return best(allowed, key=byte_weight) if allowed else end


def byte_weight(values: Mapping[str, Value]) -> float:
    """Grows with the bytes of a student: enough to order recipes, no estimate of anything."""
    weight = math.log1p(-float(values.get("prune.ratio", 0)))
    for name, value in values.items():
        if is_capacity(name) and isinstance(value, int | float):
            weight += math.log(value)
        elif name in _FORMATS:
            weight += math.log(_BITS[str(value)])
    return weight


# What small CTC students were seen to do well with; taken where the axis allows it.
_SOUND: dict[str, Value] = {
    "distil.weight": 0.67,
    "distil.temperature": 1.0,
    "distil.hidden_weight": 0.0,
    "prune.ratio": 0.0,
    "training.augment": 1.0,
    "training.start": "teacher",
    "training.learning_rate": 4e-3,
    "quantize.scheme": "int8_dynamic",
    "quantize.frontend": "fp32",
    "quantize.encoder": "int8_dynamic",
    "quantize.head": "fp32",
}


def _sound(name: str, axis: Axis) -> Value:
    wanted = _SOUND.get(name)
    if wanted is not None and axis.holds(wanted):
        return wanted
    if name.startswith("quantize.") and isinstance(axis, Choice):
        return axis.values[0]
    if wanted is not None and isinstance(axis, Choice) and isinstance(wanted, float):
        return min(axis.values, key=lambda v: abs(float(v) - wanted))
    return axis.at(1.0 if name == "training.epochs" else 0.5)
