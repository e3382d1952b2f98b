"""What a search has found for the compute that it spent, and what it costs to get there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from search.analysis.front import nondominated, shares, volume
from search.objectives import metrics_of
from search.replay.dev_view import TRUE_WER
from search.replay.run import Replayed
from search.replay.table import RecordedTable
from search.results import readings_of
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Trial, TrialState

Reference = dict[MetricRef, float]


@dataclass(frozen=True)
class Growth:
    """The hypervolume after each trial that ended, in the order of their ends, beside the CPU
    seconds spent until then, data and teacher included."""

    cpu_s: np.ndarray  # float [n], rising
    hypervolume: np.ndarray  # float [n]

    def at(self, cpu_s: float) -> float:
        """The hypervolume when so much was spent; 0 before the first trial."""
        place = int(np.searchsorted(self.cpu_s, cpu_s, side="right"))
        return float(self.hypervolume[place - 1]) if place else 0.0

    def cpu_s_to(self, hypervolume: float) -> float:
        """What was spent when so much was reached; infinite where it never was."""
        reached = np.flatnonzero(self.hypervolume >= hypervolume)
        return float(self.cpu_s[reached[0]]) if len(reached) else float("inf")


def reference_of(table: RecordedTable, space: Space) -> Reference:
    """Where every hypervolume on a table is seen from: the teacher's cost, every word wrong."""
    teacher = metrics_of(space, readings_of(space, table.study_results))
    return {o: 1.0 if o.name in ("wer", "cer") else teacher[o] for o in space.objectives}


def growth_of(replayed: Replayed, space: Space, reference: Reference) -> Growth:
    """How the front of a replayed search grew with its compute. Of a search that saw part of dev,
    those are taken that it holds for the front, and judged by all of dev."""
    trials = sorted((t for t in replayed.trials if t.finished_at), key=lambda t: t.finished_at or 0)
    spent = replayed.study_cpu_s + np.cumsum([t.compute_s for t in trials])
    told, true = (_points(trials, space, reference, name) for name in ("wer", TRUE_WER))
    values, front = np.zeros(len(trials)), np.zeros(0, int)
    for place in range(len(trials)):
        if np.isfinite(told[place]).all():
            front = np.append(front, place)
            front = front[nondominated(told[front])]
            values[place] = volume(true[front])
        elif place:
            values[place] = values[place - 1]
    return Growth(spent, values)


def _points(trials: Sequence[Trial], space: Space, reference: Reference, wer: str) -> np.ndarray:
    """float [trials, objectives], shares of the reference; NaN where a trial was not measured."""
    rows = []
    for trial in trials:
        metrics = dict(trial.metrics)
        metrics["wer"] = metrics.get(wer, metrics.get("wer", math.nan))
        is_known = trial.state is TrialState.COMPLETE
        rows.append([metrics.get(o, math.nan) if is_known else math.nan for o in space.objectives])
    columns = pd.DataFrame(rows, columns=list(space.objectives), dtype=float)
    return shares(columns, space.objectives, reference)
