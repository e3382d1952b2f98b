"""The big network: trained here, or brought along."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from spaces.families import Dims, SeparableConv, StudentDims
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

    @field_validator("student")
    @classmethod
    def _can_be_trained(cls, student: Dims) -> Dims:
        if not student.is_trained:
            raise ValueError(f"{student.family} is no network that could be trained")
        if student.written_per_frame > 1:
            raise ValueError(
                f"{student.family} writes tokens, not what it makes of each frame, which students "
                "would follow; take a family with CTC"
            )
        return student

    @field_validator("training")
    @classmethod
    def _has_no_teacher(cls, training: Training) -> Training:
        if training.start == "teacher":
            raise ValueError("start: a teacher has none to begin as a part of")
        return training


_AUDIO = "{audio}"  # stands in a command for the path of what is to be transcribed
TeacherKind = Literal[
    "train", "checkpoint", "onnx", "waveform", "huggingface", "torchaudio", "sherpa", "command"
]
TEACHER_KINDS: tuple[TeacherKind, ...] = get_args(TeacherKind)
_OF_TEXT = ("huggingface", "sherpa")  # kinds that may be told a language


class TeacherSource(Record):
    """The big network: trained here, or brought along. Exactly one of the keys up to `command`."""

    train: TeacherTraining | None = None
    """train one here: `{}`, or its network and training"""
    checkpoint: str | None = None
    """a checkpoint of this program (safetensors)"""
    onnx: str | None = None
    """an ONNX CTC model with sherpa-onnx's inputs"""
    waveform: str | None = None
    """an ONNX CTC model on raw samples, as wav2vec 2.0 and HuBERT are exported"""
    tokens: str | None = None
    """the tokens.txt of `onnx:` or `waveform:`; of the latter a vocab.json will do"""
    huggingface: str | None = None
    """a CTC model, or one with a decoder (Whisper, Moonshine, Speech2Text): a local folder, or a
    name on the hub (extra `hf`)"""
    torchaudio: str | None = None
    """a CTC pipeline, such as WAV2VEC2_ASR_BASE_960H"""
    sherpa: str | None = None
    """a folder of an offline model of sherpa-onnx (extra `sherpa`)"""
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    """any program, as `["my-asr", "{audio}"]`: prints on one line what a WAV file says"""
    language: str | None = Field(default=None, min_length=2, max_length=20)
    """told to models that know several, such as `en`"""
    top_k: int | None = Field(default=None, ge=2, le=1024)
    """keep so many log-probabilities of each frame; by default all, and 16 where all would take
    over 20 GB"""
    at_once: int | None = Field(default=None, ge=1, le=64)
    """processes of `command` at the same time (default 1)"""
    time_limit_s: float | None = Field(default=None, gt=0, le=3600)
    """of one call of `command` (default 60)"""
    as_recorded: bool = False
    """`waveform:` is given samples as they are; else at mean 0 and variance 1, as most expect"""
    also: tuple[TeacherSource, ...] = Field(default=(), max_length=7)
    """further teachers, which only teach: a list of these same keys"""

    @model_validator(mode="after")
    def _exactly_one(self) -> TeacherSource:
        given = [k for k in TEACHER_KINDS if getattr(self, k) is not None]
        if len(given) != 1:
            has = " and ".join(given) or "none"
            raise ValueError(f"needs exactly one of {', '.join(TEACHER_KINDS)}; has {has}")
        if (self.tokens is not None) != (given[0] in ("onnx", "waveform")):
            raise ValueError("onnx: or waveform: and tokens: (its tokens.txt) go together")
        if self.as_recorded and self.waveform is None:
            raise ValueError("as_recorded: is of waveform:")
        if self.language is not None and given[0] not in _OF_TEXT:
            raise ValueError(f"language: is told to {' and '.join(_OF_TEXT)} only")
        if self.command is None and (self.at_once, self.time_limit_s) != (None, None):
            raise ValueError("at_once: and time_limit_s: are of command:")
        if self.command is not None and not any(_AUDIO in part for part in self.command[1:]):
            raise ValueError(
                f'command: has no "{_AUDIO}" after the program, so it cannot know what to '
                f'transcribe: ["my-asr", "{_AUDIO}"]'
            )
        if any(other.train is not None or other.also for other in self.also):
            raise ValueError("also: holds teachers that are there already, none of which has more")
        return self

    @property
    def kind(self) -> TeacherKind:
        return next(k for k in TEACHER_KINDS if getattr(self, k) is not None)

    @property
    def has_file(self) -> bool:
        """Whether it is an ONNX file with the students' inputs, or becomes one."""
        return self.kind in ("train", "checkpoint", "onnx")

    def source(self) -> str:
        if self.train is not None:
            own = f"trained here: {self.train.student.family}"
        else:
            # of a command not what comes after the program: there may be secrets
            name = self.command[0] if self.command is not None else getattr(self, self.kind)
            own = f"{self.kind} {name}"
        return "; ".join([own, *(other.source() for other in self.also)])


def command_for(command: tuple[str, ...], audio: str) -> list[str]:
    """The words of a command for one file; no shell sees them."""
    return [command[0], *(part.replace(_AUDIO, audio) for part in command[1:])]
