"""The contracts of a teacher: log-probabilities of every frame, or a text and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np


class TeacherOutput(NamedTuple):
    """What a teacher makes of an utterance."""

    log_probs: np.ndarray  # float32 [T', V of the teacher]
    hidden: np.ndarray | None  # float32 [T', C]
    halfway: np.ndarray | None = None  # float32 [T', C of it]: at half the depth


class Teacher(Protocol):
    """A network that transcribes speech frame by frame."""

    wants_samples: bool  # raw audio at 16 kHz instead of log-mels
    n_parameters: int | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol 0 is the blank; a word starts with ▁ or after the token ▁."""
        ...

    def infer(self, features: np.ndarray) -> TeacherOutput:
        """Run over features float32 [T, 80], or over samples float32 [n]."""
        ...


class Transcript(NamedTuple):
    """What a transcriber wrote of an utterance, or why it wrote nothing."""

    text: str
    fault: str | None = None


@runtime_checkable
class Transcriber(Protocol):
    """A model or a program that gives a text and nothing else: with a decoder, or anybody's."""

    n_parameters: int | None

    def transcribe(self, utterances: Iterable[np.ndarray]) -> Iterator[Transcript]:
        """The transcript of each utterance, samples float32 [n] at 16 kHz, in their order.

        Raises:
            TeacherFault: when nothing can be transcribed at all.
        """
        ...


AnyTeacher = Teacher | Transcriber
