"""Hands the record of a study to another tool, through that tool's own client.

Whatever was sent before is found again by the numbers of its trials, and only completed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from search.errors import UsageFault
from search.strategy.optuna_records import FrozenTrials
from spaces.space import Space
from storage.records import StageRun, Study, Trial
from workers.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str, int, int], None]
_OURS = "compression_search"
_LONGEST_SEND_S = 20.0


@contextmanager
def _needing(what: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(what, extra) from error


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
    ended = [t for t in trials if t.state.is_final and t.number not in known]
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
    """An experiment of MLflow, a run for each trial that has ended.

    Raises:
        UsageFault: when the server does not take them, in MLflow's words.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with _needing("sending to MLflow", "mlflow"):
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    try:
        client = MlflowClient(tracking_uri=uri)
        there = client.get_experiment_by_name(study.name)
        experiment = client.create_experiment(study.name) if there is None else there.experiment_id
        known = _known_to_mlflow(client, experiment)
        ended = [t for t in trials if t.state.is_final and str(t.number) not in known]
        for number, trial in enumerate(ended, 1):
            _run_of_mlflow(client, experiment, trial)
            progress("trials", number, len(ended))
    except MlflowException as error:
        raise UsageFault(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error
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
        f"{_OURS}.trial": str(trial.number),
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
    ended = [t for t in trials if t.state.is_final]
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
    provider = TracerProvider(resource=Resource.create({"service.name": "compression-search"}))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    by_trial: dict[int | None, list[StageRun]] = {}
    for run in runs:
        by_trial.setdefault(run.trial_number, []).append(run)
    for number, of_trial in by_trial.items():
        _trace(provider.get_tracer(_OURS), study, number, of_trial)
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we say it
    exporter = OTLPSpanExporter(endpoint=url, timeout=_LONGEST_SEND_S)
    if exporter.export(spans.get_finished_spans()) is not SpanExportResult.SUCCESS:
        raise UsageFault(f"{url or 'OTEL_EXPORTER_OTLP_ENDPOINT'}: nobody takes traces there")
    return len(by_trial)


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
