"""The big network: trained here, or brought along."""

from __future__ import annotations

from pydantic import model_validator

from spaces.families import SeparableConv, StudentDims
from spaces.recipe import Training
from spaces.record import Record


class TeacherTraining(Record):
    """A teacher that the service trains itself; by default the net that learned best from
    little data: wide separable convolutions, two consistent views of every batch."""

    student: StudentDims = SeparableConv(channels=256, blocks=8, expand=3.0, dropout=0.2)
    """family and dimensions of the network"""
    training: Training = Training(
        epochs=40, learning_rate=3e-3, intermediate_ctc=0.3, consistency=0.2
    )
    """as under `training:`, fixed values"""


class TeacherSource(Record):
    """The big network: trained here, or brought along. Exactly one key."""

    train: TeacherTraining | None = None
    """train one here: `{}`, or its network and training"""
    checkpoint: str | None = None
    """a checkpoint of this program (safetensors)"""
    onnx: str | None = None
    """an ONNX CTC model with sherpa-onnx's inputs"""
    tokens: str | None = None
    """the tokens.txt of `onnx:`"""
    huggingface: str | None = None
    """a CTC model: a local folder, or a name on the hub (extra `hf`)"""
    torchaudio: str | None = None
    """a CTC pipeline, such as WAV2VEC2_ASR_BASE_960H"""

    @model_validator(mode="after")
    def _exactly_one(self) -> TeacherSource:
        kinds = ("train", "checkpoint", "onnx", "huggingface", "torchaudio")
        given = [k for k in kinds if getattr(self, k) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(kinds)}; has {has}")
        if (self.tokens is not None) != (self.onnx is not None):
            raise ValueError("onnx: and tokens: (its tokens.txt) go together")
        return self

    def source(self) -> str:
        for kind in ("checkpoint", "onnx", "huggingface", "torchaudio"):
            value = getattr(self, kind)
            if value is not None:
                return f"{kind} {value}"
        assert self.train is not None
        return f"trained here: {self.train.student.family}"
