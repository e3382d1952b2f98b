"""What a running study tells of itself: to whoever watches, and to the store for pages."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from search.clock import Clock
from search.executors.base import Executor
from search.progress import LiveStatus, RunningStage, Snapshot, StudyObserver
from search.study.device_backoff import DeviceBackoff
from search.study.ledger import Ledger, Ticket
from spaces.space import Space
from storage.records import TrialState
from storage.rows import storable

_LINES, _LETTERS = 10, 2_000


class LiveView:
    """Made anew at every tick from the ledger and what runs."""

    def __init__(
        self,
        space: Space,
        ledger: Ledger,
        executor: Executor,
        backoff: DeviceBackoff,
        observer: StudyObserver,
        clock: Clock,
        store_every_s: float,
    ) -> None:
        self._space, self._ledger, self._executor, self._backoff = space, ledger, executor, backoff
        self._observer, self._clock, self._store_every_s = observer, clock, store_every_s
        self._stored_s = -store_every_s

    def tell(self, tickets: Iterable[Ticket]) -> None:
        snapshot = self._snapshot(tickets)
        self._observer.tick(snapshot)
        if self._clock.monotonic() - self._stored_s >= self._store_every_s:
            self._stored_s = self._clock.monotonic()
            status = self._status(snapshot, tickets)
            self._ledger.change_study(live=status.as_json(), elapsed_s=snapshot.elapsed_s)

    def close(self) -> None:
        """Nothing runs any more."""
        self._ledger.change_study(live=None)

    def _snapshot(self, tickets: Iterable[Ticket]) -> Snapshot:
        now = self._clock.monotonic()
        return Snapshot(
            study=self._ledger.study,
            space=self._space,
            trials=list(self._ledger.trials.values()),
            running=[self._running(t, now) for t in tickets],
            elapsed_s=self._ledger.elapsed_s(),
            eta_s=self._eta_s(),
            waiting=self._waiting(),
            away_s=self._backoff.are_away_s(),
        )

    def _running(self, ticket: Ticket, now: float) -> RunningStage:
        return RunningStage(
            trial=ticket.trial,
            stage=ticket.stage,
            elapsed_s=now - ticket.started,
            progress=self._executor.progress(ticket.id),
        )

    def _status(self, snapshot: Snapshot, tickets: Iterable[Ticket]) -> LiveStatus:
        """For the store, with the last lines of each log: files that are read now and then only."""
        return LiveStatus(
            at=self._clock.now(),
            host=platform.node(),
            eta_s=snapshot.eta_s,
            elapsed_s=snapshot.elapsed_s,
            waiting=tuple(snapshot.waiting),
            away_s=snapshot.away_s,
            running=tuple(
                stage.model_copy(update={"log": _end_of(self._executor.log(ticket.id))})
                for stage, ticket in zip(snapshot.running, tickets, strict=True)
            ),
        )

    def _waiting(self) -> tuple[str, ...]:
        """What waits for devices that are away, in words."""
        numbers: dict[str, int] = {}
        for trial in self._ledger.open_trials():
            results = self._ledger.results(trial.number)
            if results.export is None:
                continue
            for name in self._space.targets:
                if name not in results.measured and self._backoff.are_all_away([name]):
                    numbers[name] = numbers.get(name, 0) + 1
        return tuple(f"{n} wait for {name}" for name, n in numbers.items())

    def _eta_s(self) -> float | None:
        """Time left at the pace of the trials that were judged."""
        trials = self._ledger.trials.values()
        spent = [
            t.finished_at - t.created_at
            for t in trials
            if t.finished_at is not None and (t.state.is_measured or t.state is TrialState.STOPPED)
        ]
        if not spent:
            return None
        finals = sum(t.state.is_final for t in trials)
        left = self._ledger.study.trials_wanted - finals
        eta_s = left * sum(spent) / len(spent) / self._space.search.parallel
        hours = self._space.search.hours
        return eta_s if hours is None else min(eta_s, hours * 3600 - self._ledger.elapsed_s())


def _end_of(log: str | None) -> str | None:
    """As much of a log as the record of what runs should hold."""
    if log is None:
        return None
    return storable("\n".join(log.splitlines()[-_LINES:])[-_LETTERS:])
