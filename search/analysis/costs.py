"""Where the compute of a study went, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from search.results import read_result
from storage.records import StageRun


@dataclass(frozen=True)
class StageCost:
    """All attempts at one stage: of the study itself (data and teacher), or of its trials.

    `cpu_s` is of the attempts that gave a result; what was found done cost nothing.
    """

    of_trials: bool
    stage: str
    n_done: int = 0
    n_found_done: int = 0
    n_failed: int = 0
    cpu_s: float = 0.0
    duration_s: float = 0.0


def stage_costs(runs: Iterable[StageRun]) -> list[StageCost]:
    """By stage, in the order in which they first ran; the study's own first. What ran for each
    target or runtime is one stage."""
    found: dict[tuple[bool, str], StageCost] = {}
    for run in runs:
        key = run.trial_number is not None, run.stage.partition("@")[0]
        found[key] = _with(found.get(key, StageCost(*key)), run)
    return sorted(found.values(), key=lambda cost: cost.of_trials)


def _with(cost: StageCost, run: StageRun) -> StageCost:
    result = read_result(run)
    return replace(
        cost,
        n_done=cost.n_done + (run.state == "done"),
        n_found_done=cost.n_found_done + (run.state == "reused"),
        n_failed=cost.n_failed + (run.state == "failed"),
        cpu_s=cost.cpu_s + (0.0 if result is None else result.cpu_s),
        duration_s=cost.duration_s + run.duration_s,
    )
