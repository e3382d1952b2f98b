"""Hands the record of a study to another tool, through that tool's own client.

Whatever was sent before is found again by the numbers of its trials, and only completed.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from search.errors import UsageFault
from search.strategy.optuna_records import FrozenTrials
from spaces.space import Space
from storage.records import StageRun, Study, Trial, TrialState
from workers.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str, int, int], None]
_OURS = "compression_search"
_LONGEST_SEND_S = 20.0
_THEIRS = ("sqlalchemy", "optuna", "mlflow", "wandb")


@contextmanager
def _needing(what: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(what, extra) from error


def _is_over(trial: Trial) -> bool:
    """Whether nothing will change any more: what waits for a device or was stopped may go on."""
    return trial.state.is_final and trial.state not in (TrialState.UNMEASURED, TrialState.STOPPED)


@contextmanager
def in_words(tool: str) -> Iterator[None]:
    """What another tool says of where it is to write is the user's to mend.

    Raises:
        UsageFault: in that tool's words.
    """
    try:
        yield
    except (UsageFault, MissingExtra):
        raise
    except Exception as error:
        is_theirs = type(error).__module__.partition(".")[0] in _THEIRS
        if not (is_theirs or isinstance(error, ImportError)):
            raise
        raise UsageFault(f"{tool}: {str(error).strip().splitlines()[0]}") from error


def to_optuna(study: Study, space: Space, trials: list[Trial], url: str, progress: Progress) -> int:
    """A study of Optuna in one of its storages: what a sampler learns from, with all figures as
    user attributes. Failed trials say nothing of their recipe and are left out.

    Raises:
        UsageFault: when a study of that name is there that is not ours.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(
        study_name=study.name,
        storage=url,
        directions=[
            "maximize" if o.known.higher_is_better else "minimize" for o in space.objectives
        ],
        load_if_exists=True,
    )
    there = made.get_trials(deepcopy=False)
    if any("trial" not in trial.user_attrs for trial in there):
        raise UsageFault(f'{url}: holds a study "{study.name}" that did not come from here')
    known = {trial.user_attrs["trial"] for trial in there}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental since 3.2
        made.set_metric_names([str(o) for o in space.objectives])
    ended = [t for t in trials if _is_over(t) and t.number not in known]
    frozen = FrozenTrials(space)
    sent = 0
    for number, trial in enumerate(ended, 1):
        for each in frozen.of([trial]):
            attributes = {"trial": trial.number, "recipe": trial.label, "state": str(trial.state)}
            for name, value in (attributes | dict(trial.metrics)).items():
                each.set_user_attr(name, value)
            made.add_trial(each)
            sent += 1
        progress("trials", number, len(ended))
    return sent


