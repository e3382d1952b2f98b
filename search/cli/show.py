"""`search show`: one trial in full."""

from __future__ import annotations

import dataclasses
import json
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search.cli.common import home_of, open_store, study_named, whole_number
from search.errors import UsageFault
from search.report.graph import LoadedGraph, time_by_kind
from search.report.labels import (
    TOLD_OF_TEST,
    format_interval,
    format_metric,
    is_end_of_interval,
    line_of_test,
)
from search.results import TrialResults, how_to_make_anew
from spaces.metrics import MetricRef
from storage.records import Measurement, Rung, StageRun, Study, Trial, TrialState
from workers.results import MeasureResult

_TOP = 12


@click.command("show")
@click.argument("trial")
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--profile", is_flag=True, help="With all operators that were timed, not the top.")
@click.option("--graph", is_flag=True, help="Which fusions fired, and the time by operator.")
@click.option("--log", is_flag=True, help="With the last log lines of stages that failed.")
@click.pass_context
def show_command(
    ctx: click.Context,
    trial: str,
    name: str | None,
    as_json: bool,
    profile: bool,
    graph: bool,
    log: bool,
) -> None:
    """Recipe, stages, figures and outcome of one trial; where and how steadily each target was
    measured, and which operators take the time there."""
    number = whole_number(trial, "TRIAL")
    with open_store(ctx) as store:
        study = study_named(store, name)
        record = store.trials.get(study.id, number)
        runs = store.stage_runs.of(study.id, number)
        figures = store.measurements.of(study.id, str(number))
    results = TrialResults.of(runs)
    lost = _lost(ctx, record, results)
    loaded = _loaded_graph(ctx, results) if graph else None
    if as_json:
        told = _as_json(study, record, runs, results, lost)
        if loaded is not None:
            told["graph"] = dataclasses.asdict(loaded)
        click.echo(json.dumps(told, indent=1))
        return
    console = Console()
    if loaded is not None:
        _print_graph(console, loaded, results)
        return
    _print_recipe(console, study, record)
    _print_stages(console, runs)
    for rung in record.rungs:
        console.print(_rung_line(rung), markup=False, highlight=False)
    if record.state is TrialState.STOPPED:
        line = f"`search promote {record.number} --study {shlex.quote(study.name)}` trains it on"
        console.print(line, markup=False, highlight=False)
    if lost:
        line = f"files of {', '.join(lost)} are lost; {how_to_make_anew(study.name, number)}"
        console.print(line, markup=False, highlight=False)
    _print_figures(console, figures, study.teacher_metrics)
    _print_test(console, record, study)
    for target in _not_measured_on(study, record, results):
        console.print(f"{target}: not measured there", markup=False, highlight=False)
    for stage, extra in results.extra.items():
        for note in extra.notes:
            console.print(f"{stage}: {note}", markup=False, highlight=False)
    for text, excess in record.constraints.items():
        verdict = "met" if excess <= 0 else f"broken by {excess:.3g}"
        console.print(f"{text}: {verdict}", markup=False, highlight=False)
    for limit, excess in _towards(study, record).items():
        verdict = "outside" if excess > 0 else "within"
        console.print(f"{limit}: {verdict}", markup=False, highlight=False)
    for target in results.measured:
        if (found := results.measure(target)) is not None:
            _print_measured(console, target, found, None if profile else _TOP)
    for run in runs if log else ():
        if run.log:
            console.print(f"log of {run.stage}, attempt {run.attempt}:", highlight=False)
            console.print(run.log, markup=False, highlight=False)


def _loaded_graph(ctx: click.Context, results: TrialResults) -> LoadedGraph:
    """What ONNX Runtime makes of the file that ships.

    Raises:
        UsageFault: for a trial that has none.
    """
    from storage.artifacts import ArtifactStore
    from workers.isolated_call import call

    if results.export is None:
        raise UsageFault("--graph: the trial was not exported (its stages: without --graph)")
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(home_of(ctx).artifacts_url)
        model = store.fetch(results.export.model, Path(folder) / "model.onnx")
        return LoadedGraph(**call("graph", {"model": str(model)}))


def _print_graph(console: Console, loaded: LoadedGraph, results: TrialResults) -> None:
    for line in loaded.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    assert results.export is not None
    for layer in results.export.sensitivity[:_TOP]:
        line = f"  {layer.name}: quantized alone, {layer.divergence:.2e} nats a frame"
        console.print(line, markup=False, highlight=False)
    for target in results.measured:
        found = results.measure(target)
        if found is not None and found.profile:
            console.print(time_by_kind(found.profile, f"{target}: time by operator"))


def _lost(ctx: click.Context, record: Trial, results: TrialResults) -> list[str]:
    """Stages of a measured trial whose files are lost; one that runs makes them by itself."""
    from storage.artifacts import ArtifactStore

    url = home_of(ctx).artifacts_url
    if not record.state.is_measured or "://" in url:  # far away: `export` and `retry` look there
        return []
    return results.lost(ArtifactStore(url).has)


