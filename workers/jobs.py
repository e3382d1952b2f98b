"""What a stage is asked to do and what it gives back: frozen, JSON both ways.

A job names its inputs by content (digests of artifacts, of the prepared corpus), so that equal
jobs have equal keys and their result can be used again. `Place` says where files are on this
host; it is no part of the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from spaces.families import Student
from spaces.recipe import Distil, Quantize, Training, digest_of
from spaces.space import Target

_VERSION = 2


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(Record):
    """Folders of one home on this host."""

    artifacts: str
    cache: Path
    work: Path
    locks: Path

    def corpus(self, name: str) -> Path:
        return self.cache / "corpora" / name

    def teacher(self, name: str) -> Path:
        return self.cache / "teachers" / name


class Prepare(Record):
    """Check the data of a space and compute its features."""

    stage: Literal["prepare"] = "prepare"
    space_yaml: str
    space_path: str
    reusable: ClassVar[bool] = False  # files may change between two launches


class Model(Record):
    """A student in the form of one runtime: its files by name, and which of them is loaded."""

    backend: str
    main: str
    files: dict[str, str]  # name to digest


class Screen(Record):
    """Size, cost and latency of a student before it is trained.

    `host` is a digest of machine and runtime: what was timed on another is not used again.
    """

    stage: Literal["screen"] = "screen"
    host: str = ""
    student: Student
    quantize: Quantize
    corpus: str
    targets: dict[str, Target]


class Train(Record):
    """Train a network; `teacher` names what a teacher said of the corpus."""

    stage: Literal["train"] = "train"
    student: Student
    training: Training
    distil: Distil = Distil(weight=0.0)
    teacher: str | None = None
    corpus: str
    seed: int
    threads: int
    trunk: str | None = None  # continue from this state, to a larger budget


class Compress(Record):
    """Prune a trained network, then train it again."""

    stage: Literal["compress"] = "compress"
    checkpoint: str
    ratio: float
    training: Training
    distil: Distil
    teacher: str | None
    corpus: str
    seed: int
    threads: int


class Export(Record):
    """ONNX, checked against its network, then quantized."""

    stage: Literal["export"] = "export"
    checkpoint: str
    quantize: Quantize
    corpus: str


class Convert(Record):
    """The form that another runtime than ONNX Runtime takes."""

    stage: Literal["convert"] = "convert"
    version: str = ""  # of the runtime: another makes another file
    backend: str
    onnx: str  # float32
    network: str | None = None  # checkpoint, where there is one
    quantize: Quantize = Quantize()
    corpus: str
    long_audio: bool = False  # slices of half a minute must fit


class Score(Record):
    """Errors of a model, decoded by its runtime."""

    stage: Literal["score"] = "score"
    version: str = ""  # of the runtime: another computes otherwise
    runtime: str  # the label under which its results are kept
    model: Model
    precision: str = "fp32"
    tokens: str | None = None  # of a foreign model; a student's are the corpus's
    corpus: str
    teacher_texts: str | None = None
    onnx_texts: str | None = None  # what ONNX Runtime wrote, to compare with
    same_numbers: bool = False  # as float32 as there: texts must not differ
    long_audio: bool = False


class Measure(Record):
    """Latency and memory of a model on one target; `host` as in `Screen`."""

    stage: Literal["measure"] = "measure"
    target_name: str
    target: Target
    host: str = ""
    model: Model
    tokens: str | None = None
    corpus: str
    macs: float | None = None
    texts: str | None = None  # what this machine wrote of dev with the same file
    baseline: Model | None = None
    baseline_tokens: str | None = None
    calibrated_anchor_ms: float | None = None  # of the anchor when the device was calibrated
    again: int = 0  # told apart from an equal measurement that is there already

    @property
    def reusable(self) -> bool:
        """A device may be another one by the next time."""
        return not self.target.is_remote


class Listen(Record):
    """Let the teacher hear the training set, and dev where it cannot be exported."""

    stage: Literal["listen"] = "listen"
    space_yaml: str
    space_path: str
    corpus: str
    threads: int = 1
    checkpoint: str | None = None  # artifacts of the teacher, where it is made of such
    model: str | None = None
    tokens: str | None = None
    source_digest: str = ""  # content of a teacher that is a folder


Job = Annotated[
    Prepare | Screen | Train | Compress | Export | Convert | Score | Measure | Listen,
    Field(discriminator="stage"),
]


def name_of(job: Job) -> str:
    """The stage; with the runtime or target where a trial has one for each."""
    if isinstance(job, Convert):
        return f"convert@{job.backend}"
    if isinstance(job, Score):
        return f"score@{job.runtime}"
    return f"measure@{job.target_name}" if isinstance(job, Measure) else job.stage


def key_of(job: Job) -> str:
    """Hex digest of the job's content."""
    return digest_of([_VERSION, job.model_dump(mode="json")])


class Figure(Record):
    """One measured value of one target ("" where it holds for all), with raw samples."""

    target: str = ""
    metric: str
    value: Annotated[float, Field(allow_inf_nan=False)]
    samples: tuple[float, ...] | None = None


class StageResult(Record):
    """What a stage gives back."""

    artifacts: dict[str, str] = {}  # name to digest
    figures: tuple[Figure, ...] = ()
    facts: dict[str, Any] = {}
    reused: bool = False
    cpu_s: float = 0.0

    def value(self, metric: str, target: str | None = None) -> float | None:
        for figure in self.figures:
            if figure.metric == metric and target in (None, figure.target):
                return figure.value
        return None
