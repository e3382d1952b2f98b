"""Where the transcribed audio is, and what the network writes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from spaces.record import Record
from spaces.space.names import Seed


def _as_tuple(raw: object) -> object:
    return (raw,) if isinstance(raw, str) else raw


Paths = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


VOICES = 85  # that the synthesiser tells apart


class Synthetic(Record):
    """The embedded spoken corpus: how much of it, and how hard."""

    train_utterances: Annotated[int, Field(ge=20, le=100_000)] = 600
    """utterances to train on"""
    dev_utterances: Annotated[int, Field(ge=5, le=20_000)] = 100
    """utterances to judge by"""
    test_utterances: Annotated[int, Field(ge=0, le=20_000)] = 0
    """utterances for `test`, by further voices; 0 is without"""
    speakers: Annotated[int, Field(ge=4, le=90)] = 24
    """voices, a fifth of them in dev only"""
    noise_snr_db: tuple[float, float] = (10.0, 40.0)
    """white noise, from so many to so many dB below the speech"""
    seed: Seed = 0
    """another seed speaks another corpus"""

    @property
    def n_dev_speakers(self) -> int:
        """Voices that are in dev only; as many others are in test only."""
        return max(2, min(self.speakers, VOICES) // 5)

    @model_validator(mode="after")
    def _has_voices(self) -> Synthetic:
        if self.test_utterances and self.speakers + self.n_dev_speakers > VOICES:
            raise ValueError(
                f"speakers: {self.speakers} leave too few of {VOICES} voices for test, which has "
                "voices of its own; 71 do"
            )
        return self

    @model_serializer(mode="wrap")
    def _content(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_empty(fields(self), "test_utterances")


class Data(Record):
    """Where the transcribed audio is, and what is done to it."""

    synthetic: Synthetic | None = None
    """the embedded spoken corpus: `{}`, or settings of it"""
    train: Paths | None = None
    """lists or folders to train on"""
    dev: Paths | None = None
    """lists or folders to judge by, of other speakers"""
    unlabelled: Paths | None = None
    """lists or folders of speech without transcripts: learnt from through the teacher"""
    test: Paths | None = None
    """lists or folders on which the front is scored once, at the end; of other speakers again"""
    format: Literal["auto", "jsonl", "librispeech", "timit", "csv", "lhotse"] = "auto"
    """where the name does not tell"""
    audio_column: str | None = None
    """of a CSV or TSV, where it is not one of the usual names"""
    text_column: str | None = None
    """the same for the transcript"""
    speaker_column: str | None = None
    """the same for the speaker"""
    lowercase: bool = True
    """transcripts are lower-cased"""
    remove_punctuation: bool = False
    """all punctuation but the apostrophe is dropped"""
    denoise: bool = False
    """training audio is cleaned first (extra `denoise`)"""
    speeds: Annotated[tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...], Field(min_length=1)] = (
        0.9,
        1.0,
        1.1,
    )
    """copies of the training audio at other speeds; 1.0 is one of them"""
    noise_snr_db: tuple[float, float] | None = None
    """further copies with white noise, from so many to so many dB below the speech"""
    max_faulty: Annotated[float, Field(ge=0, le=1)] = 0.01
    """share of faulty items above which nothing starts"""
    allow_shared_speakers: bool = False
    """speakers may be in several of train, dev and test"""
    max_duration_s: Annotated[float, Field(gt=0, le=600)] = 40.0
    """longer utterances are faults"""
    features: Literal["auto", "whole", "compact"] = "auto"
    """how training features are kept: `whole`: float32 of every copy; `compact`: 8 bits of the
    plain audio, from which the copies are made as batches are loaded; `auto` is `compact` where
    `whole` would take over 20 GB"""
    weights: tuple[Annotated[float, Field(gt=0, le=100)], ...] | None = None
    """how often an epoch holds the utterances of each list of `train`: 2.0 is twice, 0.5 every
    other epoch; by default all once"""

    @model_validator(mode="after")
    def _a_weight_a_list(self) -> Data:
        if self.weights is not None and len(self.weights) != len(self.train or ()):
            raise ValueError(
                f"weights: has {len(self.weights)} and train: {len(self.train or ())} lists; give "
                "each list a weight"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if self.synthetic is not None and (self.train or self.dev):
            raise ValueError("give either synthetic: or train: and dev:, not both")
        if self.synthetic is not None and self.test:
            raise ValueError("test: goes with train: and dev:; synthetic: has test_utterances:")
        if self.synthetic is None and not (self.train and self.dev):
            raise ValueError("needs train: and dev: (or synthetic: {} for the embedded corpus)")
        if 1.0 not in self.speeds:
            raise ValueError("speeds: must contain 1.0, the audio as it is")
        return self

    @model_serializer(mode="wrap")
    def _content(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = fields(self)
        for name in ("test", "unlabelled", "weights"):
            content = _without_empty(content, name)
        return {k: v for k, v in content.items() if (k, v) != ("features", "auto")}


def _without_empty(content: dict[str, Any], name: str) -> dict[str, Any]:
    """A field of later versions is left out where it asks for nothing: digests of what there was
    before it then stay as they were."""
    return {key: value for key, value in content.items() if key != name or value}


class Tokens(Record):
    """What the network writes: characters, whole words, or pieces of words."""

    kind: Literal["characters", "words", "bpe"] = "characters"
    """what the network writes"""
    vocabulary: Annotated[int, Field(ge=16, le=50_000)] | None = None
    """how many pieces; for `bpe` only"""

    @model_validator(mode="after")
    def _bpe_size(self) -> Tokens:
        if self.kind == "bpe" and self.vocabulary is None:
            raise ValueError("kind: bpe needs vocabulary:, the number of pieces")
        if self.kind != "bpe" and self.vocabulary is not None:
            raise ValueError(f"vocabulary: is for kind: bpe, not for {self.kind}")
        return self
