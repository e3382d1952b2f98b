"""A study with a device that can be away, run in this process with work done in its stead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes import SPACE, Work

from search.executors.inline import InlineExecutor
from search.home import Home
from search.study.added import OnAdded
from search.study.coordinator import Pace
from search.study.launch import Remeasure, launch, measure
from search.study.options import Options
from spaces.target_file import load_targets
from storage.records import Study, StudyState, Trial
from storage.store import Store
from workers.errors import DeviceUnreachable
from workers.jobs import Job, Measure
from workers.results import AnyResult, MeasureResult

N_TRIALS = 6
TARGETS = """
targets:
  cpu: {}
  pi5: {agent: "https://pi5.example:8765", token_env: SEARCH_PI5_TOKEN}
objectives: [wer, latency_p95_ms, "latency_p95_ms@pi5"]
"""
TEXT = SPACE.replace("trials: 14", f"confirm: false, trials: {N_TRIALS}") + TARGETS
IMPATIENT = TEXT.replace("seed: 3}", "seed: 3, device_patience_s: 0}")
AWAY = "https://pi5.example:8765: no answer (connection refused)"
REFUSED = "https://pi5.example:8765: refuses this token"
PACE = Pace(first_wait_s=0.002, longest_wait_s=0.02)


class Home_:
    """A home, and what its study came to."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(folder / "home")
        self.path = folder / "fake.yaml"

    def launch(self, work: Work, text: str = TEXT, **options: Any) -> StudyState:
        self.path.write_text(text)
        self.messages = View()
        executor = InlineExecutor(work)
        wanted = Options(**options)
        _, state = launch(str(self.path), self.home, wanted, self.messages, executor, PACE)
        return state

    def measure(self, work: Work, *trials: int, unsteady: bool = False) -> StudyState:
        self.messages = View()
        what = Remeasure(trials, unsteady)
        executor = InlineExecutor(work)
        _, state = measure("fake", self.home, what, self.messages, executor, PACE)
        return state

    def measure_on(self, work: Work, targets: str, *trials: int, **what: bool) -> StudyState:
        """On the targets of a file."""
        path = self.path.with_name("targets.yaml")
        path.write_text(targets)
        self.messages = View()
        asked = OnAdded(load_targets(path), trials, **what)
        executor = InlineExecutor(work)
        _, state = measure("fake", self.home, asked, self.messages, executor, PACE)
        return state

    @property
    def study(self) -> Study:
        return self._read(lambda store: store.studies.get("fake"))

    @property
    def trials(self) -> list[Trial]:
        return self._read(lambda store: store.trials.of(store.studies.get("fake").id))

    def samples(self, subject: object, target: str, metric: str) -> list[float]:
        found = self._read(lambda s: s.measurements.of(s.studies.get("fake").id, str(subject)))
        return [m.value for m in found if (m.target, m.metric) == (target, metric)]

    def stages(self) -> Counter[tuple[int | None, str]]:
        runs = self._read(lambda store: store.stage_runs.of(store.studies.get("fake").id))
        return Counter((r.trial_number, r.stage) for r in runs)

    def _read(self, what: Callable[[Store], Any]) -> Any:
        store = Store(self.home.store_url)
        try:
            return what(store)
        finally:
            store.close()


class View:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.of_devices: list[str] = []
        self.waiting: set[str] = set()
        self.away: set[str] = set()

    def event(self, event: Any) -> None:
        self.said.append(event.message)
        if event.kind == "device":
            self.of_devices.append(event.message)

    def tick(self, snapshot: Any) -> None:
        self.waiting |= set(snapshot.waiting)
        self.away |= set(snapshot.away_s)


class Workshop(Work):
    """The device refuses so many attempts, of which a number is let through first."""

    def __init__(
        self, away: float = 0, first: int = 0, error: type[Exception] = DeviceUnreachable
    ) -> None:
        super().__init__()
        self.n_away, self.n_first, self.error = away, first, error
        self.tried: list[Job] = []
        self.stages: list[str] = []

    def __call__(self, job: Job) -> AnyResult:
        self.stages.append(job.stage)
        return super().__call__(job)

    def _measure(self, job: Measure) -> MeasureResult:
        if job.target_name == "pi5":
            self.tried.append(job)
            if len(self.tried) > self.n_first and self.n_away > 0:
                self.n_away -= 1
                raise self.error(AWAY if self.error is DeviceUnreachable else REFUSED)
        return super()._measure(job)


def both_measured(trials: list[Trial]) -> bool:
    names = ("latency_p95_ms", "latency_p95_ms@cpu", "latency_p95_ms@pi5")
    return all(
        t.objective_values and len(t.objective_values) == 3 and set(names) <= set(t.metrics)
        for t in trials
    )
