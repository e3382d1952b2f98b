"""The front: trials that nothing beats in every objective, as far as their figures tell; its knee,
and how much it dominates.

Everything is told by a frame of trials (`search.analysis.trial_frame`); columns are metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import moocore
import numpy as np
import pandas as pd

from search.analysis.front_chance import front_chances
from search.objectives import judged_metrics, signs
from search.policy import AS_MEASURED, Policy
from spaces.metrics import MetricRef
from storage.records import TrialState


def nondominated(points: np.ndarray) -> np.ndarray:
    """bool [n]: which of points [n, objectives], all to be minimised, nothing beats. Of equal
    points the first is kept."""
    found: np.ndarray = moocore.is_nondominated(points)
    return found


def front_numbers(
    frame: pd.DataFrame, objectives: Sequence[MetricRef], policy: Policy = AS_MEASURED
) -> list[int]:
    """Numbers of the complete trials that more likely than not nothing beats, by the first
    objective; the likeliest where no trial is."""
    names = judged_metrics(objectives, policy)
    chances = chances_on_front(frame, objectives, policy)
    if chances.empty:
        return []
    best = frame.set_index("number").loc[members_of(chances)]
    order = np.lexsort(_minimised(best, names).T[::-1])
    return [int(n) for n in best.index.to_numpy()[order]]


def members_of(chances: pd.Series) -> list[int]:
    """Who is on the front, from how likely each is."""
    if chances.empty:
        return []
    return [int(n) for n in chances[chances > min(0.5, chances.max() - 1e-9)].index]


def chances_on_front(
    frame: pd.DataFrame, objectives: Sequence[MetricRef], policy: Policy = AS_MEASURED
) -> pd.Series:
    """How likely nothing beats each complete trial (`search.analysis.front_chance`), by number."""
    names = judged_metrics(objectives, policy)
    if frame.empty or any(n not in frame for n in names):
        return pd.Series(dtype=float)
    known = frame[frame["state"] == TrialState.COMPLETE].dropna(subset=list(dict.fromkeys(names)))
    return pd.Series(front_chances(known, names), index=known["number"])


def _minimised(frame: pd.DataFrame, names: Sequence[MetricRef]) -> np.ndarray:
    """float [n, objectives], all to be minimised."""
    return frame[list(names)].to_numpy(float) * signs(names)


def knee_number(
    frame: pd.DataFrame, objectives: Sequence[MetricRef], policy: Policy = AS_MEASURED
) -> int | None:
    """Of the front, the trial nearest to the best of each objective at once, each scaled to the
    front's own range; None for fronts of fewer than three, which have no bend."""
    names = judged_metrics(objectives, policy)
    if any(n not in frame for n in names):
        return None
    best = frame.loc[frame["on_front"], ["number", *dict.fromkeys(names)]].dropna()
    if len(best) < 3:
        return None
    points = _minimised(best, names)
    span = np.maximum(np.ptp(points, axis=0), 1e-12)
    distance = np.linalg.norm((points - points.min(0)) / span, axis=1)
    return int(best["number"].iloc[int(distance.argmin())])


def reference_point(
    frame: pd.DataFrame, objectives: Iterable[MetricRef], teacher: Mapping[str, float]
) -> dict[MetricRef, float]:
    """Where the hypervolume is seen from: the teacher's cost, every word wrong.

    What the teacher was not measured in is the worst of the trials.
    """
    reference = {}
    for objective in objectives:
        known = frame[objective].dropna() if objective in frame else pd.Series(dtype=float)
        is_better = objective.known.higher_is_better
        worst = (known.min() if is_better else known.max()) if len(known) else 1.0
        is_errors = objective.name in ("wer", "cer")
        reference[objective] = 1.0 if is_errors else float(teacher.get(objective, worst))
    return reference


def hypervolumes(
    frame: pd.DataFrame,
    objectives: Sequence[MetricRef],
    reference: Mapping[MetricRef, float],
    most: int = 60,
) -> pd.DataFrame:
    """How the front grew: complete `trials`, when the last of them was `finished_at` (seconds since
    the epoch), and the `hypervolume`: the share of the box to the reference that they dominate.

    Timed objectives are taken on a logarithmic scale from a thousandth of the reference on, so
    that no objective drowns the others.
    """
    known = _complete(frame, objectives).sort_values("finished_at")
    points = shares(known, objectives, reference)
    count = len(known)
    places = np.unique(np.linspace(min(1, count), count, min(most, count)).round().astype(int))
    values = [volume(points[:n]) for n in places]
    ends = known["finished_at"].to_numpy(float)[places - 1]
    return pd.DataFrame({"trials": places, "finished_at": ends, "hypervolume": values})


def hypervolume(
    frame: pd.DataFrame, objectives: Sequence[MetricRef], reference: Mapping[MetricRef, float]
) -> float:
    """Of all complete trials; 0 to 1."""
    return volume(shares(_complete(frame, objectives), objectives, reference))


def _complete(frame: pd.DataFrame, objectives: Sequence[MetricRef]) -> pd.DataFrame:
    """The complete trials that have a figure of every objective."""
    if any(o not in frame for o in objectives):
        return frame[:0].reindex(columns=list(dict.fromkeys([*frame.columns, *objectives])))
    return frame[frame["state"] == TrialState.COMPLETE].dropna(subset=list(set(objectives)))


def shares(
    known: pd.DataFrame, objectives: Sequence[MetricRef], reference: Mapping[MetricRef, float]
) -> np.ndarray:
    """float [n, objectives]: figures as shares of the reference."""
    return np.column_stack([_share(o, known[o], reference[o]) for o in objectives])


def volume(points: np.ndarray) -> float:
    """What points [n, objectives], shares of a reference, dominate of the box to it; 0 to 1."""
    inside = points[(points < 1).all(axis=1)]
    if not len(inside):
        return 0.0
    inside = inside[nondominated(inside)]
    return float(moocore.hypervolume(inside, ref=np.ones(points.shape[1])))


def _share(objective: MetricRef, values: pd.Series, reference: float) -> np.ndarray:
    """An objective as a share of its reference, 0 the best that is told apart."""
    array, reference = values.to_numpy(float), max(reference, 1e-12)
    if objective.known.higher_is_better:
        array, reference = 1 / np.maximum(array, 1e-12), 1 / reference
    if objective.name in ("wer", "cer"):
        shares: np.ndarray = array / reference
        return shares
    return np.clip(np.log10(np.maximum(array, 1e-12) / (reference / 1000)) / 3, 0.0, None)
