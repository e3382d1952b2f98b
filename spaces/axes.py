"""Axes: what one value of a recipe may be.

In YAML an axis is written as

    channels: 128                                a fixed value
    channels: [64, 96, 128]                      a choice
    channels: {choice: [64, 96, 128]}            the same
    channels: {int: [64, 256], step: 16}         whole numbers, both ends included
    channels: {int: [64, 256], log: true}        … on a logarithmic scale
    temperature: {float: [1.0, 4.0]}             real numbers; `log: true` and `step:` as above
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Value = bool | int | float | str


@dataclass(frozen=True)
class Choice:
    """One of a few values; a fixed value is a choice of one."""

    values: tuple[Value, ...]

    def size(self) -> int | None:
        return len(self.values)

    def at(self, quantile: float) -> Value:
        """The value a share of the way from first to last (numbers are sorted first)."""
        numeric = all(isinstance(v, int | float) for v in self.values)
        ordered = sorted(self.values) if numeric else list(self.values)  # type: ignore[type-var]
        return ordered[round(quantile * (len(ordered) - 1))]

    def values_in_order(self) -> list[Value]:
        return list(self.values)

    def holds(self, value: Value) -> bool:
        return value in self.values


@dataclass(frozen=True)
class IntRange:
    """Whole numbers from low to at most high, in steps; low is included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    @property
    def last(self) -> int:
        """The largest value: high, or the last step before it."""
        return self.low + (self.high - self.low) // self.step * self.step

    def size(self) -> int | None:
        return (self.high - self.low) // self.step + 1

    def values_in_order(self) -> list[Value]:
        return list(range(self.low, self.last + 1, self.step))

    def at(self, quantile: float) -> int:
        raw = _between(self.low, self.last, quantile, self.log)
        return self.low + round((raw - self.low) / self.step) * self.step

    def holds(self, value: Value) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )


_DIGITS = 12  # steps of 0.1 are told apart from what adding them up makes of them


@dataclass(frozen=True)
class FloatRange:
    """Real numbers from low to high; `step` makes them a grid that begins at low."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def last(self) -> float:
        """The largest value: high, or the last step before it."""
        size = self.size()
        return self.high if self.step is None or size is None else self._on_grid(size - 1)

    def size(self) -> int | None:
        if self.low == self.high:
            return 1
        if self.step is None:
            return None
        return math.floor(round((self.high - self.low) / self.step, _DIGITS)) + 1

    def _on_grid(self, i: int) -> float:
        return round(self.low + i * (self.step or 0.0), _DIGITS)

    def values_in_order(self) -> list[Value]:
        """The grid; of a continuous range its middle stands for all."""
        size = self.size()
        return [self.at(0.5)] if size is None else [self._on_grid(i) for i in range(size)]

    def at(self, quantile: float) -> float:
        raw = _between(self.low, self.last, quantile, self.log)
        return raw if self.step is None else self._on_grid(round((raw - self.low) / self.step))

    def holds(self, value: Value) -> bool:
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        steps = round((value - self.low) / self.step, 6)
        return steps == round(steps)


Axis = Choice | IntRange | FloatRange


class AxisError(ValueError):
    """A YAML value is not an axis; the text says why."""


def parse_axis(raw: object) -> Axis:
    """Read the YAML form of an axis.

    Raises:
        AxisError: with the reason, for anything that is not one of the forms above.
    """
    if isinstance(raw, Choice | IntRange | FloatRange):
        return raw
    if isinstance(raw, bool | int | float | str):
        _finite(raw)
        return Choice((raw,))
    if isinstance(raw, list):
        return _choice(raw)
    if isinstance(raw, dict):
        return _from_mapping(raw)
    raise AxisError("is empty: write a value, a list of values, or {int: [low, high]}")


def _from_mapping(raw: dict[object, object]) -> Axis:
    kinds = [k for k in ("choice", "int", "float") if k in raw]
    if len(kinds) != 1:
        raise AxisError("an axis has exactly one of choice:, int: or float:")
    kind = kinds[0]
    allowed = {kind} if kind == "choice" else {kind, "step", "log"}
    extra = [str(k) for k in raw if k not in allowed]
    if extra:
        raise AxisError(f"unknown key {extra[0]!r} beside {kind}: (known: {sorted(allowed)})")
    if kind == "choice":
        return _choice(raw["choice"])
    return _range(kind, raw)


def _choice(raw: object) -> Choice:
    if not isinstance(raw, list) or not raw:
        raise AxisError("a choice needs a list of at least one value")
    for value in raw:
        if not isinstance(value, bool | int | float | str):
            raise AxisError(f"a choice holds plain values, not {value!r}")
        _finite(value)
    if len(set(map(repr, raw))) != len(raw):
        raise AxisError(f"the choice {raw} names a value twice")
    return Choice(tuple(raw))


def _range(kind: str, raw: dict[object, object]) -> Axis:
    bounds, log, step = raw[kind], raw.get("log", False), raw.get("step")
    wanted = (int,) if kind == "int" else (int, float)
    if (
        not isinstance(bounds, list)
        or len(bounds) != 2
        or not all(isinstance(b, wanted) and not isinstance(b, bool) for b in bounds)
    ):
        noun = "whole numbers" if kind == "int" else "numbers"
        raise AxisError(f"{kind}: needs two {noun}, [low, high], not {bounds!r}")
    low, high = bounds
    _finite(low)
    _finite(high)
    if low > high:
        raise AxisError(f"low {low} is above high {high}")
    if not isinstance(log, bool):
        raise AxisError(f"log: is true or false, not {log!r}")
    if log and low <= 0:
        raise AxisError(f"a logarithmic range starts above 0, not at {low}")
    if log and step is not None:
        raise AxisError("log: and step: exclude each other")
    if step is not None and (
        not isinstance(step, wanted) or isinstance(step, bool) or not step > 0
    ):
        raise AxisError(f"step: is a number above 0, not {step!r}")
    if kind == "int":
        return IntRange(low, high, step if isinstance(step, int) else 1, log)
    return FloatRange(float(low), float(high), float(step) if step else None, log)  # type: ignore[arg-type]


def _finite(value: Value) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise AxisError(f"{value} is not a finite number")


def _between(low: float, high: float, quantile: float, log: bool) -> float:
    if not log:
        return low + quantile * (high - low)
    raw = math.exp(math.log(low) + quantile * (math.log(high) - math.log(low)))
    return min(max(raw, low), high)  # the way there and back may end a last bit outside
