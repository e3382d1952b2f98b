"""Word and character errors, utterance by utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np


@dataclass(frozen=True)
class Edits:
    """What makes one text of another, in words."""

    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def utterance_edits(references: Sequence[str], texts: Sequence[str]) -> list[Edits]:
    """Word edits of each utterance."""
    aligned = [jiwer.process_words(r, t) for r, t in zip(references, texts, strict=True)]
    return [Edits(a.substitutions, a.deletions, a.insertions) for a in aligned]


def utterance_errors(references: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """int64 [n]: word errors of each utterance."""
    return np.array([edits.errors for edits in utterance_edits(references, texts)])


def character_errors(references: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """int64 [n]: wrong characters of each utterance."""
    aligned = [jiwer.process_characters(r, t) for r, t in zip(references, texts, strict=True)]
    return np.array([a.substitutions + a.deletions + a.insertions for a in aligned])
