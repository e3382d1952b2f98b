"""What a person or a program sees of a running search."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.analysis.front import front_numbers, knee_number
from search.analysis.trial_frame import trial_frame
from search.clock import SYSTEM_CLOCK, Clock
from search.policy import policy_of
from search.progress import Snapshot, StudyObserver
from search.report.labels import clock
from search.report.tables import front_table
from storage.records import Event, TrialState

_LAST_EVENTS = 6
_SHOWN_FRONT = 12


class PlainView:
    """One line an event, and a line of progress now and then: for pipes and logs."""

    def __init__(
        self, console: Console, every_s: float = 30.0, time_source: Clock = SYSTEM_CLOCK
    ) -> None:
        self._console, self._every_s, self._clock = console, every_s, time_source
        self._last = time_source.monotonic()

    def event(self, event: Event) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(event.at))
        self._console.print(f"{at} {event.message}", markup=False, highlight=False, soft_wrap=True)

    def tick(self, snapshot: Snapshot) -> None:
        if self._clock.monotonic() - self._last < self._every_s:
            return
        self._last = self._clock.monotonic()
        at = time.strftime("%H:%M:%S", time.localtime(self._clock.now()))
        doing = "".join(f"; {' '.join(r)}" for r in running_rows(snapshot))
        self._console.print(
            f"{at} {progress_line(snapshot)}{doing}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class JsonView:
    """One JSON object a line: for programs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def event(self, event: Event) -> None:
        content = {
            "at": event.at,
            "kind": event.kind,
            "message": event.message,
            "trial": event.trial_number,
            "data": dict(event.data),
        }
        self._console.out(json.dumps(content), highlight=False)

    def tick(self, snapshot: Snapshot) -> None:
        pass


class LiveView:
    """A page in the terminal that keeps itself up to date."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._events: deque[Event] = deque(maxlen=_LAST_EVENTS)
        self._known: list[tuple[bool, bool]] = []
        self._table: Table | None = None

    def event(self, event: Event) -> None:
        self._events.append(event)

    def tick(self, snapshot: Snapshot) -> None:
        self._live.update(self._page(snapshot))

    def _page(self, snapshot: Snapshot) -> RenderableType:
        finals = sum(t.state.is_final for t in snapshot.trials)
        wanted = snapshot.study.trials_wanted
        parts: list[RenderableType] = [
            Text(progress_line(snapshot), style="bold"),
            ProgressBar(total=wanted, completed=finals, width=60),
            self._running(snapshot),
        ]
        if (table := self._front(snapshot)) is not None:
            parts.append(table)
        for event in self._events:
            at = time.strftime("%H:%M:%S", time.localtime(event.at))
            parts.append(Text(f"{at} {event.message}", style="dim", overflow="ellipsis"))
        parts.append(Text("Ctrl-C stops; the same command continues", style="dim"))
        return Group(*parts)

    def _front(self, snapshot: Snapshot) -> Table | None:
        """The front, worked out anew when a trial has ended, or was scored on test."""
        trials = snapshot.trials
        known = [(t.state.is_final, "test_wer" in t.metrics) for t in trials]
        if known != self._known:
            self._known = known
            policy = policy_of(snapshot.study.deterministic)
            frame = trial_frame(snapshot.trials, snapshot.study, snapshot.space)
            numbers = front_numbers(frame, snapshot.space.objectives, policy)[:_SHOWN_FRONT]
            knee = knee_number(frame, snapshot.space.objectives, policy)
            by_number = {t.number: t for t in snapshot.trials}
            best = [by_number[n] for n in numbers]
            self._table = front_table(snapshot.space, best, knee, title="front") if best else None
        return self._table

    def _running(self, snapshot: Snapshot) -> Table:
        table = Table.grid(padding=(0, 2))
        for row in running_rows(snapshot):
            table.add_row(*map(escape, row))
        return table


def running_rows(snapshot: Snapshot) -> list[tuple[str, str, str, str]]:
    """Who, stage, how far, since when: of each stage under way."""
    rows = []
    for running in snapshot.running:
        who = "study" if running.trial is None else f"trial {running.trial}"
        far = running.progress
        how = f"{far.what} {far.done}/{far.of}" if far else ""
        rows.append((who, running.stage, how, f"{running.elapsed_s:.0f} s"))
    return rows


def progress_line(snapshot: Snapshot) -> str:
    """State, trials by state, time so far and to go."""
    states = Counter(t.state for t in snapshot.trials)
    counts = ", ".join(f"{states[s]} {s.replace('_', ' ')}" for s in TrialState if states[s])
    eta = f", about {clock(snapshot.eta_s)} to go" if snapshot.eta_s is not None else ""
    finals = sum(t.state.is_final for t in snapshot.trials)
    return (
        f"{snapshot.study.name} {snapshot.study.state}: {finals}/{snapshot.study.trials_wanted} "
        f"trials ({counts or 'none yet'}), {clock(snapshot.elapsed_s)} so far{eta}"
        + "".join(f"; {waits}" for waits in snapshot.waiting)
    )


@contextmanager
def open_view(as_json: bool, plain: bool) -> Iterator[StudyObserver]:
    """The view that fits where the output goes."""
    console = Console()
    if as_json:
        yield JsonView(console)
    elif plain or not console.is_terminal:
        yield PlainView(console)
    else:
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            yield LiveView(live)
