"""What a search has found for the compute that it spent, and what it costs to get there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.analysis.front import hypervolumes
from search.analysis.trial_frame import trial_frame
from search.objectives import metrics_of
from search.replay.run import Replayed
from search.replay.table import RecordedTable
from search.results import readings_of
from spaces.metrics import MetricRef
from spaces.space import Space

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
    """How the front of a replayed search grew with its compute."""
    frame = trial_frame(replayed.trials, replayed.study, space)
    ended = frame.dropna(subset=["finished_at"]).sort_values("finished_at", kind="stable")
    spent = replayed.study_cpu_s + ended["compute_s"].cumsum()
    found = hypervolumes(ended, space.objectives, reference, most=len(ended))
    at = spent.to_numpy(float)[np.searchsorted(ended["finished_at"], found["finished_at"])]
    return Growth(at, found["hypervolume"].to_numpy(float))
