"""What a running study tells of itself, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from spaces.space import Space
from storage.records import Event, Study, Trial


@dataclass(frozen=True)
class Running:
    """A stage under way, for the live view."""

    trial_number: int | None
    stage: str
    elapsed_s: float
    progress: dict[str, object] | None


@dataclass(frozen=True)
class Snapshot:
    """What a live view shows."""

    study: Study
    space: Space
    trials: Sequence[Trial]
    running: Sequence[Running]
    elapsed_s: float
    eta_s: float | None
    waiting: Sequence[str] = ()  # for devices that are away
    away_s: Mapping[str, float] = field(default_factory=dict)  # by target, since when


class View(Protocol):
    """Told of what happens."""

    def event(self, event: Event) -> None: ...

    def tick(self, snapshot: Snapshot) -> None: ...
