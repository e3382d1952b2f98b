"""What stages give back: one frozen record each, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from spaces.record import Record


class Reading(Record):
    """One measured value of one target ("" where it holds for all), with raw samples."""

    target: str = ""
    metric: str
    value: float
    samples: tuple[float, ...] | None = None


class Model(Record):
    """A student in the form of one runtime: its files by name, and which of them is loaded."""

    backend: str
    main: str
    files: dict[str, str]  # name to digest


class StageResult(Record):
    """What every result holds. `reused`: it was found done; `cpu_s` is what it cost."""

    kind: str
    readings: tuple[Reading, ...] = ()
    reused: bool = False
    cpu_s: float = 0.0

    @property
    def digests(self) -> tuple[str, ...]:
        """Artifacts without which the result is of no use."""
        return ()

    def value(self, metric: str) -> float | None:
        return next((r.value for r in self.readings if r.metric == metric), None)


class SplitStats(Record):
    """What one split of a corpus holds, faulty items left out."""

    utterances: int
    hours: float
    words: int
    speakers: int
    longest_s: float


class PrepareResult(StageResult):
    """`test_corpus` is a prepared corpus of its own, whose dev set is what `data.test` lists:
    nothing that trains or chooses has it in hand."""

    kind: Literal["prepare"] = "prepare"
    corpus: str
    test_corpus: str | None = None
    splits: dict[str, SplitStats] = Field(default_factory=dict)
    faults: tuple[str, ...] = ()
    n_symbols: int = 0
    bandwidth_hz: float | None = None  # where the sound of train ends, if before the band does


class ScreenResult(StageResult):
    kind: Literal["screen"] = "screen"
    not_screened_on: dict[str, str] = Field(default_factory=dict)  # target to reason


class Epoch(Record):
    """One point of a learning curve. WER is of the network in torch, not of a shipped file."""

    epoch: int
    epochs: int
    train_ctc: float
    cpu_s: float
    dev_wer: float | None = None
    n_skipped: int = 0  # steps so far whose gradients were not finite, in float16


class RungScore(Record):
    """What a network in training makes of dev: word errors of each utterance, of the mean weights
    of the last third of the epochs until then; `cpu_s` is what it had cost by then."""

    epoch: int
    epochs: int
    errors: tuple[int, ...]
    wer: float
    cpu_s: float


class RungResult(StageResult):
    """A training that pauses at a rung; what it goes on from lies in the folder of its stage."""

    kind: Literal["rung"] = "rung"
    score: RungScore
    history: tuple[Epoch, ...] = ()


class TrainResult(StageResult):
    """`sliced_share` is the share of the parameters that were a supernet's when training began,
    `teacher_share` that of those that were the teacher's; None where it began otherwise."""

    kind: Literal["train"] = "train"
    checkpoint: str
    history: tuple[Epoch, ...] = ()
    rungs: tuple[RungScore, ...] = ()
    sliced_share: float | None = None
    teacher_share: float | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.checkpoint,)


class SupernetResult(StageResult):
    """`history` is of the largest student; `smallest_wer` of the smallest on dev, untrained but
    for what the supernet learnt, of the network in torch as in the history."""

    kind: Literal["supernet"] = "supernet"
    checkpoint: str
    history: tuple[Epoch, ...] = ()
    smallest_wer: float | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.checkpoint,)


class CompressResult(StageResult):
    kind: Literal["compress"] = "compress"
    checkpoint: str
    history: tuple[Epoch, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.checkpoint,)


class QatResult(StageResult):
    """A network whose weights are rounded already."""

    kind: Literal["qat"] = "qat"
    checkpoint: str
    history: tuple[Epoch, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.checkpoint,)


class PartSize(Record):
    """Bytes of the weights of one part of a network in one number format."""

    part: str
    format: str
    bytes: int


class LayerLoss(Record):
    """What quantizing one layer alone does to what a network says: the divergence of a frame."""

    name: str
    divergence: float


class ExportResult(StageResult):
    """`model` is what ships, `float32` the same network before it was quantized; None where a
    version before other runtimes than ONNX Runtime exported it."""

    kind: Literal["export"] = "export"
    model: str
    float32: str | None
    tokens: str
    parity: float | None = None
    sizes: tuple[PartSize, ...] = ()
    sensitivity: tuple[LayerLoss, ...] = ()  # of each layer, most first, where some were kept
    beside: dict[str, str] = Field(default_factory=dict)  # files that ship with the model

    @property
    def digests(self) -> tuple[str, ...]:
        files = (self.model, self.float32, self.tokens, *self.beside.values())
        return tuple(d for d in files if d is not None)


class ConvertResult(StageResult):
    kind: Literal["convert"] = "convert"
    model: Model

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(self.model.files.values())


class ScoreResult(StageResult):
    """`texts` is what was written; `errors` and `words` count by utterance of dev."""

    kind: Literal["score"] = "score"
    texts: str
    errors: tuple[int, ...] = ()
    words: tuple[int, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        return (self.texts,)


class ScoreTestResult(StageResult):
    """`errors` and `words` count by utterance of test."""

    kind: Literal["test"] = "test"
    errors: tuple[int, ...] = ()
    words: tuple[int, ...] = ()


class OperatorShare(Record):
    """Time of one operator of a model, by the runtime's own profiler."""

    name: str
    kind: str
    time_ms: float


class MeasureResult(StageResult):
    """`passes` are runs over all utterances in each process, `anchor_ms` the anchor's time there;
    `unsteady` says why the times are not to be trusted."""

    kind: Literal["measure"] = "measure"
    machine: dict[str, object] = Field(default_factory=dict)
    unsteady: tuple[str, ...] = ()
    profile: tuple[OperatorShare, ...] | None = None
    utterances_s: tuple[float, ...] = ()
    passes: tuple[int, ...] = ()
    anchor_ms: tuple[float, ...] = ()


class TeacherTargetsResult(StageResult):
    """`soft_targets` names the cached output of the teacher. Where its tokens are not the
    students', its transcripts stand in: `n_pseudo_labels` of `n_utterances` were near enough."""

    kind: Literal["teacher_targets"] = "teacher_targets"
    soft_targets: str
    target_kind: Literal["frames", "transcripts"] = "frames"
    n_pseudo_labels: int | None = None
    n_utterances: int | None = None
    n_unlabelled: int = 0
    n_unlabelled_used: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)  # of what is unlabelled, by why
    combined: str | None = None  # how what several teachers say was
    texts: str | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        return () if self.texts is None else (self.texts,)


class ExtraResult(StageResult):
    """Of a stage from outside: files by name, and what it has to say."""

    kind: Literal["extra"] = "extra"
    files: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(self.files.values())


class CheckTeacherResult(StageResult):
    kind: Literal["check_teacher"] = "check_teacher"


class RehearseResult(StageResult):
    """`epoch_s` is CPU seconds of one epoch."""

    kind: Literal["rehearse"] = "rehearse"
    epoch_s: float


class Unavailable(StageResult):
    """A stage that a teacher does without: too big for a device, or not for a runtime."""

    kind: Literal["unavailable"] = "unavailable"
    reason: str


AnyResult = Annotated[
    PrepareResult
    | ScreenResult
    | TrainResult
    | SupernetResult
    | RungResult
    | CompressResult
    | QatResult
    | ExportResult
    | ConvertResult
    | ScoreResult
    | ScoreTestResult
    | MeasureResult
    | TeacherTargetsResult
    | ExtraResult
    | CheckTeacherResult
    | RehearseResult
    | Unavailable,
    Field(discriminator="kind"),
]
RESULT: TypeAdapter[AnyResult] = TypeAdapter(AnyResult)
