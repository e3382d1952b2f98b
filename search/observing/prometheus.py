"""The figures of all studies of a store as Prometheus reads them; made anew at every scrape."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from search.progress import LiveStatus
from storage.records import Study, StudyState, TrialState
from storage.store import Store

_PREFIX = "compression_search"
_STUDY = ["study"]


class StoreCollector:
    """Given to a registry of prometheus_client."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """Everything there is to tell. A store that is away is told by `up`."""
        studies = self._store.studies.all()
        yield from _of_studies(studies)
        yield from self._of_trials(studies)
        yield from self._of_stages(studies)

    def _of_trials(self, studies: Iterable[Study]) -> Iterator[Metric]:
        states = _gauge("trials", "Trials by state", [*_STUDY, "state"])
        compute = _counter("compute_seconds", "CPU seconds of all trials", _STUDY)
        for study in studies:
            totals = self._store.trials.totals(study.id)
            for state in TrialState:
                states.add_metric([study.name, str(state)], totals.get(state, (0, 0.0))[0])
            compute.add_metric([study.name], sum(spent for _, spent in totals.values()))
        yield from (states, compute)

    def _of_stages(self, studies: Iterable[Study]) -> Iterator[Metric]:
        runs = _counter("stage_runs", "Ended attempts at stages", [*_STUDY, "stage", "state"])
        spent = _counter("stage_seconds", "Seconds of ended attempts", [*_STUDY, "stage"])
        for study in studies:
            counts: Counter[tuple[str, str]] = Counter()
            seconds: dict[str, float] = defaultdict(float)
            for name, state, n_attempts, sum_s in self._store.stage_runs.totals(study.id):
                stage = name.partition("@")[0]
                counts[stage, state] += n_attempts
                seconds[stage] += sum_s
            for (stage, state), count in counts.items():
                runs.add_metric([study.name, stage, state], count)
            for stage, sum_s in seconds.items():
                spent.add_metric([study.name, stage], sum_s)
        yield from (runs, spent)


def _of_studies(studies: Iterable[Study]) -> Iterator[Metric]:
    states = _gauge("study_state", "1 for the state that a study is in", [*_STUDY, "state"])
    wanted = _gauge("trials_wanted", "Trials that were asked for", _STUDY)
    elapsed = _counter("elapsed_seconds", "Time that coordinators ran it", _STUDY)
    silent = _gauge("coordinator_silent_seconds", "Since its coordinator last spoke", _STUDY)
    running = _gauge("stages_running", "Stages under way", [*_STUDY, "stage"])
    eta = _gauge("eta_seconds", "Time to go, as estimated", _STUDY)
    away = _gauge("device_away_seconds", "Since when a device is away", [*_STUDY, "target"])
    for study in studies:
        for state in StudyState:
            states.add_metric([study.name, str(state)], float(study.state is state))
        wanted.add_metric([study.name], study.trials_wanted)
        elapsed.add_metric([study.name], study.elapsed_s)
        live = LiveStatus.of(study)
        if live is None:
            continue
        silent.add_metric([study.name], max(0.0, time.time() - live.at))
        counts = Counter(stage.stage.partition("@")[0] for stage in live.running)
        for stage, count in counts.items():
            running.add_metric([study.name, stage], count)
        if live.eta_s is not None:
            eta.add_metric([study.name], live.eta_s)
        for target, seconds in live.away_s.items():
            away.add_metric([study.name, target], seconds)
    yield from (states, wanted, elapsed, silent, running, eta, away)


def _gauge(name: str, what: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", what, labels=labels)


def _counter(name: str, what: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", what, labels=labels)
