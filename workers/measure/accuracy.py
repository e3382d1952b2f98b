"""Word and character errors of an exported file, decoded utterance by utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from workers.data.word_errors import utterance_errors
from workers.measure.bootstrap import rate_interval

_RESAMPLES = 2000


@dataclass(frozen=True)
class Accuracy:
    """Error rates are fractions of the words (or characters) that were said."""

    wer: float
    wer_low: float  # 95 % interval by bootstrap over utterances
    wer_high: float
    cer: float
    n_words: int
    substitutions: int
    deletions: int
    insertions: int
    word_precision: float
    word_recall: float
    word_f1: float
    empty_share: float  # utterances with words for which nothing was written
    worse_share: float | None  # utterances with more errors than the teacher makes
    qoi: float | None  # the others: quality of inference, as WhisperKit calls it


def accuracy(
    references: Sequence[str], texts: Sequence[str], teacher_texts: Sequence[str] | None = None
) -> Accuracy:
    """Score texts against what was said.

    Precision counts right words among those written, recall among those said.
    """
    words = jiwer.process_words(list(references), list(texts))
    errors = utterance_errors(references, texts)
    lengths = np.array([len(r.split()) for r in references])
    low, high = rate_interval(errors, lengths, _RESAMPLES)
    n_written = words.hits + words.substitutions + words.insertions
    n_said = words.hits + words.substitutions + words.deletions
    precision = words.hits / n_written if n_written else 0.0
    recall = words.hits / n_said
    worse = None
    if teacher_texts is not None:
        worse = float(np.mean(errors > utterance_errors(references, teacher_texts)))
    return Accuracy(
        wer=float(words.wer),
        wer_low=low,
        wer_high=high,
        cer=float(jiwer.cer(list(references), list(texts))),
        n_words=n_said,
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        word_precision=precision,
        word_recall=recall,
        word_f1=2 * precision * recall / (precision + recall) if words.hits else 0.0,
        empty_share=float(np.mean([not t for t in texts])),
        worse_share=worse,
        qoi=None if worse is None else 1 - worse,
    )
