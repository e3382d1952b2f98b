"""What is known of trials on a target that not all of them were measured on."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from search.analysis.pick import Limit
from search.analysis.trial_frame import is_measured, metrics_in
from spaces.metrics import MetricRef

_TIMES = ("latency_p95_ms", "graph_p95_ms")  # a phone by adb times the network alone


def times_on(frame: pd.DataFrame, targets: Iterable[str]) -> list[MetricRef]:
    """The time by which to show each target on which some trial was measured."""
    found = []
    for target in targets:
        times = [MetricRef(name, target) for name in _TIMES]
        found += [time for time in times if time in frame and frame[time].notna().any()][:1]
    return found


def not_measured_on(frame: pd.DataFrame, target: str) -> list[int]:
    """Numbers of the trials that were measured, but have no timed figure of this target."""
    timed = [m for m in metrics_in(frame) if m.target == target and m.known.noisy]
    lacking = is_measured(frame) & frame[timed].isna().all(axis=1)
    return [int(number) for number in frame.loc[lacking, "number"]]


def lines_on(frame: pd.DataFrame, targets: Iterable[str]) -> list[str]:
    """In words, how many trials were not measured on each target; nothing where all were."""
    n_measured, lines = int(is_measured(frame).sum()), []
    for target in targets:
        if lacking := not_measured_on(frame, target):
            lines.append(
                f"{len(lacking)} of {n_measured} measured trials were not measured on {target}: "
                "they meet no limit there"
            )
    return lines


def targets_asked(limits: Iterable[Limit], target: str | None = None) -> list[str]:
    """Targets that limits, or the user, name; the first of a space goes without a name."""
    asked = [limit.metric.target for limit in limits] + [target or ""]
    return [name for name in dict.fromkeys(asked) if name]
