"""Frozen records that travel between the store and everything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict, Unpack

from spaces.axes import Value
from spaces.record import JsonObject


class StudyState(StrEnum):
    """`paused` starts nothing new; `stopping` ends the coordinator after what runs."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def is_live(self) -> bool:
        """Whether a coordinator runs it, or did until it was killed."""
        return self in (StudyState.RUNNING, StudyState.PAUSED, StudyState.STOPPING)


class TrialState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    INFEASIBLE = "infeasible"  # measured, breaks a hard budget
    SCREENED_OUT = "screened_out"  # breaks a hard budget before training
    UNMEASURED = "unmeasured"  # trained and exported; a device has still to measure it
    STOPPED = "stopped"  # at a rung, by what it showed there; `search promote` takes it up
    CANCELLED = "cancelled"  # by a person
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self not in (TrialState.QUEUED, TrialState.RUNNING)

    @property
    def is_measured(self) -> bool:
        """Whether it has every figure that decides: such trials can be shown and exported."""
        return self in MEASURED


MEASURED = (TrialState.COMPLETE, TrialState.INFEASIBLE)


@dataclass(frozen=True)
class Focus:
    """A region that some trials of a study are to lie in: limits by metric, as budgets are
    written, for `trials` trials from number `first` on."""

    first: int
    trials: int
    towards: Mapping[str, str]

    def covers(self, number: int) -> bool:
        return self.first <= number < self.first + self.trials

    @property
    def limits(self) -> str:
        """In words."""
        return ", ".join(f"{metric} {limit}" for metric, limit in self.towards.items())

    def __str__(self) -> str:
        last = self.first + self.trials - 1
        which = f"trials {self.first} to {last}" if self.trials > 1 else f"trial {last}"
        return f"{which} towards {self.limits}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """One search. What its trials build on is fixed when it first starts and None until then."""

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
    elapsed_s: float = 0.0  # time that coordinators ran it
    corpus: str | None = None  # name of the prepared corpus
    threads: int | None = None  # of a trial
    teacher_threads: int | None = None
    # digests of files that the user brought, by role: checkpoint, model, tokens, folder of the
    # teacher; baseline and baseline_tokens of the bundle that a gate compares with
    imported: Mapping[str, str] | None = None
    teacher_metrics: Mapping[str, float] = field(default_factory=dict)
    baseline_metrics: Mapping[str, float] = field(default_factory=dict)
    # settings by name of targets that were added to those of the space; they decide nothing
    added_targets: Mapping[str, JsonObject] = field(default_factory=dict)
    focuses: tuple[Focus, ...] = ()
    # the trials of earlier studies that it learns from, by study; None until they were looked up
    warm_start: Mapping[str, Sequence[int]] | None = None
    live: JsonObject | None = None  # what its coordinator said last: at, running, eta_s


@dataclass(frozen=True)
class Lease:
    """Who holds a study, by a token that grows with every holder."""

    name: str
    holder: JsonObject | None  # None: nobody
    token: int
    beat: int  # counts signs of life


class StudyChanges(TypedDict, total=False):
    """Columns of a study that may change."""

    state: StudyState
    space_yaml: str
    space_path: str
    space_digest: str
    seed: int
    deterministic: bool
    trials_wanted: int
    created_at: float
    elapsed_s: float
    corpus: str | None
    threads: int | None
    teacher_threads: int | None
    imported: Mapping[str, str] | None
    teacher_metrics: Mapping[str, float]
    baseline_metrics: Mapping[str, float]
    added_targets: Mapping[str, JsonObject]
    focuses: tuple[Focus, ...]
    warm_start: Mapping[str, Sequence[int]] | None
    live: JsonObject | None


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What a student showed at a rung, and whether it went on from there.

    `errors` counts the word errors of dev in groups of utterances, the same for every trial, so
    that two students are compared in pairs. `promoted` says by whom: nobody, "rule" or "hand";
    `beaten_by` names the trial for which it was stopped. `costs` are the figures of its screening,
    to be compared with those of others that were screened alike.
    """

    share: float  # of its epochs
    epoch: int
    epochs: int
    wer: float
    errors: tuple[int, ...]
    costs: Mapping[str, float] = field(default_factory=dict)
    promoted: str | None = None
    beaten_by: int | None = None


class TrialChanges(TypedDict, total=False):
    """Fields of a trial that may change."""

    rungs: tuple[Rung, ...]
    error_groups: tuple[int, ...] | None
    state: TrialState
    reason: str | None
    finished_at: float | None
    metrics: Mapping[str, float]
    objective_values: tuple[float, ...] | None
    constraints: Mapping[str, float]
    compute_s: float


# Of a trial that is tried again: what it came to is open.
REOPENED = TrialChanges(
    state=TrialState.RUNNING, reason=None, finished_at=None, objective_values=None
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recipe being tried; `objective_values` are what the sampler is told."""

    id: int
    study_id: int
    number: int
    values: Mapping[str, Value]  # of the axes
    recipe: JsonObject
    recipe_digest: str
    label: str
    source: str  # initial_design, sampler, random or user
    state: TrialState
    created_at: float
    reason: str | None = None
    finished_at: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    objective_values: tuple[float, ...] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    sampler_attrs: JsonObject = field(default_factory=dict)
    compute_s: float = 0.0
    rungs: tuple[Rung, ...] = ()  # by share
    # word errors of dev in groups of utterances, the same for every trial; None where not kept
    error_groups: tuple[int, ...] | None = None

    def evolve(self, **changes: Unpack[TrialChanges]) -> Trial:
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """What tables and charts need of a trial, light enough for thousands."""

    number: int
    state: TrialState
    source: str
    label: str
    values: Mapping[str, Value]
    metrics: Mapping[str, float]
    created_at: float
    finished_at: float | None
    compute_s: float
    reason: str | None
    error_groups: tuple[int, ...] | None = None


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
    result: JsonObject = field(default_factory=dict)
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
    """Something that happened to a study."""

    id: int
    at: float
    kind: str
    message: str
    trial_number: int | None = None
    data: JsonObject = field(default_factory=dict)


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
