"""One search on a recorded table: the coordinator and the strategies that ship, in virtual time."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from search.clock import VirtualClock
from search.policy import AS_MEASURED
from search.progress import Snapshot
from search.replay.executor import ReplayExecutor
from search.replay.lookup import Lookup
from search.replay.table import RecordedTable
from search.results import read_result
from search.study.coordinator import Coordinator, Pace
from search.study.settings import StudySettings
from spaces.identity import space_digest
from spaces.space import Space
from storage.memory import memory_store
from storage.records import Event, Study, Trial

# Commands come from nobody, and nobody watches.
_PACE = Pace(poll_s=1.0, commands_every_s=float("inf"), live_every_s=float("inf"))


@dataclass(frozen=True)
class Replayed:
    """What a search came to; times in `trials` are virtual seconds from its start."""

    study: Study
    trials: tuple[Trial, ...]
    study_cpu_s: float  # of data and teacher
    elapsed_s: float
    nearest_share: float  # of answers that are those of the nearest recipe


def replay(table: RecordedTable, space: Space, lookup: Lookup | None = None) -> Replayed:
    """Run the search of a space on a table.

    Args:
        space: the table's, with other search settings.
        lookup: of the table, to share between replays.

    Raises:
        StudyFault: as a search does.
    """
    clock = VirtualClock()
    executor = ReplayExecutor(lookup or Lookup(table), clock)
    with closing(memory_store(clock.now)) as store:
        study = store.studies.create(
            name=space.name,
            space_yaml=table.origin.space,
            space_path="",
            space_digest=space_digest(space),
            seed=space.search.seed,
            deterministic=False,
            trials_wanted=space.search.trials,
        )
        settings = StudySettings(
            seed=space.search.seed,
            threads=1,
            teacher_threads=1,
            host="",
            imported=table.origin.imported,
        )
        Coordinator(
            store,
            study,
            space,
            settings,
            AS_MEASURED,
            executor,
            _Nobody(),
            clock=clock,
            pace=_PACE,
        ).run()
        runs = map(read_result, store.stage_runs.of(study.id, None))
        n_answers = executor.n_exact + executor.n_nearest
        return Replayed(
            study=store.studies.get(study.name),
            trials=tuple(store.trials.of(study.id)),
            study_cpu_s=sum(result.cpu_s for result in runs if result is not None),
            elapsed_s=clock.monotonic(),
            nearest_share=executor.n_nearest / max(1, n_answers),
        )


class _Nobody:
    """Watches no search."""

    def event(self, event: Event) -> None:
        """Nothing is told."""

    def tick(self, snapshot: Snapshot) -> None:
        """Nothing is shown."""
