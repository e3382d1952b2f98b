"""Which results of the record hold when a trial, or the study itself, is taken up again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from search.results import TrialResults, read_result
from storage.records import StageRun
from workers.results import AnyResult

# What a test score was made from is the exported file alone: it stands before the score on dev.
_FLOW = (
    "screen",
    "train",
    "supernet",
    "compress",
    "qat",
    "export",
    "extra",
    "convert",
    "test",
    "score",
    "measure",
    "confirm",
)


@dataclass(frozen=True)
class Past:
    """A result whose files are there, and the files by stage that were there before it."""

    stage: str
    result: AnyResult
    made_from: Mapping[str, tuple[str, ...]]

    def holds(self, results: TrialResults) -> bool:
        """Whether those files are there now: a stage that was done anew may have made others."""
        now = results.by_stage
        return all(s in now and now[s].digests == files for s, files in self.made_from.items())


def past_of(runs: Iterable[StageRun], has_artifact: Callable[[str], bool]) -> list[Past]:
    """In the order of the flow, the latest of a stage first; what lost files is left out."""
    found: list[Past] = []
    made: dict[str, tuple[str, ...]] = {}
    for run in runs:
        result = read_result(run)
        if result is None:
            continue
        place = _place(run.stage)
        before = {stage: files for stage, files in made.items() if _place(stage) < place}
        made[run.stage] = result.digests
        if all(map(has_artifact, result.digests)):
            found.append(Past(run.stage, result, before))
    found.reverse()  # the order of the record stays where the place is the same
    return sorted(found, key=lambda past: _place(past.stage))


def _place(stage: str) -> int:
    return _FLOW.index(stage.partition("@")[0])
