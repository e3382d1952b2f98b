"""ROVER: one transcript from several by vote (Fiscus, ASRU 1997).

Transcripts are aligned one after another into a row of slots, each of which holds the words that
stand there by one transcript each; the most frequent word of a slot is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_NOTHING = ""  # a transcript that has no word in a slot
_Slot = list[str]


def rover(texts: Sequence[str]) -> str:
    """The words that most transcripts have at their place. Where as many have one as another, that
    of the earlier transcript is written: give the best first."""
    slots: list[_Slot] = []
    for n_before, text in enumerate(texts):
        slots = _aligned(slots, text.split(), n_before)
    return " ".join(word for slot in slots if (word := _voted(slot)) != _NOTHING)


def _voted(slot: _Slot) -> str:
    counts = Counter(slot)
    most = max(counts.values())
    return next(word for word in slot if counts[word] == most)


def _aligned(slots: list[_Slot], words: list[str], n_before: int) -> list[_Slot]:
    """The slots with another transcript in them, at the fewest edits.

    Args:
        n_before: transcripts that are in the slots already.
    """
    costs = _costs(slots, words)
    i, j = len(slots), len(words)
    made: list[_Slot] = []
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (words[j - 1] not in slots[i - 1]):
            made.append([*slots[i - 1], words[j - 1]])
            i, j = i - 1, j - 1
        elif i and costs[i][j] == costs[i - 1][j] + (_NOTHING not in slots[i - 1]):
            made.append([*slots[i - 1], _NOTHING])
            i -= 1
        else:
            made.append([_NOTHING] * n_before + [words[j - 1]])
            j -= 1
    return made[::-1]


def _costs(slots: list[_Slot], words: list[str]) -> list[list[int]]:
    """Edits [slots + 1][words + 1] from the beginnings of both."""
    costs = [list(range(len(words) + 1))]
    for slot in slots:
        row = [costs[-1][0] + (_NOTHING not in slot)]
        for j, word in enumerate(words):
            swap = costs[-1][j] + (word not in slot)
            row.append(min(swap, costs[-1][j + 1] + (_NOTHING not in slot), row[j] + 1))
        costs.append(row)
    return costs
