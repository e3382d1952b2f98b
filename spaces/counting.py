"""How many recipes a space holds."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spaces.points import enumerate_values
from spaces.space import Space

_ENUMERATED = 200_000  # up to so many combinations are counted one by one


@dataclass(frozen=True)
class Count:
    """How many recipes a space holds."""

    recipes: int | None  # None: not counted one by one
    at_most: int
    continuous: tuple[str, ...]

    def __str__(self) -> str:
        if self.recipes is not None:
            text = f"{self.recipes:,} recipes"
        else:
            text = f"up to {self.at_most:,} recipes"
        if self.continuous:
            text += f" times a continuous choice of {', '.join(self.continuous)}"
        return text


def count(space: Space) -> Count:
    """Count the recipes of a space, forbidden ones left out where they can be enumerated."""
    at_most = sum(_upper_bound(space, family) for family in space.students)
    continuous = {
        name
        for family in space.students
        for name, axis in space.axes_of(family).items()
        if axis.size() is None
    }
    if at_most > _ENUMERATED:
        return Count(None, at_most, tuple(sorted(continuous)))
    recipes = sum(1 for _ in enumerate_values(space))
    return Count(recipes, at_most, tuple(sorted(continuous)))


def _upper_bound(space: Space, family: str) -> int:
    return math.prod(axis.size() or 1 for axis in space.axes_of(family).values())
