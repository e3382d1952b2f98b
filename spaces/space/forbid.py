"""`forbid:` rules: combinations of axis values that are never tried, read once with the space."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

from spaces.axes import Axis, Value

Number = float | str
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
Written = Value | list[Value]


@dataclass(frozen=True)
class Condition:
    """One axis of a rule: `sign` compares with `wanted`; without one it is one of `wanted`."""

    axis: str
    sign: str | None
    wanted: tuple[Value, ...]
    written: Written

    def holds(self, value: Value | None) -> bool:
        """Whether a chosen value falls under it; an axis that was not chosen does not."""
        if value is None:
            return False
        if self.sign is None:
            return value in self.wanted
        if self.sign == "!=":
            return value != self.wanted[0]
        return _SIGNS[self.sign](float(value), float(self.wanted[0]))

    def fault(self, axis: Axis) -> str | None:
        """What is wrong with it on this axis, or None."""
        if self.sign in (None, "!="):
            return None
        if not isinstance(self.wanted[0], float):
            return f"{self.written!r} does not compare with a number"
        if any(isinstance(v, str) for v in axis.values_in_order()):
            return f"{self.written!r} compares a name with a number"
        return None


@dataclass(frozen=True)
class Rule:
    """A combination that is forbidden: all conditions together."""

    conditions: tuple[Condition, ...]

    def matches(self, values: Mapping[str, Value]) -> bool:
        """Whether axis values fall under it; an axis of a family may go without its prefix."""
        family = values["family"]
        return all(
            c.holds(values.get(c.axis, values.get(f"{family}.{c.axis}"))) for c in self.conditions
        )

    @property
    def written(self) -> dict[str, Written]:
        """As the space says it."""
        return {c.axis: c.written for c in self.conditions}


def parse_rule(raw: object) -> object:
    """One entry of `forbid:`.

    Raises:
        PydanticCustomError: when it is not a mapping of axes.
    """
    if isinstance(raw, Rule):
        return raw
    if not isinstance(raw, dict):
        raise PydanticCustomError("rule", "is not a mapping of axes to values, such as {blocks: 8}")
    return Rule(tuple(_condition(str(axis), wanted) for axis, wanted in raw.items()))


def _condition(axis: str, raw: Written) -> Condition:
    if isinstance(raw, list):
        return Condition(axis, None, tuple(raw), raw)
    if isinstance(raw, str):
        sign = next((s for s in _SIGNS if raw.startswith(s)), None)
        if sign is not None:
            return Condition(axis, sign, (_number(raw[len(sign) :]),), raw)
    return Condition(axis, None, (raw,), raw)


def _number(text: str) -> Number:
    try:
        return float(text)
    except ValueError:
        return text.strip()
