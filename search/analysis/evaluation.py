"""What texts are worth beside transcripts: word and character errors, of all and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.analysis.compare import Difference, wer_difference
from workers.data.word_errors import Edits, character_errors, utterance_edits
from workers.measure.bootstrap import rate, rate_interval

_RESAMPLES = 2000
# Draws of fewer utterances say more of the draw than of the model.
LEAST_FOR_INTERVAL = 5
NO_SPEAKER = "(not given)"
_BANDS: tuple[tuple[Callable[[float], bool], str], ...] = (
    (lambda s: s < 2, "under 2 s"),
    (lambda s: s < 5, "2 to 5 s"),
    (lambda s: s < 10, "5 to 10 s"),
    (lambda s: s <= 20, "10 to 20 s"),
    (lambda _: True, "above 20 s"),
)


@dataclass(frozen=True)
class Spoken:
    """One transcribed utterance; `source` is where it is listed, `corpus` the list. It is the
    stretch of its audio from `offset_s` on, `listed_s` long, or to the end."""

    audio: str
    source: str
    corpus: str
    speaker: str | None
    duration_s: float
    reference: str  # not empty
    offset_s: float = 0.0
    listed_s: float | None = None


@dataclass(frozen=True)
class Rate:
    """Errors over what was said, with a 95 % interval by bootstrap over utterances; none of fewer
    than `LEAST_FOR_INTERVAL` utterances."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """Utterances that have something in common, and the word errors of a bundle on them."""

    kind: str  # corpus, duration or speaker
    name: str
    n_utterances: int
    n_words: int
    wer: Rate


@dataclass(frozen=True)
class Evaluation:
    """What a bundle wrote of each utterance, and what that comes to."""

    bundle: str
    texts: tuple[str, ...]
    edits: tuple[Edits, ...]
    n_words: tuple[int, ...]
    wer: Rate
    cer: Rate
    groups: tuple[Group, ...]

    @property
    def errors(self) -> tuple[int, ...]:
        """Word errors by utterance."""
        return tuple(e.errors for e in self.edits)

    def worst(self, most: int) -> list[int]:
        """Places of the utterances with the most word errors, of those that have some; of equal
        ones the shorter first."""
        wrong = [i for i, errors in enumerate(self.errors) if errors]
        return sorted(wrong, key=lambda i: (-self.errors[i], self.n_words[i]))[:most]


def evaluate(bundle: str, spoken: Sequence[Spoken], texts: Sequence[str]) -> Evaluation:
    """Score texts, normalised as the references are.

    Args:
        spoken: at least one.
    """
    references = [s.reference for s in spoken]
    edits = utterance_edits(references, texts)
    errors = np.array([e.errors for e in edits])
    n_words = np.array([len(r.split()) for r in references])
    n_characters = np.array([len(r) for r in references])
    groups = [
        _group(kind, name, np.array(places), errors, n_words)
        for kind, members in groups_of(spoken).items()
        for name, places in members.items()
    ]
    return Evaluation(
        bundle=bundle,
        texts=tuple(texts),
        edits=tuple(edits),
        n_words=tuple(n_words.tolist()),
        wer=_rate(errors, n_words),
        cer=_rate(character_errors(references, texts), n_characters),
        groups=tuple(groups),
    )


def groups_of(spoken: Sequence[Spoken]) -> dict[str, Mapping[str, list[int]]]:
    """Places of the utterances of each group, by kind and name. No kind of which there is one
    group only."""
    bands = _grouped([duration_band(s.duration_s) for s in spoken])
    in_order = {name: bands[name] for _, name in _BANDS if name in bands}
    speakers = _grouped([s.speaker or NO_SPEAKER for s in spoken])
    kinds = {
        "corpus": _grouped([s.corpus for s in spoken]),
        "duration": in_order,
        "speaker": dict(sorted(speakers.items())),
    }
    return {kind: members for kind, members in kinds.items() if len(members) > 1}


def duration_band(seconds: float) -> str:
    return next(name for is_in, name in _BANDS if is_in(seconds))


def differences(evaluations: Sequence[Evaluation]) -> list[Difference]:
    """Of each to the first, paired over utterances."""
    first = evaluations[0]
    return [
        wer_difference(other.bundle, first.errors, other.errors, first.n_words)
        for other in evaluations[1:]
    ]


def _grouped(names: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        members.setdefault(name, []).append(place)
    return members


def _group(
    kind: str, name: str, places: np.ndarray, errors: np.ndarray, n_words: np.ndarray
) -> Group:
    words = n_words[places]
    return Group(kind, name, len(places), int(words.sum()), _rate(errors[places], words))


def _rate(errors: np.ndarray, said: np.ndarray) -> Rate:
    value = float(rate(errors, said))
    if len(errors) < LEAST_FOR_INTERVAL:
        return Rate(value, None, None)
    return Rate(value, *rate_interval(errors, said, _RESAMPLES))
