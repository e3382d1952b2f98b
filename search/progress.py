"""What a running study tells of itself, and whom it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import Field

from spaces.record import JsonObject, Record
from spaces.space import Space
from storage.records import Event, Study, Trial

SILENT_S = 30.0  # a coordinator tells of itself every two seconds


class StageProgress(Record):
    """How far a stage says it is: `done` of `of` somethings."""

    what: str
    done: int
    of: int


class RunningStage(Record):
    """A stage under way; `trial` None is the study's own."""

    trial: int | None
    stage: str
    elapsed_s: float
    progress: StageProgress | None = None
    log: str | None = None  # its last lines


class LiveStatus(Record):
    """What the store keeps of a running study, for pages and other shells; old within seconds."""

    at: float
    host: str
    eta_s: float | None = None
    elapsed_s: float
    waiting: tuple[str, ...] = ()  # for devices that are away, in words
    away_s: Mapping[str, float] = Field(default_factory=dict)
    running: tuple[RunningStage, ...] = ()

    @classmethod
    def of(cls, study: Study) -> LiveStatus | None:
        """What the coordinator said last; None where there is none."""
        return None if study.live is None else cls.model_validate(study.live)

    def as_json(self) -> JsonObject:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Snapshot:
    """What a live view shows."""

    study: Study
    space: Space
    trials: Sequence[Trial]
    running: Sequence[RunningStage]
    elapsed_s: float
    eta_s: float | None
    waiting: Sequence[str] = ()  # for devices that are away
    away_s: Mapping[str, float] = field(default_factory=dict)  # by target, since when


class StudyObserver(Protocol):
    """Told of what happens to a study while it runs."""

    def event(self, event: Event) -> None: ...

    def tick(self, snapshot: Snapshot) -> None: ...
