"""Frozen records that travel between the store and everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StudyState(StrEnum):
    """`paused` starts nothing new; `stopping` ends the coordinator after what runs."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


class TrialState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    INFEASIBLE = "infeasible"  # measured, breaks a hard budget
    SCREENED_OUT = "screened_out"  # breaks a hard budget before training
    STOPPED = "stopped"  # by the search, at a rung
    UNMEASURED = "unmeasured"  # trained and exported; a device has still to measure it
    CANCELLED = "cancelled"  # by a person
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self not in (TrialState.QUEUED, TrialState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Study:
    id: int
    name: str
    space_yaml: str
    space_path: str
    space_digest: str
    seed: int
    deterministic: bool
    state: StudyState
    trials_wanted: int
    created_at: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    live: Mapping[str, Any] | None = None  # what its coordinator said last: at, running, eta_s


@dataclass(frozen=True, kw_only=True)
class Trial:
    id: int
    study_id: int
    number: int
    values: Mapping[str, Any]
    recipe: Mapping[str, Any]
    recipe_digest: str
    source: str  # expert, sampler or user
    state: TrialState
    created_at: float
    reason: str | None = None
    finished_at: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    told: tuple[float, ...] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    sampler_attrs: Mapping[str, Any] = field(default_factory=dict)
    compute_s: float = 0.0

    def evolve(self, **changes: Any) -> Trial:
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One finished attempt at one stage; `result` is what the stage gave back."""

    id: int
    study_id: int
    trial_number: int | None  # None: a stage of the study itself, such as its teacher
    stage: str
    key: str
    attempt: int
    state: str  # done, reused or failed
    started_at: float
    duration_s: float
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    log: str | None = None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured figure, with the raw samples it sums up."""

    subject: str  # "trial 17" is "17"; the teacher is "teacher"
    target: str  # "" where the figure holds for every target
    metric: str
    value: float
    samples: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    id: int
    at: float
    kind: str
    message: str
    trial_number: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What another shell asked the coordinator to do."""

    id: int
    kind: str
    argument: int | None


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a person wrote of a trial, or of the study where there is no number."""

    id: int
    trial_number: int | None
    kind: str  # note or tag
    text: str
    author: str
    at: float
