"""Is a difference between two students real?

Errors are compared utterance by utterance, times by what the two share: the frozen anchor that
was run in turn with each, or, taken anew, the very same processes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from search.errors import UsageFault
from storage.records import StageRun, Study, Trial
from storage.store import Store
from workers.measure.latency import median_over_utterances

_RESAMPLES = 5000
_CONFIDENCE = 0.95
# What restarts of one and the same file were seen to differ by: nothing smaller is called real.
RESTART_FLOOR = 0.015


@dataclass(frozen=True)
class Difference:
    """How much B is above A, with its 95 % interval; `is_real` if the interval excludes none.

    `relative` ones are shares of A, others are in the unit of the metric.
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

    @property
    def is_real(self) -> bool:
        return bool(self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Side:
    """One of two things compared, with the results of its stages by name."""

    name: str
    metrics: dict[str, float]
    results: dict[str, dict[str, Any]]


def side_of(store: Store, study: Study, text: str) -> Side:
    """A trial by its number, or the teacher.

    Raises:
        UsageFault: for anything else, or a trial that was not measured.
    """
    if text == "teacher":
        runs = store.stage_runs(study.id, None)
        return Side("teacher", dict(study.facts.get("teacher", {})), _latest(runs))
    if not text.isdecimal():
        raise UsageFault(f'"{text}" is neither the number of a trial nor "teacher"')
    trial: Trial = store.trial(study.id, int(text))
    runs = store.stage_runs(study.id, trial.number)
    results = _latest(runs)
    if not any(name.startswith(("score@", "measure@")) for name in results):
        raise UsageFault(
            f"trial {trial.number} is {trial.state.replace('_', ' ')}: nothing of it was measured"
        )
    return Side(f"trial {trial.number}", dict(trial.metrics), results)


def _latest(runs: Sequence[StageRun]) -> dict[str, dict[str, Any]]:
    return {run.stage: dict(run.result) for run in runs if run.state != "failed"}


def compare(a: Side, b: Side) -> list[Difference]:
    """Word errors of every runtime and times on every target that both were measured with."""
    out = []
    for name in [n for n in a.results if n in b.results]:
        kind, _, target = name.partition("@")
        ours, theirs = a.results[name], b.results[name]
        if kind == "score" and "errors" in ours["facts"] and "errors" in theirs["facts"]:
            out.append(_wer(target, ours["facts"], theirs["facts"]))
        if kind == "measure":
            out += _timed(target, ours, theirs)
    return out


def _wer(target: str, a: dict[str, Any], b: dict[str, Any]) -> Difference:
    """Paired bootstrap over utterances (Bisani and Ney, ICASSP 2004)."""
    words = np.maximum(np.array(a["words"]), 0)
    errors = np.array([a["errors"], b["errors"]], float)
    rng = np.random.default_rng(0)
    rates = np.empty((2, _RESAMPLES))
    for i in range(_RESAMPLES):  # one by one: all draws of a large set at once take gigabytes
        drawn = rng.integers(0, len(words), len(words))
        rates[:, i] = errors[:, drawn].sum(-1) / max(1, words[drawn].sum())
    low, high = np.percentile(rates[1] - rates[0], _tails())
    wer_a, wer_b = (float(e.sum() / max(1, words.sum())) for e in errors)
    how = f"paired over {len(words)} utterances, {int(words.sum())} words"
    return Difference("wer", target, wer_a, wer_b, wer_b - wer_a, low, high, False, how)


def _tails() -> tuple[float, float]:
    tail = (1 - _CONFIDENCE) / 2 * 100
    return tail, 100 - tail


def _timed(target: str, a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    out = []
    ours, theirs = _samples(a), _samples(b)
    if "anchor_ratio" in ours and "anchor_ratio" in theirs:
        out.append(_by_anchor(target, ours["anchor_ratio"], theirs["anchor_ratio"]))
    n_utterances = len(a["facts"].get("utterances_s", ()))
    passes = a["facts"].get("passes"), b["facts"].get("passes")
    if n_utterances and all(passes) and "latency_p50_ms" in ours and "latency_p50_ms" in theirs:
        pair = [
            np.split(side["latency_p50_ms"].reshape(-1, n_utterances), np.cumsum(of)[:-1])
            for side, of in zip((ours, theirs), passes, strict=True)
        ]
        out.append(_by_wall(target, pair[0], pair[1]))
    shaky = [name for name, side in (("A", a), ("B", b)) if side["facts"].get("unsteady")]
    said = f"; {' and '.join(shaky)} unsteady" if shaky else ""
    return [replace(d, how=d.how + said) for d in out]


def _samples(result: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        f["metric"]: np.array(f["samples"]) for f in result["figures"] if f["samples"] is not None
    }


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
        low, high = map(float, test.confidence_interval(_CONFIDENCE))
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


def _by_wall(target: str, a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> Difference:
    """By the median of each restart, of samples [passes, utterances]: within a restart runs are
    alike, so that counting them all would find differences where there are none."""
    medians = [np.array([median_over_utterances(r) for r in side]) for side in (a, b)]
    n_a, n_b = (sum(r.size for r in side) for side in (a, b))
    how = f"wall time of the whole pipeline, {n_a} and {n_b} runs, different moments and loads"
    return _by_restart("latency_p50_ms", target, medians[0], medians[1], how)


def taken_together(target: str, ratios: Sequence[float], values: tuple[float, float]) -> Difference:
    """The verdict of restarts in which both ran in turn: a t interval of the log ratios."""
    logs = np.log(ratios)
    middle = float(logs.mean())
    half = float(stats.t.ppf(0.5 + _CONFIDENCE / 2, len(logs) - 1) * stats.sem(logs))
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
