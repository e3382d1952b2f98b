"""Which transcripts of unlabelled audio are learnt from.

There is no reference to compare them with; what is wrong with them shows in themselves. The bounds
are taken from the transcripts that there are: how fast people speak there, how often a word stands
in a row. A transcript in another language or script cannot be written in the students' tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from workers.data.text import Tokenizer, Unencodable
from workers.data.utterances import Utterance
from workers.teachers.rate import output_steps

_SLACK = 1.3  # beyond the slowest and fastest hundredth of the references
_LEAST_IN_A_ROW = 3  # "no no no" is said, whatever the references hold
_LONGEST_PHRASE = 4


@dataclass(frozen=True)
class Bounds:
    """What references look like: letters a second, how often a word or phrase follows itself."""

    slowest: float
    fastest: float
    most_in_a_row: int

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> Bounds:
        """Those of transcribed speech."""
        rates = [_letters(u.text) / u.seconds for u in utterances]
        slowest, fastest = np.percentile(rates, [1, 99])
        in_a_row = max((in_a_row_of(u.text) for u in utterances), default=0)
        return cls(slowest / _SLACK, fastest * _SLACK, max(_LEAST_IN_A_ROW, in_a_row))


def why_not(
    text: str, utterance: Utterance, bounds: Bounds, tokenizer: Tokenizer, factor: int
) -> str | None:
    """Why a transcript is not learnt from; None where it is.

    Args:
        factor: by which the students subsample: a transcript has to fit their frames.
    """
    if not text.strip():
        return "empty"
    try:
        ids = tokenizer.encode(text)
    except Unencodable:
        return "in other letters"
    rate = _letters(text) / utterance.seconds
    if not bounds.slowest <= rate <= bounds.fastest:
        return "too long or short"
    if in_a_row_of(text) > bounds.most_in_a_row:
        return "repeating itself"
    repeats = sum(a == b for a, b in itertools.pairwise(ids))
    if len(ids) + repeats > output_steps(utterance.at[0][1], factor):
        return "too long or short"
    return None


def in_a_row_of(text: str) -> int:
    """How often the word or phrase of up to four words that follows itself most often does so."""
    words = text.split()
    return max((_in_a_row(words, n) for n in range(1, _LONGEST_PHRASE + 1)), default=0)


def _in_a_row(words: Sequence[str], n: int) -> int:
    most = count = int(len(words) >= n)
    place = n
    while place + n <= len(words):
        if words[place : place + n] == words[place - n : place]:
            count += 1
            place += n
        else:
            count = 1
            place += 1
        most = max(most, count)
    return most


def _letters(text: str) -> int:
    return sum(not c.isspace() for c in text)


def counted(reasons: Iterable[str]) -> dict[str, int]:
    """How often each reason was given, the most frequent first."""
    found: dict[str, int] = {}
    for reason in reasons:
        found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))
