"""What every trial of a study builds on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeVar

from workers.jobs import OnDevice, TeacherTargets

_Placed = TypeVar("_Placed", bound=OnDevice)


def also(number: int) -> str:
    """What the roles of files of a further teacher begin with."""
    return f"also{number}."


@dataclass(frozen=True)
class Place:
    """Where a launch trains, as `workers.jobs.OnDevice` has it; empty is the CPU."""

    device: Literal["", "cuda", "mps"] = ""
    precision: Literal["", "fp32", "bf16", "fp16"] = ""
    gpus: tuple[int, ...] = ()
    per_gpu: int = 1

    def of(self, job: _Placed) -> _Placed:
        """A job that is done there; of teachers only those that torch runs."""
        update: dict[str, object] = asdict(self)
        if isinstance(job, TeacherTargets):
            update = {**update, "precision": ""} if job.is_run_by_torch else {}
            update["also"] = tuple(map(self.of, job.also))
        return job.model_copy(update=update)


@dataclass(frozen=True)
class StudySettings:
    """Fixed when a study first starts; anchors and versions are of this launch."""

    seed: int
    threads: int
    teacher_threads: int
    host: str  # digest of machine and runtime, for what is timed
    # digests of files that the user brought: checkpoint, model, tokens, folder of the teacher;
    # baseline and baseline_tokens of the bundle that a gate compares with
    imported: Mapping[str, str]
    teacher_size_mb: float | None = None  # of one brought as an ONNX file
    anchors_ms: Mapping[str, float] = field(default_factory=dict)  # of calibrated targets
    versions: Mapping[str, str] = field(default_factory=dict)  # of the runtimes, by backend
    place: Place = Place()
    # targets on which an untrained student is not timed: they are on other nodes than the first
    not_screened: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TeacherFile:
    """The teacher as a float32 ONNX file: digests of it and of its tokens."""

    onnx: str
    tokens: str
    macs: float | None
    params: float | None


@dataclass(frozen=True)
class StudyContext:
    """What the study's own stages made."""

    corpus: str
    soft_targets: str | None  # None where no student is trained
    teacher_texts: str | None
    teacher_metrics: Mapping[str, float]
    supernets: Mapping[str, str] = field(default_factory=dict)  # checkpoints by family
    teacher_network: str | None = None  # its checkpoint, where it is a network of ours
    teacher_file: TeacherFile | None = None
