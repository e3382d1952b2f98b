"""What every trial of a study builds on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    teacher_file: TeacherFile | None = None
