"""Word errors, utterance by utterance."""

from __future__ import annotations

from collections.abc import Sequence

import jiwer
import numpy as np


def utterance_errors(references: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """int64 [n]: word errors of each utterance."""
    counts = []
    for reference, text in zip(references, texts, strict=True):
        aligned = jiwer.process_words(reference, text)
        counts.append(aligned.substitutions + aligned.deletions + aligned.insertions)
    return np.array(counts)
