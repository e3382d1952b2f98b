"""A recipe: one point of a space. Frozen, hashable, JSON both ways."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from spaces.families import StudentDims
from spaces.record import Grown, Record
from spaces.streaming import FRAME_MS

Scheme = Literal["fp32", "fp16", "int8", "int8_dynamic", "int8_static", "int4"]
Scope = Literal["module", "global", "time"]
PARTS = ("frontend", "encoder", "head")


class Distil(Grown):
    """How a student learns from the teacher.

    The loss is (1 - weight) * CTC + weight * T^2 * KL(teacher || student) at temperature T
    (Hinton et al., arXiv 1503.02531); weight 0 turns distillation off. `frames` says in which
    frames the teacher is followed: in all, in those where it says something (`speech`), or in
    those and as many blanks beside them (`symmetric`, arXiv 2506.01503). `halfway` is the share of
    the following that is done halfway up the network (Inter-KD, arXiv 2211.15075); `hidden_layers`
    how many of the teacher's layers `hidden_weight` compares: the last, or that and the middle one.
    `delay_ms` is how much later than the teacher a student may say the same: live, it has not heard
    yet what an offline teacher has.
    """

    weight: Annotated[float, Field(ge=0, le=1)] = 0.67
    temperature: Annotated[float, Field(gt=0, le=20)] = 1.0
    hidden_weight: Annotated[float, Field(ge=0, le=10)] = 0.0
    hidden_layers: Annotated[int, Field(ge=1, le=2)] = 1
    frames: Literal["all", "speech", "symmetric"] = "all"
    halfway: Annotated[float, Field(ge=0, lt=1)] = 0.0
    delay_ms: Annotated[int, Field(ge=0, le=960, multiple_of=FRAME_MS)] = 0

    later = frozenset(("hidden_layers", "frames", "halfway", "delay_ms"))


class Training(Grown):
    """How long and how gently a student is trained.

    `consistency` is the weight of CR-CTC (arXiv 2410.05101): two augmented copies of a batch that
    should agree. It doubles the work of a step and was the best buy for a teacher on little data.
    `start: teacher` begins as the part of the teacher that has the student's dimensions.
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    batch_s: Annotated[float, Field(gt=0, le=3600)] = 32.0
    augment: Annotated[float, Field(ge=0, le=2)] = 1.0
    intermediate_ctc: Annotated[float, Field(ge=0, lt=1)] = 0.0
    consistency: Annotated[float, Field(ge=0, le=2)] = 0.0
    start: Literal["nothing", "teacher"] = "nothing"

    later = frozenset(("start",))


class Prune(Grown):
    """Structured pruning: the share of every prunable width to remove, by which rule units are
    kept, then re-training.

    It is removed in `rounds`, the epochs shared among them. With `scope: module` every group of
    units loses that share; with `global` units of all groups compete, and as many parameters go;
    with `time` they compete by the time that they take on this machine's ONNX Runtime.
    """

    ratio: Annotated[float, Field(ge=0, lt=0.95)] = 0.0
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    rule: str = "l1"
    rounds: Annotated[int, Field(ge=1, le=20)] = 1
    scope: Scope = "module"

    later = frozenset(("rule", "rounds", "scope"))


class Quantize(Grown):
    """Number format of each part of the network. `int8` leaves its mode to the runtime.

    `calibration` is how ranges of activations are taken for int8_static; `equalise` evens out the
    channels of neighbouring layers first (arXiv 1906.04721, 2211.10438); `keep` leaves so many of
    the most sensitive layers in 16 bits; after `qat_epochs` of training with rounded weights, and
    activations where they are, the network knows its format (quantization-aware training), and
    nothing is kept or equalised.
    """

    frontend: Scheme = "fp32"
    encoder: Scheme = "fp32"
    head: Scheme = "fp32"
    qat_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    equalise: bool = False
    keep: Annotated[int, Field(ge=0, le=64)] = 0

    later = frozenset(("calibration", "equalise", "keep", "qat_epochs"))

    @property
    def formats(self) -> tuple[str, str, str]:
        return (self.frontend, self.encoder, self.head)

    @property
    def formats_only(self) -> Quantize:
        """Without how it is got there: what size and time follow from."""
        frontend, encoder, head = self.formats
        return Quantize.model_validate({"frontend": frontend, "encoder": encoder, "head": head})

    def label(self) -> str:
        """The format, where all parts have one."""
        name = self.encoder if len(set(self.formats)) == 1 else f"mixed {self.encoder}"
        return f"{name} QAT" if self.qat_epochs else name


class Decode(Record):
    """How text is found in what a network says: greedily, or with a `beam` of hypotheses and an
    n-gram model of tokens, learnt from the training transcripts, which ships with the network."""

    beam: Annotated[int, Field(ge=1, le=1000)] = 1  # greedily
    lm_order: Annotated[int, Field(ge=2, le=10)] = 5
    lm_weight: Annotated[float, Field(ge=0, le=10)] = 0.5


class LossWeight(Record):
    """A loss beside the usual ones, by its name in `spaces.extensions.LOSSES`."""

    name: str
    weight: Annotated[float, Field(ge=0)]


class Recipe(Record):
    """One point of a space: everything that decides a student but the seed of the study."""

    student: StudentDims
    training: Training = Training()
    distil: Distil = Distil()
    prune: Prune = Prune()
    quantize: Quantize = Quantize()
    losses: tuple[LossWeight, ...] = ()
    decode: Decode = Decode()

    def content(self) -> dict[str, JsonValue]:
        """As JSON. What later versions added is left out where it changes nothing, so that a
        recipe is written, and has the digest, as older studies know it."""
        content = self.model_dump(mode="json")
        if self.decode.beam == 1:
            del content["decode"]
        if not self.student.is_trained:
            names = ("student", "quantize", "decode")
            return {name: content[name] for name in names if name in content}
        if not self.losses:
            del content["losses"]
        return content

    def digest(self) -> str:
        """Hex digest of the content; equal recipes have equal digests."""
        return digest_of(self.content())

    def label(self) -> str:
        """A few words for tables and file names: how a trial is called everywhere."""
        prune = f" -{self.prune.ratio:.0%}" if self.prune.ratio else ""
        beam = f" beam {self.decode.beam}" if self.decode.beam > 1 else ""
        return f"{self.student.label()}{prune} {self.quantize.label()}{beam}"


def digest_of(content: object) -> str:
    """Hex SHA-256 of JSON content, keys sorted."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
