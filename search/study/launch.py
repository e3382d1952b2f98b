"""Starts a study, or continues it where it stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import cached_property, partial

from search.added_targets import own_space_of, with_added
from search.clock import SYSTEM_CLOCK, Clock
from search.devices.check import check_targets
from search.errors import EnvironmentFault, UsageFault
from search.executors.base import Executor
from search.home import Home
from search.policy import policy_of
from search.progress import StudyObserver
from search.strategy.verdict import deciding_metrics
from search.study.added import OnAdded, add_targets, chosen_trials, new_targets
from search.study.adding import AddedMeasurements
from search.study.coordinator import Coordinator, Pace
from search.study.earlier import EarlierStudy, earlier_studies, remember
from search.study.engine import Engine, Site, site_of
from search.study.imports import check_baseline
from search.study.lease import Heartbeat, holding, only_coordinator
from search.study.opening import open_study, study_settings
from search.study.options import Options, read_space
from search.study.repeatable import check_repeatable
from search.study.settings import StudySettings
from spaces.space import Space
from storage.partial import sweep
from storage.records import Study, StudyState
from storage.store import Store

HEARTBEAT = Heartbeat()
LOCAL = Engine()


def launch(
    path: str,
    home: Home,
    options: Options,
    observer: StudyObserver,
    executor: Executor | None = None,
    pace: Pace | None = None,
    clock: Clock = SYSTEM_CLOCK,
    heartbeat: Heartbeat = HEARTBEAT,
    engine: Engine = LOCAL,
) -> tuple[Study, StudyState]:
    """Run the study of a space until it is finished or stopped.

    Raises:
        SpaceError, UsageFault, StorageError, StudyFault: before or while running.
    """
    space, text, found = read_space(path, options)
    check_baseline(space)
    if options.deterministic:
        check_repeatable(space)
    policy, site = policy_of(options.deterministic), site_of(engine, space, home, executor)
    site.check(policy)
    check_targets(space, deciding_metrics(space, policy))
    with (
        only_coordinator(home, space.name),
        closing(Store(home.store_url)) as store,
        holding(store, home, space.name, clock, heartbeat),
    ):
        earlier = earlier_studies(store, space, policy)
        study = remember(store, open_study(store, space, text, found, options), earlier)
        run = _Run(store, study, space, home, observer, site, pace or Pace(), clock)
        return run.until_it_ends(partial(run.coordinator, earlier=earlier))


@dataclass(frozen=True)
class Remeasure:
    """What `search measure` takes up beside what waits for a device: trials by number, and all
    whose measurement was unsteady."""

    trials: tuple[int, ...] = ()
    unsteady: bool = False


def measure(
    name: str,
    home: Home,
    what: Remeasure | OnAdded,
    observer: StudyObserver,
    executor: Executor | None = None,
    pace: Pace | None = None,
    clock: Clock = SYSTEM_CLOCK,
    heartbeat: Heartbeat = HEARTBEAT,
) -> tuple[Study, StudyState]:
    """Measure what is trained and waits for it, or trials on targets beside those of the space,
    which the study then has as well; nothing new is begun.

    Raises:
        UsageFault, StorageError, StudyFault: before or while running.
    """
    with only_coordinator(home, name), closing(Store(home.store_url)) as store:
        study = store.studies.get(name)
        space = own_space_of(study)
        run = _Run(
            store,
            study,
            space,
            home,
            observer,
            site_of(LOCAL, space, home, executor),
            pace or Pace(),
            clock,
            trains=False,
        )
        hold = partial(holding, store, home, name, clock, heartbeat)
        return _again(run, what, hold) if isinstance(what, Remeasure) else _added(run, what, hold)


_Hold = Callable[[], AbstractContextManager[None]]


def _again(run: _Run, what: Remeasure, hold: _Hold) -> tuple[Study, StudyState]:
    check_targets(run.space)
    again = _to_remeasure(run.store, run.study, what)
    with hold():
        return run.until_it_ends(partial(run.coordinator, propose_new=False, remeasure=again))


def _added(run: _Run, what: OnAdded, hold: _Hold) -> tuple[Study, StudyState]:
    store, own = run.store, run.space
    names, trials = new_targets(store, run.study, what), chosen_trials(store, run.study, what)
    check_targets(own.model_copy(update={"targets": {n: what.targets[n] for n in names}}))
    with hold():
        study = add_targets(store, run.study, what.targets, names)
        whole = replace(run, study=study, space=with_added(own, study))
        begin = partial(
            whole.added_measurements, own, targets=names, trials=trials, again=what.unsteady
        )
        return whole.until_it_ends(begin)


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


@dataclass(frozen=True)
class _Run:
    """A study about to run; where disk, memory or files of this host end it, it is taken up
    again."""

    store: Store
    study: Study
    space: Space
    home: Home
    observer: StudyObserver
    site: Site
    pace: Pace
    clock: Clock
    trains: bool = True

    @cached_property
    def settings(self) -> StudySettings:
        return study_settings(
            self.store, self.study, self.space, self.home, self.site, trains=self.trains
        )

    def coordinator(
        self,
        study: Study,
        propose_new: bool = True,
        remeasure: frozenset[int] = frozenset(),
        earlier: Sequence[EarlierStudy] = (),
    ) -> Coordinator:
        return Coordinator(
            self.store,
            study,
            self.space,
            self.settings,
            policy_of(study.deterministic),
            self.site.executor,
            self.observer,
            propose_new=propose_new,
            remeasure=remeasure,
            earlier=earlier,
            clock=self.clock,
            pace=self.pace,
        )

    def added_measurements(
        self,
        own: Space,
        study: Study,
        *,
        targets: Collection[str],
        trials: Collection[int],
        again: bool,
    ) -> AddedMeasurements:
        return AddedMeasurements(
            self.store,
            study,
            own,
            self.settings,
            policy_of(study.deterministic),
            self.site.executor,
            self.observer,
            targets=targets,
            trials=trials,
            again=again,
            clock=self.clock,
            pace=self.pace,
        )

    def until_it_ends(
        self, begin: Callable[[Study], Coordinator | AddedMeasurements]
    ) -> tuple[Study, StudyState]:
        """Run it.

        Args:
            begin: takes the study up as the store has it.
        """
        store, clock, pace = self.store, self.clock, self.pace
        waits_s = iter(pace.environment_waits_s)
        is_taken_up = False
        while True:
            sweep(self.home.folder)
            study, began = store.studies.get(self.study.name), clock.monotonic()
            try:
                return study, begin(study).run(is_taken_up)
            except EnvironmentFault as fault:
                if clock.monotonic() - began > pace.long_run_s:
                    waits_s = iter(pace.environment_waits_s)
                wait_s = next(waits_s, None)
                if wait_s is None:
                    store.studies.change(study.id, state=StudyState.STOPPED)
                    raise EnvironmentFault(
                        f"{fault}; no trial has failed for it: when that is mended, the same "
                        "command goes on where this ended",
                        fault.log,
                    ) from fault
                text = f"this host is to blame, no recipe; taken up again in {wait_s:g} s"
                self.observer.event(store.events.add(study.id, "environment", text))
                is_taken_up = True
                clock.sleep(wait_s)