def _towards(study: Study, record: Trial) -> dict[str, float]:
    """How far it is beyond the limits that it was proposed towards; empty where it had none."""
    from search.strategy.focus import excesses, focus_at

    focus = focus_at(study.focuses, record.number)
    return {} if focus is None else excesses(focus, record)


def _not_measured_on(study: Study, record: Trial, results: TrialResults) -> list[str]:
    """Targets that the study was given after its space, and this trial was not measured on."""
    if not record.state.is_measured:
        return []
    return [name for name in study.added_targets if results.measure(name) is None]


def _as_json(
    study: Study, record: Trial, runs: list[StageRun], results: TrialResults, lost: list[str]
) -> dict[str, object]:
    lacking = _not_measured_on(study, record, results)
    measured = {n: found for n in results.measured if (found := results.measure(n)) is not None}
    return {
        "trial": record.number,
        "state": str(record.state),
        "reason": record.reason,
        "recipe": dict(record.recipe),
        "metrics": dict(record.metrics),
        "rungs": [dataclasses.asdict(rung) for rung in record.rungs],
        "stages": [
            {k: getattr(r, k) for k in ("stage", "attempt", "state", "duration_s", "error")}
            for r in runs
        ],
        **({"lost": lost} if lost else {}),
        **({"not_measured_on": lacking} if lacking else {}),
        "limits": dict(record.constraints),
        **({"towards": towards} if (towards := _towards(study, record)) else {}),
        **(
            {"extra": {n: list(e.notes) for n, e in results.extra.items()}} if results.extra else {}
        ),
        "measured": {
            target: found.model_dump(mode="json", include={"machine", "unsteady", "profile"})
            for target, found in measured.items()
        },
    }


def _print_recipe(console: Console, study: Study, record: Trial) -> None:
    console.print(f"trial {record.number} of {study.name}: {record.state}", highlight=False)
    if record.reason:
        console.print(record.reason, markup=False, highlight=False)
    console.print_json(json.dumps(dict(record.recipe)))


def _print_stages(console: Console, runs: list[StageRun]) -> None:
    table = Table("stage", "attempt", "state", "time", "error")
    for run in runs:
        error, spent = escape(run.error or ""), f"{run.duration_s:.1f} s"
        table.add_row(run.stage, str(run.attempt), run.state, spent, error)
    console.print(table)


def _rung_line(rung: Rung) -> str:
    went = {None: "stopped there", "rule": "went on", "hand": "promoted by hand"}
    return (
        f"rung, {rung.epoch} of {rung.epochs} epochs: WER {rung.wer:.1%} of averaged weights, "
        f"{went.get(rung.promoted, rung.promoted)}"
    )


def _print_figures(
    console: Console, figures: list[Measurement], teacher: Mapping[str, float]
) -> None:
    table = Table("metric", "target", "value", "95 %", "samples", "teacher")
    ends = {(f.target, f.metric): f.value for f in figures}
    for figure in figures:
        if is_end_of_interval(figure.metric):
            continue
        low, high = (ends.get((figure.target, f"{figure.metric}_{e}")) for e in ("low", "high"))
        theirs = teacher.get(MetricRef(figure.metric, figure.target))
        table.add_row(
            figure.metric,
            figure.target,
            format_metric(figure.metric, figure.value),
            format_interval(figure.metric, low, high),
            "" if figure.samples is None else str(len(figure.samples)),
            format_metric(figure.metric, theirs),
        )
    console.print(table)


def _print_test(console: Console, record: Trial, study: Study) -> None:
    of_it, of_teacher = line_of_test(record.metrics), line_of_test(study.teacher_metrics)
    if of_it is not None:
        console.print(f"on test ({TOLD_OF_TEST}): {of_it}", highlight=False, soft_wrap=True)
        if of_teacher is not None:
            console.print(f"the teacher on test: {of_teacher}", highlight=False, soft_wrap=True)


def _print_measured(console: Console, target: str, result: MeasureResult, most: int | None) -> None:
    machine = result.machine
    where = ", ".join(str(machine[k]) for k in ("processor", "governor") if machine.get(k))
    runtimes = machine.get("runtimes")
    listed = ", ".join(map(str, runtimes)) if isinstance(runtimes, list | tuple) else ""
    console.print(f"{target}: measured on {where} ({listed})", markup=False, highlight=False)
    for reason in result.unsteady:
        console.print(f"{target}: unsteady: {reason}", markup=False, highlight=False)
    if not result.profile:
        return
    total_ms = sum(o.time_ms for o in result.profile)
    table = Table("operator", "kind", "time", "share", title=f"{target}: where the time goes")
    for o in result.profile[:most]:
        share = f"{o.time_ms / total_ms:.0%}"
        table.add_row(escape(o.name), o.kind, f"{o.time_ms:.4f} ms", share)
    console.print(table)
