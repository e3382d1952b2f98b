"""Who makes the fewest errors under limits, how sure that is, and what going smaller costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.analysis.pick import Limit, fits, nearest_misses
from search.errors import UsageFault
from search.policy import policy_of
from search.results import TrialResults
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Study, TrialState
from storage.store import Store
from workers.results import ScoreResult

_DRAWS = 5000
_PERCENTILES = (2.5, 97.5)
_MOST = 40  # trials whose errors are read: who makes more than these is not the best
_MOST_CHEAPER = 4
_NEAR = 0.05  # a time so near to its limit may be beyond it at another hour


@dataclass(frozen=True)
class Candidate:
    """A trial that may be shipped.

    `chance` is the share of dev sets, drawn anew from the utterances, on which it makes the fewest
    errors of the candidates; None for one that is no candidate. `difference` is its WER less that
    of the first, with a 95 % interval over the same utterances.
    """

    number: int
    label: str
    wer: float
    size_mb: float | None
    chance: float | None
    difference: float
    low: float
    high: float

    @property
    def is_tied(self) -> bool:
        """Whether it cannot be told from the first."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Choice:
    """The trials within limits by their word errors, the first of them with the fewest.

    `cheaper` are members of the front that are smaller than it, whatever the limits on errors.
    `near` are timed limits that the first meets by less than times vary from hour to hour.
    """

    candidates: tuple[Candidate, ...]
    cheaper: tuple[Candidate, ...]
    near: tuple[str, ...]
    n_within: int
    n_complete: int
    n_words: int
    n_utterances: int

    @property
    def first(self) -> Candidate:
        return self.candidates[0]

    @property
    def ties(self) -> tuple[Candidate, ...]:
        """The others that cannot be told from the first."""
        return tuple(c for c in self.candidates[1:] if c.is_tied)


def choose(
    store: Store,
    study: Study,
    space: Space,
    frame: pd.DataFrame,
    limits: Sequence[Limit],
    target: str | None = None,
) -> Choice:
    """Choose among the complete trials of a study.

    Args:
        frame: its trials (`search.analysis.trial_frame`).
        target: whose word errors and sizes count; the first by default.

    Raises:
        UsageFault: when no trial is within the limits, naming the nearest misses.
    """
    wer, size_mb = MetricRef("wer", target or ""), MetricRef("size_mb", target or "")
    complete = frame[frame["state"] == TrialState.COMPLETE]
    within = complete[fits(complete, limits)]
    if target is not None and (wer not in complete or complete[wer].isna().all()):
        raise UsageFault(f"no complete trial of {study.name} was measured on {target}")
    within = within.dropna(subset=[wer]) if wer in within else within[:0]
    if within.empty:
        raise UsageFault(_nothing(study, complete, limits))
    best = within.nsmallest(_MOST, wer)
    first = best.iloc[0]
    front = complete[complete["on_front"] & (complete[size_mb] < first[size_mb])]
    cheaper = front.dropna(subset=[wer]).nlargest(_MOST_CHEAPER, size_mb)
    scores = _Scores(store, study, _label(space, target or space.first_target))
    return Choice(
        candidates=_candidates(best, wer, size_mb, scores),
        cheaper=_candidates(cheaper, wer, size_mb, scores, against=int(first["number"])),
        near=near_limits(limits, first),
        n_within=len(within),
        n_complete=len(complete),
        n_words=int(scores.words(int(first["number"])).sum()),
        n_utterances=len(scores.words(int(first["number"]))),
    )


def _nothing(study: Study, complete: pd.DataFrame, limits: Sequence[Limit]) -> str:
    if complete.empty:
        return "the study has no complete trial yet"
    asked = " and ".join(f"{m.metric} {m.sign} {m.value:g}" for m in limits)
    misses = "; ".join(nearest_misses(complete, limits))
    return (
        f"no complete trial meets {asked} ({misses}); more trials may: "
        f"search extend {study.name} --trials 20{_towards(study, limits)}"
    )


