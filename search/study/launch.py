"""Starts a study, or continues it where it stands."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from search.clock import SYSTEM_CLOCK, Clock
from search.devices.check import check_targets
from search.errors import EnvironmentFault, UsageFault
from search.executors.base import Executor
from search.executors.local import LocalExecutor
from search.home import Home
from search.policy import policy_of
from search.progress import StudyObserver
from search.strategy.verdict import deciding_metrics
from search.study.coordinator import Coordinator, Pace
from search.study.imports import check_baseline
from search.study.lease import Heartbeat, holding, only_coordinator
from search.study.opening import open_study, study_settings
from search.study.options import Options, read_space
from spaces.load import parse_space
from spaces.space import Space
from storage.partial import sweep
from storage.records import Study, StudyState
from storage.store import Store

HEARTBEAT = Heartbeat()


def launch(
    path: str,
    home: Home,
    options: Options,
    observer: StudyObserver,
    executor: Executor | None = None,
    pace: Pace | None = None,
    clock: Clock = SYSTEM_CLOCK,
    heartbeat: Heartbeat = HEARTBEAT,
) -> tuple[Study, StudyState]:
    """Run the study of a space until it is finished or stopped.

    Raises:
        SpaceError, UsageFault, StorageError, StudyFault: before or while running.
    """
    space, text, found = read_space(path, options)
    check_baseline(space)
    check_targets(space, deciding_metrics(space, policy_of(options.deterministic)))
    with (
        only_coordinator(home, space.name),
        closing(Store(home.store_url)) as store,
        holding(store, home, space.name, clock, heartbeat),
    ):
        study = open_study(store, space, text, found, options)
        return _run(store, study, space, home, observer, executor, pace or Pace(), clock)


@dataclass(frozen=True)
class Remeasure:
    """What `search measure` takes up beside what waits for a device: trials by number, and all
    whose measurement was unsteady."""

    trials: tuple[int, ...] = ()
    unsteady: bool = False


def measure(
    name: str,
    home: Home,
    what: Remeasure,
    observer: StudyObserver,
    executor: Executor | None = None,
    pace: Pace | None = None,
    clock: Clock = SYSTEM_CLOCK,
    heartbeat: Heartbeat = HEARTBEAT,
) -> tuple[Study, StudyState]:
    """Measure what is trained and waits for it; nothing new is begun.

    Raises:
        UsageFault, StorageError, StudyFault: before or while running.
    """
    with only_coordinator(home, name), closing(Store(home.store_url)) as store:
        study = store.studies.get(name)
        space = parse_space(study.space_yaml, study.space_path).model_copy(update={"name": name})
        check_targets(space)
        again = _to_remeasure(store, study, what)
        with holding(store, home, name, clock, heartbeat):
            pace = pace or Pace()
            return _run(store, study, space, home, observer, executor, pace, clock, False, again)


def _to_remeasure(store: Store, study: Study, what: Remeasure) -> frozenset[int]:
    measured = {t.number: t for t in store.trials.of(study.id) if t.state.is_measured}
    strangers = [n for n in what.trials if n not in measured]
    if strangers:
        raise UsageFault(
            f"trial {', '.join(map(str, strangers))}: not measured yet, so there is nothing to "
            "take again"
        )
    unsteady = {
        n
        for n, t in measured.items()
        if what.unsteady and any(v for k, v in t.metrics.items() if k.startswith("unsteady"))
    }
    return frozenset(what.trials) | unsteady


def _run(
    store: Store,
    study: Study,
    space: Space,
    home: Home,
    observer: StudyObserver,
    executor: Executor | None,
    pace: Pace,
    clock: Clock,
    propose_new: bool = True,
    remeasure: frozenset[int] = frozenset(),
) -> tuple[Study, StudyState]:
    """Run a study; where disk, memory or files of this host end it, take it up again."""
    settings = study_settings(store, study, space, home)
    executor = executor or LocalExecutor(home.workspace(), space.search.stage_timeout_s)
    waits_s = iter(pace.environment_waits_s)
    is_taken_up = False
    while True:
        sweep(home.folder)
        study, began = store.studies.get(study.name), clock.monotonic()
        coordinator = Coordinator(
            store,
            study,
            space,
            settings,
            policy_of(study.deterministic),
            executor,
            observer,
            propose_new=propose_new,
            remeasure=remeasure,
            clock=clock,
            pace=pace,
        )
        try:
            return study, coordinator.run(is_taken_up)
        except EnvironmentFault as fault:
            if clock.monotonic() - began > pace.long_run_s:
                waits_s = iter(pace.environment_waits_s)
            wait_s = next(waits_s, None)
            if wait_s is None:
                store.studies.change(study.id, state=StudyState.STOPPED)
                raise EnvironmentFault(
                    f"{fault}; no trial has failed for it: when that is mended, the same command "
                    "goes on where this ended",
                    fault.log,
                ) from fault
            text = f"this host is to blame, no recipe; taken up again in {wait_s:g} s"
            observer.event(store.events.add(study.id, "environment", text))
            is_taken_up = True
            clock.sleep(wait_s)
