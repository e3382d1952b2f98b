"""Is a difference between two students real?

Errors are compared utterance by utterance, times by what the two share: the frozen anchor that
was run in turn with each, or, taken anew, the very same processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy import stats

from search.errors import UsageFault
from search.results import TrialResults
from spaces.front_end import USUAL, FrontEnd
from storage.records import Study
from storage.store import Store
from workers.measure.bootstrap import CONFIDENCE, difference_interval, rate
from workers.measure.latency import median_over_utterances
from workers.results import MeasureResult

_RESAMPLES = 5000
# What restarts of one and the same file were seen to differ by: nothing smaller is called real.
RESTART_FLOOR = 0.015


@dataclass(frozen=True)
class Difference:
    """How much B is above A, with its 95 % interval; `is_real` if the interval excludes none.

    `relative` ones are shares of A, others are in the unit of the metric. `is_comparable` is false
    of times that were taken at different moments and not in quiet: their difference may be that of
    the moments, which no interval over either knows.
    """

    metric: str
    target: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    relative: bool
    how: str
    is_comparable: bool = True

    @property
    def is_real(self) -> bool:
        return self.is_comparable and bool(self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Side:
    """One of two things compared, with the results of its stages."""

    name: str
    metrics: Mapping[str, float]
    results: TrialResults
    front_end: FrontEnd = USUAL


def side_of(store: Store, study: Study, text: str) -> Side:
    """A trial by its number, or the teacher.

    Raises:
        UsageFault: for anything else, or a trial that was not measured.
    """
    if text == "teacher":
        runs = store.stage_runs.of(study.id, None)
        return Side("teacher", study.teacher_metrics, TrialResults.of(runs))
    if not text.isdecimal():
        raise UsageFault(f'"{text}" is neither the number of a trial nor "teacher"')
    trial = store.trials.get(study.id, int(text))
    results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
    if not results.scored and not results.measured:
        raise UsageFault(
            f"trial {trial.number} is {trial.state.replace('_', ' ')}: nothing of it was measured"
        )
    heard = FrontEnd.of_recipe(trial.recipe)
    return Side(f"trial {trial.number}", trial.metrics, results, heard)


def compare(a: Side, b: Side) -> list[Difference]:
    """Word errors of every runtime and times on every target that both were measured with."""
    out = []
    for label in a.results.scored:
        ours, theirs = a.results.score(label), b.results.score(label)
        if ours is not None and theirs is not None and ours.errors and theirs.errors:
            out.append(wer_difference(label, ours.errors, theirs.errors, ours.words))
    for target in a.results.measured:
        mine, other = a.results.measure(target), b.results.measure(target)
        if mine is not None and other is not None:
            out += _timed(target, mine, other)
    return out


def wer_difference(
    target: str, a: Sequence[int], b: Sequence[int], n_words: Sequence[int]
) -> Difference:
    """Of word errors by utterance, paired over utterances."""
    words = np.maximum(np.array(n_words), 0)
    errors = [np.array(side, float) for side in (a, b)]
    low, high = difference_interval(errors[0], errors[1], words, _RESAMPLES)
    wer_a, wer_b = (float(rate(e, words)) for e in errors)
    how = f"paired over {len(words)} utterances, {int(words.sum())} words"
    return Difference("wer", target, wer_a, wer_b, wer_b - wer_a, low, high, False, how)


def _timed(target: str, a: MeasureResult, b: MeasureResult) -> list[Difference]:
    out = []
    ours, theirs = _samples(a), _samples(b)
    unsteady = [name for name, side in (("A", a), ("B", b)) if side.unsteady]
    if "anchor_ratio" in ours and "anchor_ratio" in theirs:
        out.append(_by_anchor(target, ours["anchor_ratio"], theirs["anchor_ratio"]))
    n_utterances = len(a.utterances_s)
    has_runs = a.passes and b.passes and "latency_p50_ms" in ours and "latency_p50_ms" in theirs
    if n_utterances and has_runs:
        pair = [
            np.split(side["latency_p50_ms"].reshape(-1, n_utterances), np.cumsum(passes)[:-1])
            for side, passes in ((ours, a.passes), (theirs, b.passes))
        ]
        walls = [_by_wall(metric, target, pair[0], pair[1]) for metric in _WALL_TIMES]
        out += [replace(wall, is_comparable=not unsteady) for wall in walls]
    note = f"; {' and '.join(unsteady)} unsteady" if unsteady else ""
    return [replace(d, how=d.how + note) for d in out]


def _samples(result: MeasureResult) -> dict[str, np.ndarray]:
    return {r.metric: np.array(r.samples) for r in result.readings if r.samples is not None}


def _by_anchor(target: str, a: np.ndarray, b: np.ndarray) -> Difference:
    """By the ratios that each restart found."""
    how = f"CPU time of the network over the anchor's, {len(a)} and {len(b)} restarts"
    return _by_restart("anchor_ratio", target, a, b, how)


def _by_restart(metric: str, target: str, a: np.ndarray, b: np.ndarray, how: str) -> Difference:
    """Welch's test on the logarithms of what each restart found; of a single restart nothing can
    be told."""
    values = float(np.median(a)), float(np.median(b))
    middle = math.log(values[1] / values[0])
    low, high = -math.inf, math.inf
    if min(len(a), len(b)) > 1:
        test = stats.ttest_ind(np.log(b), np.log(a), equal_var=False)
        low, high = map(float, test.confidence_interval(CONFIDENCE))
    return _relative(metric, target, values, middle, low, high, how)


def _relative(
    metric: str,
    target: str,
    values: tuple[float, float],
    middle: float,
    low: float,
    high: float,
    how: str,
) -> Difference:
    """From logarithms to shares; the interval is at least as wide as restarts were seen to be."""
    low = min(low, middle - RESTART_FLOOR) if math.isfinite(low) else -math.inf
    high = max(high, middle + RESTART_FLOOR) if math.isfinite(high) else math.inf
    middle, low, high = (math.expm1(x) for x in (middle, low, high))
    return Difference(metric, target, *values, middle, low, high, True, how)


def _by_wall(
    metric: str, target: str, a: Sequence[np.ndarray], b: Sequence[np.ndarray]
) -> Difference:
    """By what each restart found, of samples [passes, utterances]: within a restart runs are
    alike, so that counting them all would find differences where there are none."""
    found = [np.array([_WALL_TIMES[metric](r) for r in side]) for side in (a, b)]
    n_a, n_b = (sum(r.size for r in side) for side in (a, b))
    how = f"wall time of the whole pipeline, {n_a} and {n_b} runs, different moments and loads"
    return _by_restart(metric, target, found[0], found[1], how)


def _p95(samples: np.ndarray) -> float:
    return float(np.percentile(samples, 95))


# What one restart says of each time.
_WALL_TIMES: Mapping[str, Callable[[np.ndarray], float]] = {
    "latency_p50_ms": median_over_utterances,
    "latency_p95_ms": _p95,
}


def paired_difference(
    target: str, ratios: Sequence[float], values: tuple[float, float]
) -> Difference:
    """The verdict of restarts in which both ran in turn: a t interval of the log ratios."""
    logs = np.log(ratios)
    middle = float(logs.mean())
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(logs) - 1) * stats.sem(logs))
    low, high = math.expm1(middle - half), math.expm1(middle + half)
    how = f"CPU time of the network, both run in turn in {len(logs)} processes"
    return Difference("graph_cpu_ms", target, *values, math.expm1(middle), low, high, True, how)


def as_json(found: Sequence[Difference]) -> str:
    """Differences for programs; an end that cannot be told is null."""
    rows = []
    for d in found:
        known = {k: None if v in (math.inf, -math.inf) else v for k, v in asdict(d).items()}
        rows.append({**known, "is_real": d.is_real})
    return json.dumps(rows, indent=1, default=float)
