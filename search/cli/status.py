"""`search status`: how the studies of a home stand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from filelock import FileLock, Timeout

from search.cli.common import home_of, open_store, study_named
from search.clock import SYSTEM_CLOCK
from search.home import Home
from search.progress import SILENT_S, LiveStatus, RunningStage
from storage.records import Focus, Study, StudyState, TrialState
from storage.store import Store

if TYPE_CHECKING:
    from search.analysis.costs import StageCost


@dataclass(frozen=True)
class _Standing:
    """How a study stands; `live` None where no coordinator runs it."""

    study: Study
    totals: Mapping[TrialState, tuple[int, float]]  # trials in each state, and their CPU seconds
    last_open: int | None  # the number of the last trial that has not ended
    live: LiveStatus | None

    @property
    def state(self) -> StudyState:
        is_dead = self.study.state.is_live and self.live is None
        return StudyState.STOPPED if is_dead else self.study.state

    @property
    def n_trials(self) -> int:
        return sum(count for count, _ in self.totals.values())

    @property
    def n_ended(self) -> int:
        return sum(count for state, (count, _) in self.totals.items() if state.is_final)

    @property
    def focus(self) -> Focus | None:
        """Of the trials under way, or of those that come next."""
        place = self.n_trials if self.last_open is None else self.last_open
        return next((f for f in self.study.focuses if f.covers(place)), None)

    def counts(self) -> dict[str, int]:
        """Trials by state; what nobody works on is not said to run."""
        counts: Counter[str] = Counter()
        for state, (count, _) in self.totals.items():
            is_left = self.live is None and not state.is_final
            counts["unfinished" if is_left else str(state)] += count
        return dict(counts)

    def as_json(self) -> dict[str, object]:
        return {
            "study": self.study.name,
            "state": str(self.state),
            "interrupted": self.state != self.study.state,
            "trials": self.n_trials,
            "trials_ended": self.n_ended,
            "trials_wanted": self.study.trials_wanted,
            "by_state": self.counts(),
            "elapsed_s": self.study.elapsed_s,
            "compute_s": sum(spent for _, spent in self.totals.values()),
            "teacher": dict(self.study.teacher_metrics) or None,
            "focus": None if self.focus is None else asdict(self.focus),
            "learns_from": {n: len(t) for n, t in (self.study.warm_start or {}).items()},
            "added_targets": list(self.study.added_targets),
            "live": None if self.live is None else dict(self.live.as_json()),
        }


@click.command("status")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--json", "as_json", is_flag=True)
@click.option("--costs", is_flag=True, help="Where the compute went, stage by stage.")
@click.option("--events", type=click.IntRange(0), default=8, show_default=True)
@click.pass_context
def status_command(
    ctx: click.Context, name: str | None, as_json: bool, costs: bool, events: int
) -> None:
    """What the studies are doing: trials by state, time to go, stages under way, last events."""
    from rich.console import Console

    from search.analysis.costs import stage_costs
    from search.report.tables import costs_table

    with open_store(ctx) as store:
        studies = store.studies.all() if name is None else [study_named(store, name)]
        found = [_standing(store, study, home_of(ctx)) for study in studies]
        spent = {s.study.id: stage_costs(store.stage_runs.of(s.study.id)) for s in found if costs}
        if as_json:
            content = [s.as_json() | _costs_as_json(spent.get(s.study.id)) for s in found]
            click.echo(json.dumps(content, indent=1))
            return
        for standing in found:
            _print(standing)
            if costs:
                Console().print(costs_table(spent[standing.study.id]))
            for event in store.events.of(standing.study.id, last=events):
                click.echo(f"  {event.message}")


def _standing(store: Store, study: Study, home: Home) -> _Standing:
    live = LiveStatus.of(study)
    is_recent = live is not None and SYSTEM_CLOCK.now() - live.at < SILENT_S
    # One of this home may be at its start, or busy; one of another home only tells of itself.
    is_alive = is_recent or _is_held(home.study_lock(study.name))
    if is_alive and live is None:
        live = LiveStatus(at=SYSTEM_CLOCK.now(), host="", elapsed_s=study.elapsed_s)
    trials = store.trials
    totals, last_open = trials.totals(study.id), trials.last_open(study.id)
    return _Standing(study, totals, last_open, live if is_alive else None)


def _print(standing: _Standing) -> None:
    from search.report.labels import clock

    study, live = standing.study, standing.live
    counts = ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in standing.counts().items())
    note = " (interrupted: `search launch` continues it)" if standing.state != study.state else ""
    elapsed_s = study.elapsed_s if live is None else live.elapsed_s
    to_go = f", about {clock(live.eta_s)} to go" if live and live.eta_s is not None else ""
    click.echo(
        f"{study.name}: {standing.state}{note}, {standing.n_ended}/{study.trials_wanted} trials "
        f"({counts or 'none yet'}), {clock(elapsed_s)} so far{to_go}"
    )
    if study.warm_start:
        learnt = ", ".join(f"{len(t)} trials of {n}" for n, t in study.warm_start.items())
        click.echo(f"  learns from: {learnt}")
    if standing.focus is not None:
        click.echo(f"  focus: {standing.focus}")
    if study.added_targets:
        listed = ", ".join(study.added_targets)
        click.echo(f"  further targets, which decide nothing: {listed}")
    for running in live.running if live else ():
        click.echo(f"  now: {_in_words(running)}")
    for waits in live.waiting if live else ():
        click.echo(f"  {waits}")


def _costs_as_json(costs: Sequence[StageCost] | None) -> dict[str, object]:
    return {} if costs is None else {"costs": [asdict(cost) for cost in costs]}


def _in_words(running: RunningStage) -> str:
    who = "study" if running.trial is None else f"trial {running.trial}"
    far = running.progress
    how = f", {far.what} {far.done}/{far.of}" if far else ""
    return f"{who} {running.stage}{how}, {running.elapsed_s:.0f} s"


def _is_held(path: Path) -> bool:
    """Whether a coordinator holds the study's lock on this host."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
