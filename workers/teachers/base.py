"""The contract of a teacher: it infers an utterance and gives log-probabilities."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class TeacherOutput(NamedTuple):
    """What a teacher makes of an utterance."""

    log_probs: np.ndarray  # float32 [T', V of the teacher]
    hidden: np.ndarray | None  # float32 [T', C]


class Teacher(Protocol):
    """A network that transcribes speech."""

    wants_samples: bool  # raw audio at 16 kHz instead of log-mels
    n_parameters: int | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol 0 is the blank; a word starts with ▁ or after the token ▁."""
        ...

    def infer(self, features: np.ndarray) -> TeacherOutput:
        """Run over features float32 [T, 80], or over samples float32 [n]."""
        ...