def to_mlflow(study: Study, trials: list[Trial], uri: str, progress: Progress) -> int:
    """An experiment of MLflow, a run for each trial that has ended."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with _needing("sending to MLflow", "mlflow"):
        from mlflow.tracking import MlflowClient
    client = MlflowClient(tracking_uri=uri)
    there = client.get_experiment_by_name(study.name)
    experiment = client.create_experiment(study.name) if there is None else there.experiment_id
    known = _known_to_mlflow(client, experiment)
    ended = [t for t in trials if _is_over(t) and str(t.number) not in known]
    for number, trial in enumerate(ended, 1):
        _run_of_mlflow(client, experiment, trial)
        progress("trials", number, len(ended))
    return len(ended)


def _known_to_mlflow(client: Any, experiment: str) -> set[str]:
    """The numbers of trials that were sent before."""
    known: set[str] = set()
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        known |= {run.data.tags.get(f"{_OURS}.trial", "") for run in page}
        token = page.token
        if not token:
            return known


def _run_of_mlflow(client: Any, experiment: str, trial: Trial) -> None:
    tags = {
        "state": str(trial.state),
        "source": trial.source,
        "reason": trial.reason or "",
        "mlflow.runName": f"{trial.number} {trial.label}",
    }
    began_ms = round(trial.created_at * 1000)
    run = client.create_run(experiment, start_time=began_ms, tags=tags).info.run_id
    for name, value in trial.values.items():
        client.log_param(run, _plain(name), value)
    for name, figure in trial.metrics.items():
        client.log_metric(run, _plain(name), figure, timestamp=began_ms)
    client.set_tag(run, f"{_OURS}.trial", str(trial.number))  # all of it is there
    status = "FINISHED" if trial.state.is_measured else "KILLED"
    client.set_terminated(run, status, round((trial.finished_at or trial.created_at) * 1000))


def _plain(name: str) -> str:
    """MLflow takes no @ in a name."""
    return name.replace("@", "/")


def to_wandb(study: Study, trials: list[Trial], project: str, progress: Progress) -> int:
    """A project of Weights & Biases, a run for each trial that has ended; where and as whom is said
    by its own variables (WANDB_API_KEY, WANDB_BASE_URL, WANDB_MODE)."""
    with _needing("sending to Weights & Biases", "wandb"):
        import wandb
    ended = [t for t in trials if _is_over(t)]
    for number, trial in enumerate(ended, 1):
        run = wandb.init(
            project=project,
            id=f"{study.name}-{trial.number}",
            name=f"{trial.number} {trial.label}",
            group=study.name,
            config={**trial.values, "state": str(trial.state), "source": trial.source},
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off"),
        )
        run.summary.update({**trial.metrics, "reason": trial.reason})
        run.finish(exit_code=0 if trial.state.is_measured else 1)
        progress("trials", number, len(ended))
    return len(ended)


def to_traces(study: Study, runs: Iterable[StageRun], endpoint: str | None) -> int:
    """Traces of OpenTelemetry, by OTLP over HTTP: one for each trial, a span for each attempt at a
    stage.

    Args:
        endpoint: where to; by default as OTEL_EXPORTER_OTLP_ENDPOINT says.

    Raises:
        UsageFault: when nobody takes them there.
    """
    with _needing("sending traces", "otel"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    spans = InMemorySpanExporter()
    ids = _ids()
    provider = TracerProvider(
        resource=Resource.create({"service.name": "compression-search"}), id_generator=ids
    )
    provider.add_span_processor(SimpleSpanProcessor(spans))
    by_trial: dict[int | None, list[StageRun]] = {}
    for run in runs:
        by_trial.setdefault(run.trial_number, []).append(run)
    for number, of_trial in by_trial.items():
        ids.begin(f"{study.name} {number}")
        _trace(provider.get_tracer(_OURS), study, number, of_trial)
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it
    exporter = OTLPSpanExporter(endpoint=url, timeout=_LONGEST_SEND_S)
    if exporter.export(spans.get_finished_spans()) is not SpanExportResult.SUCCESS:
        raise UsageFault(f"{url or 'OTEL_EXPORTER_OTLP_ENDPOINT'}: nobody takes traces there")
    return len(by_trial)


def _ids() -> Any:
    """Numbers of traces and spans that follow from what they are of: sent again, they are the
    same."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class Ids(IdGenerator):
        def begin(self, about: str) -> None:
            self._about, self._n = about, 0

        def generate_trace_id(self) -> int:
            return self._number("trace", 16)

        def generate_span_id(self) -> int:
            self._n += 1
            return self._number(f"span {self._n}", 8)

        def _number(self, what: str, n_bytes: int) -> int:
            digest = hashlib.sha256(f"{self._about} {what}".encode()).digest()
            return int.from_bytes(digest[:n_bytes])

    return Ids()


def _trace(tracer: Any, study: Study, number: int | None, runs: list[StageRun]) -> None:
    """A trial, or the study's own stages, and in it a span for each attempt."""
    from opentelemetry import trace

    about = {"study": study.name, "trial": number}
    root = tracer.start_span(
        "study" if number is None else f"trial {number}",
        start_time=_ns(min(run.started_at for run in runs)),
        attributes=_attributes(about),
    )
    context = trace.set_span_in_context(root)
    for run in runs:
        told = {**about, "attempt": run.attempt, "state": run.state, "error": run.error}
        begin = _ns(run.started_at)
        span = tracer.start_span(run.stage, context, start_time=begin, attributes=_attributes(told))
        if run.error:
            span.set_status(trace.StatusCode.ERROR, run.error)
        span.end(_ns(run.started_at + run.duration_s))
    root.end(_ns(max(run.started_at + run.duration_s for run in runs)))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _attributes(told: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}
