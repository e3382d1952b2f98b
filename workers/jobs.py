"""What a stage is asked to do: frozen, JSON both ways.

A job names its inputs by content (digests of artifacts, of the prepared corpus) and holds nothing
that its result does not depend on, so that equal jobs have equal keys and their result can be
used again.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from spaces.axes import Value
from spaces.families import StudentDims
from spaces.recipe import Decode, Distil, LossWeight, Quantize, Scope, Training, digest_of
from spaces.record import Record
from spaces.space import Data, Target, TeacherSource, Tokens
from spaces.space.teacher import TeacherKind
from workers.results import Model

_VERSION = 3


class StageJob(Record):
    """What all jobs have in common."""

    stage: str
    # fields that say where something is, not what it is
    not_in_key: ClassVar[frozenset[str]] = frozenset()
    # fields of later versions: where they ask for nothing, keys are as before them
    not_in_key_if_empty: ClassVar[frozenset[str]] = frozenset()

    @property
    def reusable(self) -> bool:
        """Whether a result that is there already will do."""
        return True

    @property
    def whole(self) -> StageJob:
        """The job of which this is a part: they share a folder, and what one left the next takes
        up."""
        return self


class Prepare(StageJob):
    """Check the data of a space and compute its features."""

    stage: Literal["prepare"] = "prepare"
    data: Data
    tokens: Tokens
    subsampling_factor: int
    long_audio: bool = False

    @property
    def reusable(self) -> bool:
        """Files may change between two launches."""
        return False


class Screen(StageJob):
    """Size, cost and latency of a student before it is trained.

    `host` is a digest of machine and runtime: what was timed on another is not used again. `end`
    names a student that stands for one end of a space, before there are trials.
    """

    stage: Literal["screen"] = "screen"
    not_in_key: ClassVar[frozenset[str]] = frozenset(("end",))
    host: str = ""
    student: StudentDims
    quantize: Quantize
    corpus: str
    targets: dict[str, Target]
    end: str = ""


class OnDevice(StageJob):
    """Where torch computes: on the CPU unless `device` says otherwise, in what `precision` says;
    `gpus` are the numbers of those that may be used, `per_gpu` how many stages may share one."""

    not_in_key: ClassVar[frozenset[str]] = frozenset(("gpus", "per_gpu"))
    not_in_key_if_empty: ClassVar[frozenset[str]] = frozenset(("device", "precision"))
    device: Literal["", "cuda", "mps"] = ""
    precision: Literal["", "fp32", "bf16", "fp16"] = ""
    gpus: tuple[int, ...] = ()
    per_gpu: int = 1


class Train(OnDevice):
    """Train a network; `soft_targets` names what a teacher makes of the corpus.

    After the shares of its epochs in `rungs` it is scored on dev. `until` is the one of them at
    which it pauses: the whole training goes on from there, to the weights that it has without a
    pause. `start` is the checkpoint of a supernet whose slice it begins as, `parent` that of a
    larger network of its family with whose best units it begins; else it begins from nothing.
    """

    stage: Literal["train"] = "train"
    not_in_key_if_empty = OnDevice.not_in_key_if_empty | {"rungs", "until", "start", "parent"}
    student: StudentDims
    training: Training
    distil: Distil = Distil(weight=0.0)
    losses: tuple[LossWeight, ...] = ()
    soft_targets: str | None = None
    corpus: str
    seed: int
    threads: int
    rungs: tuple[float, ...] = ()
    until: float | None = None
    start: str | None = None
    parent: str | None = None

    @property
    def whole(self) -> Train:
        """The training to its end."""
        return self.model_copy(update={"until": None})


class Supernet(OnDevice):
    """Train one network whose parts are the students of a family: with `choices` of each dimension
    that they differ in, `largest` the one that holds them all."""

    stage: Literal["supernet"] = "supernet"
    largest: StudentDims
    choices: dict[str, tuple[Value, ...]]
    training: Training
    distil: Distil = Distil(weight=0.0)
    soft_targets: str | None = None
    corpus: str
    seed: int
    threads: int


class Further(OnDevice):
    """Train a network that is there already."""

    checkpoint: str
    training: Training
    distil: Distil
    losses: tuple[LossWeight, ...] = ()
    soft_targets: str | None
    corpus: str
    seed: int
    threads: int


class Compress(Further):
    """Prune a trained network, then train it again; in `rounds`, the epochs shared among them."""

    stage: Literal["compress"] = "compress"
    not_in_key_if_empty = OnDevice.not_in_key_if_empty | {"rounds", "scope"}
    ratio: float
    rule: str = "l1"
    rounds: int | None = None  # None: at once
    scope: Scope | None = None  # None: the same share of every group


class Qat(Further):
    """Train a network further with its numbers rounded as `quantize` will round them."""

    stage: Literal["qat"] = "qat"
    quantize: Quantize


class Export(StageJob):
    """ONNX, checked against its network, then quantized; of the teacher's own graph, which is
    `onnx` already, with its `tokens` and what it costs, quantized only."""

    stage: Literal["export"] = "export"
    not_in_key_if_empty: ClassVar[frozenset[str]] = frozenset(
        ("onnx", "tokens", "macs", "params", "decode")
    )
    checkpoint: str | None = None
    onnx: str | None = None
    tokens: str | None = None
    macs: float | None = None
    params: float | None = None
    quantize: Quantize
    decode: Decode | None = None  # None: greedily
    corpus: str


class Extra(StageJob):
    """A stage from outside, on an exported student; `network` is its checkpoint."""

    stage: Literal["extra"] = "extra"
    name: str
    network: str | None
    model: Model
    tokens: str
    corpus: str


class Convert(StageJob):
    """The form that another runtime than ONNX Runtime takes."""

    stage: Literal["convert"] = "convert"
    version: str = ""  # of the runtime: another makes another file
    backend: str
    onnx: str  # float32
    network: str | None = None  # checkpoint, where there is one
    quantize: Quantize = Quantize()
    corpus: str
    long_audio: bool = False  # slices of half a minute must fit


class Score(StageJob):
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


class ScoreTest(StageJob):
    """Errors of a model on test. Another version of the runtime is no reason to look there again:
    it is not part of this."""

    stage: Literal["test"] = "test"
    runtime: str
    model: Model
    precision: str = "fp32"
    tokens: str | None = None
    corpus: str  # the prepared test set


class Measure(StageJob):
    """Latency and memory of a model on one target; `host` as in `Screen`. A second `session` is
    another measurement of the same, hours later."""

    stage: Literal["measure"] = "measure"
    not_in_key_if_empty: ClassVar[frozenset[str]] = frozenset(("session",))
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
    session: int = 0

    @property
    def reusable(self) -> bool:
        """A device may be another one by the next time."""
        return not self.target.is_remote


class CheckTeacher(StageJob):
    """Load a teacher that the user brings, to see whether it can be used."""

    stage: Literal["check_teacher"] = "check_teacher"
    source: TeacherSource

    @property
    def reusable(self) -> bool:
        """Its files may change."""
        return False


class Rehearse(StageJob):
    """Train some batches of an epoch, to know what one costs."""

    stage: Literal["rehearse"] = "rehearse"
    student: StudentDims
    training: Training
    corpus: str

    @property
    def reusable(self) -> bool:
        """A host is not always as fast."""
        return False


class TeacherTargets(OnDevice):
    """Let the teacher infer the training set, and dev where it cannot be exported.

    The teacher is artifacts, or what `source` names; a source that is a folder has the digest of
    its content here, and `location` says where it lies.
    """

    stage: Literal["teacher_targets"] = "teacher_targets"
    not_in_key = OnDevice.not_in_key | {"location", "at_once", "time_limit_s"}
    not_in_key_if_empty = OnDevice.not_in_key_if_empty | {
        "waveform",
        "as_recorded",
        "command",
        "language",
        "also",
        "top_k",
        "halfway",
    }
    corpus: str
    threads: int = 1
    checkpoint: str | None = None
    model: str | None = None
    waveform: str | None = None
    as_recorded: bool = False
    tokens: str | None = None
    source: TeacherKind | None = None
    source_name: str | None = None  # on a hub; a digest where it is a folder
    location: str | None = None
    command: tuple[str, ...] | None = None
    at_once: int | None = None
    time_limit_s: float | None = None
    language: str | None = None
    speeds: tuple[float, ...] = (1.0,)  # of the augmentations, the plain one first
    hidden: bool = False  # whether its last hidden layer is wanted as well
    halfway: bool = False  # with it the one at half its depth
    subsampling_factor: int
    top_k: int | None = None  # log-probabilities kept of each frame
    also: tuple[TeacherTargets, ...] = ()  # of further teachers, which are asked the same

    @property
    def is_run_by_torch(self) -> bool:
        """Else a runtime or a program of its own runs it."""
        return self.checkpoint is not None or self.source in ("huggingface", "torchaudio")


Job = Annotated[
    Prepare
    | Screen
    | Train
    | Supernet
    | Compress
    | Qat
    | Export
    | Extra
    | Convert
    | Score
    | ScoreTest
    | Measure
    | TeacherTargets
    | CheckTeacher
    | Rehearse,
    Field(discriminator="stage"),
]
JOB: TypeAdapter[Job] = TypeAdapter(Job)


def name_of(job: Job) -> str:
    """The stage; with the runtime or target where a trial has one for each."""
    match job:
        case Convert():
            return f"convert@{job.backend}"
        case Score():
            return f"score@{job.runtime}"
        case Measure():
            return f"{'confirm' if job.session else 'measure'}@{job.target_name}"
        case Train(until=float(until)):
            return f"train@{until:g}"
        case Screen(end=str(end)) if end:
            return f"screen@{end}"
        case Extra():
            return f"extra@{job.name}"
        case ScoreTest():
            return f"test@{job.runtime}"
        case Supernet():
            return f"supernet@{job.largest.family}"
        case _:
            return job.stage


def key_of(job: StageJob) -> str:
    """Hex digest of what the job's result depends on."""
    empty = {name for name in job.not_in_key_if_empty if not getattr(job, name)}
    content = job.model_dump(mode="json", exclude=set(job.not_in_key) | empty)
    if isinstance(job, TeacherTargets) and job.also:
        content["also"] = [key_of(other) for other in job.also]
    return digest_of([_VERSION, content])
