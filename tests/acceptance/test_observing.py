"""What other tools see of a study."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from shell import command

from search.observing.prometheus import StoreCollector
from storage.store import Store

Cli = Callable[..., CompletedProcess[str]]


def _said(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(finished: Path) -> Path:
    return finished


@pytest.fixture(scope="module")
def trials(home: Path) -> list[object]:
    store = Store(str(home / "store.sqlite"))
    found = store.trials.of(store.studies.get("tiny").id)
    store.close()
    return list(found)


def test_prometheus_reads_the_figures_of_all_studies(home: Path, trials: list[object]) -> None:
    with subprocess.Popen(
        command("--home", home, "metrics", "--port", 0), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            assert url.startswith("http://127.0.0.1:")
            told = urllib.request.urlopen(url, timeout=30).read().decode()
        finally:
            server.terminate()
    complete = re.search(r'_trials\{state="complete",study="tiny"\} ([\d.]+)', told)
    assert complete is not None
    assert float(complete[1]) > 0
    assert f'compression_search_trials_wanted{{study="tiny"}} {len(trials)}.0' in told
    assert 'study_state{state="finished",study="tiny"} 1.0' in told
    assert 'stage_runs_total{stage="train",state="done",study="tiny"}' in told


def test_a_port_that_is_taken_is_told(cli: Cli, home: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        done = cli("--home", home, "metrics", "--port", other.server_port)
    assert done.returncode == 2
    assert "choose another --port" in done.stderr


def test_every_figure_of_the_board_is_one_that_is_told(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    board = tmp_path / "board.json"
    _said(cli("--home", home, "metrics", "--grafana", board))
    asked = set(re.findall(r"compression_search_[a-z_]+", board.read_text()))
    store = Store(str(home / "store.sqlite"))
    told = {metric.name for metric in StoreCollector(store).collect()}
    store.close()
    assert asked
    assert {name.removesuffix("_total") for name in asked} <= told


def test_optuna_has_the_trials_with_their_figures(
    cli: Cli, home: Path, tmp_path: Path, trials: list[object]
) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/optuna.db"
    _said(cli("--home", home, "send", "tiny", "optuna", url))
    assert "sent 0 trials" in _said(cli("--home", home, "send", "tiny", "optuna", url))
    study = optuna.load_study(study_name="tiny", storage=url)
    ours = {t.number: t for t in trials if t.objective_values is not None}  # type: ignore[attr-defined]
    theirs = {t.user_attrs["trial"]: t for t in study.trials if t.values is not None}
    assert theirs.keys() == ours.keys()
    for number, trial in theirs.items():
        assert trial.values == list(ours[number].objective_values)
        assert trial.user_attrs["wer"] == ours[number].metrics["wer"]


def test_a_study_of_optuna_that_is_not_ours_stays_as_it_is(
    cli: Cli, home: Path, tmp_path: Path
) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/optuna.db"
    names = ["minimize"] * 3
    made = optuna.create_study(study_name="tiny", storage=url, directions=names)
    made.add_trial(optuna.trial.create_trial(values=[1.0, 2.0, 3.0]))
    done = cli("--home", home, "send", "tiny", "optuna", url)
    assert done.returncode == 2
    assert 'holds a study "tiny" that did not come from here' in done.stderr
    assert len(made.trials) == 1


def test_mlflow_has_a_run_for_each_trial(
    cli: Cli, home: Path, tmp_path: Path, trials: list[object]
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert f"sent {len(trials)} trials" in _said(cli("--home", home, "send", "tiny", "mlflow", uri))
    assert "sent 0 trials" in _said(cli("--home", home, "send", "tiny", "mlflow", uri))
    bad = cli("--home", home, "send", "tiny", "mlflow", tmp_path / "files")
    assert bad.returncode == 2
    assert bad.stderr.startswith("search: mlflow: ")
    nowhere = cli("--home", home, "send", "tiny", "optuna", "sqlite:////none/at/all.db")
    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith("search: optuna: ")


def test_weights_and_biases_has_a_run_for_each_trial(
    home: Path, tmp_path: Path, trials: list[object]
) -> None:
    offline = {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    done = subprocess.run(
        command("--home", home, "send", "tiny", "wandb", "project"),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **offline},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == len(trials)


class _Collector(http.server.BaseHTTPRequestHandler):
    """Takes what is sent, as a collector of traces does."""

    taken: list[bytes]

    def do_POST(self) -> None:
        self.taken.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    handler = type("Handler", (_Collector,), {"taken": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.taken
        server.shutdown()
        thread.join()


def test_traces_have_a_span_for_each_attempt_at_a_stage(
    cli: Cli, home: Path, collector: tuple[str, list[bytes]]
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    url, taken = collector
    _said(cli("--home", home, "send", "tiny", "traces", url))
    store = Store(str(home / "store.sqlite"))
    runs = store.stage_runs.of(store.studies.get("tiny").id)
    store.close()
    sent = ExportTraceServiceRequest.FromString(taken[0])
    spans = sent.resource_spans[0].scope_spans[0].spans
    of_stages = [span for span in spans if span.parent_span_id]
    assert sorted(s.name for s in of_stages) == sorted(run.stage for run in runs)
    longest = max(runs, key=lambda run: run.duration_s)
    took = {s.name: (s.end_time_unix_nano - s.start_time_unix_nano) / 1e9 for s in of_stages}
    assert took[longest.stage] <= longest.duration_s + 1e-3
    _said(cli("--home", home, "send", "tiny", "traces", url))
    again = ExportTraceServiceRequest.FromString(taken[1]).resource_spans[0].scope_spans[0].spans
    assert {s.span_id for s in again} == {s.span_id for s in spans}
    assert len({s.span_id for s in spans}) == len(spans)


def test_where_nobody_takes_traces_it_is_told(cli: Cli, home: Path) -> None:
    done = cli("--home", home, "send", "tiny", "traces", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert "nobody takes traces there" in done.stderr
    assert json.dumps(done.stderr).count("Transient") == 0
