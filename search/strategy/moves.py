"""Decisions as values: what the coordinator is to do next."""

from __future__ import annotations

from dataclasses import dataclass, field

from spaces.points import Values
from spaces.record import JsonObject


@dataclass(frozen=True)
class Propose:
    """Try a recipe; `source` is initial_design, sampler or random."""

    values: Values
    source: str
    sampler_attrs: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Promote:
    """Let a trial go on."""


@dataclass(frozen=True)
class Stop:
    """End a trial here, with the reason."""

    reason: str


@dataclass(frozen=True)
class Nothing:
    """Nothing to do now; `is_exhausted` when there never will be."""

    is_exhausted: bool = False


Move = Propose | Promote | Stop | Nothing