def _towards(study: Study, limits: Sequence[Limit]) -> str:
    """The options that let added trials look where limits are met, as far as they can."""
    timed_decides = policy_of(study.deterministic).timed_decides
    return "".join(
        f" --towards {m.metric}={m.value:g}"
        for m in limits
        if m.sign.startswith(">") == m.metric.known.higher_is_better
        and m.metric.target not in study.added_targets
        and (timed_decides or not m.metric.known.noisy)
    )


def _label(space: Space, target: str) -> str:
    """The runtime whose errors count."""
    return next(r.label for r in space.runtimes() if target in r.targets)


class _Scores:
    """Errors of trials utterance by utterance, read when they are first needed."""

    def __init__(self, store: Store, study: Study, label: str) -> None:
        self._store, self._study, self._label = store, study, label
        self._read: dict[int, ScoreResult] = {}

    def _score(self, number: int) -> ScoreResult:
        if number not in self._read:
            results = TrialResults.of(self._store.stage_runs.of(self._study.id, number))
            score = results.score(self._label)
            if score is None or not score.errors:
                raise UsageFault(f"trial {number}: its word errors were not kept by utterance")
            self._read[number] = score
        return self._read[number]

    def errors(self, number: int) -> np.ndarray:
        """float [utterances]."""
        return np.array(self._score(number).errors, float)

    def words(self, number: int) -> np.ndarray:
        """float [utterances]."""
        return np.maximum(np.array(self._score(number).words, float), 0)


def _candidates(
    trials: pd.DataFrame,
    wer: MetricRef,
    size_mb: MetricRef,
    scores: _Scores,
    against: int | None = None,
) -> tuple[Candidate, ...]:
    """Trials beside the first of them, or beside another that they are no candidates with."""
    numbers = [int(n) for n in trials["number"]]
    if not numbers:
        return ()
    first = numbers[0] if against is None else against
    words = scores.words(first)
    drawn = _Drawn(np.array([scores.errors(n) for n in (first, *numbers)]), words)
    chances, out = drawn.chances, []
    for place, (_, row) in enumerate(trials.iterrows(), 1):
        low, high = drawn.difference(place)
        errors = scores.errors(numbers[place - 1]) - scores.errors(first)
        out.append(
            Candidate(
                number=numbers[place - 1],
                label=str(row["label"]),
                wer=float(row[wer]),
                size_mb=None if pd.isna(row[size_mb]) else float(row[size_mb]),
                chance=chances[place - 1] if against is None else None,
                difference=float(errors.sum() / words.sum()),
                low=low,
                high=high,
            )
        )
    return tuple(out)


class _Drawn:
    """Dev sets drawn anew from the utterances (Bisani and Ney, ICASSP 2004), the same for all.

    Args:
        errors: float [1 + trials, utterances], the first what the others are compared with.
        words: float [utterances].
    """

    def __init__(self, errors: np.ndarray, words: np.ndarray) -> None:
        n = len(words)
        counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), _DRAWS)
        self._errors, self._words = counts @ errors.T, counts @ words  # [draws, …]

    @property
    def chances(self) -> list[float]:
        """How often each of the trials makes the fewest errors of them; ties are shared."""
        totals = self._errors[:, 1:]
        is_least = totals == totals.min(axis=1, keepdims=True)
        shares = is_least / is_least.sum(axis=1, keepdims=True)
        return [float(share) for share in shares.mean(axis=0)]

    def difference(self, place: int) -> tuple[float, float]:
        """95 % interval of the WER of one less that of the first."""
        apart = (self._errors[:, place] - self._errors[:, 0]) / self._words
        low, high = np.percentile(apart, _PERCENTILES)
        return float(low), float(high)


def near_limits(limits: Sequence[Limit], row: pd.Series) -> tuple[str, ...]:
    """Timed limits that a trial meets by less than times vary from hour to hour."""
    return tuple(str(limit.metric) for limit in limits if _is_near(limit, row))


def _is_near(limit: Limit, row: pd.Series) -> bool:
    if not limit.metric.known.noisy or limit.metric not in row:
        return False
    return abs(float(row[limit.metric]) - limit.value) <= _NEAR * abs(limit.value)
