"""A recipe: one point of a space. Frozen, hashable, JSON both ways."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from spaces.families import StudentDims
from spaces.record import Record

Scheme = Literal["fp32", "fp16", "int8", "int8_dynamic", "int8_static", "int4"]
PARTS = ("frontend", "encoder", "head")


class Distil(Record):
    """How a student learns from the teacher.

    The loss is (1 - weight) * CTC + weight * T^2 * KL(teacher || student) at temperature T
    (Hinton et al., arXiv 1503.02531); weight 0 turns distillation off.
    """

    weight: Annotated[float, Field(ge=0, le=1)] = 0.67
    temperature: Annotated[float, Field(gt=0, le=20)] = 1.0
    hidden_weight: Annotated[float, Field(ge=0, le=10)] = 0.0


class Training(Record):
    """How long and how gently a student is trained.

    `consistency` is the weight of CR-CTC (arXiv 2410.05101): two augmented copies of a batch that
    should agree. It doubles the work of a step and was the best buy for a teacher on little data.
    """

    epochs: Annotated[int, Field(ge=1, le=10_000)] = 40
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    batch_s: Annotated[float, Field(gt=0, le=3600)] = 32.0
    augment: Annotated[float, Field(ge=0, le=2)] = 1.0
    intermediate_ctc: Annotated[float, Field(ge=0, lt=1)] = 0.0
    consistency: Annotated[float, Field(ge=0, le=2)] = 0.0


class Prune(Record):
    """Structured pruning: the share of every prunable width to remove, by which rule units are
    kept, then re-training."""

    ratio: Annotated[float, Field(ge=0, lt=0.95)] = 0.0
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 10
    rule: str = "l1"


class Quantize(Record):
    """Number format of each part of the network. `int8` leaves its mode to the runtime."""

    frontend: Scheme = "fp32"
    encoder: Scheme = "fp32"
    head: Scheme = "fp32"

    @property
    def formats(self) -> tuple[str, str, str]:
        return (self.frontend, self.encoder, self.head)

    def label(self) -> str:
        """The format, where all parts have one."""
        return self.encoder if len(set(self.formats)) == 1 else f"mixed {self.encoder}"


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

    def content(self) -> dict[str, JsonValue]:
        """As JSON. What later versions added is left out where it changes nothing, so that a
        recipe is written, and has the digest, as older studies know it."""
        content = self.model_dump(mode="json")
        if not self.student.is_trained:
            return {name: content[name] for name in ("student", "quantize")}
        if not self.losses:
            del content["losses"]
        if self.prune.rule == "l1":
            del content["prune"]["rule"]
        return content

    def digest(self) -> str:
        """Hex digest of the content; equal recipes have equal digests."""
        return digest_of(self.content())

    def label(self) -> str:
        """A few words for tables and file names: how a trial is called everywhere."""
        prune = f" -{self.prune.ratio:.0%}" if self.prune.ratio else ""
        return f"{self.student.label()}{prune} {self.quantize.label()}"


def digest_of(content: object) -> str:
    """Hex SHA-256 of JSON content, keys sorted."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
