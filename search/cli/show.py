"""`search show`: one trial in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from search.cli.common import open_store, study_named, whole_number

if TYPE_CHECKING:
    from storage.records import Measurement


@click.command("show")
@click.argument("trial")
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--log", is_flag=True, help="With the last log lines of stages that failed.")
@click.pass_context
def show_command(
    ctx: click.Context, trial: str, name: str | None, as_json: bool, log: bool
) -> None:
    """Recipe, stages, figures and outcome of one trial."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from search.tables import shown

    number = whole_number(trial, "TRIAL")
    with open_store(ctx) as store:
        study = study_named(store, name)
        record = store.trial(study.id, number)
        runs = store.stage_runs(study.id, number)
        figures = store.measurements(study.id, str(number))
    if as_json:
        content = {
            "trial": number,
            "state": str(record.state),
            "reason": record.reason,
            "recipe": dict(record.recipe),
            "metrics": dict(record.metrics),
            "stages": [
                {k: getattr(r, k) for k in ("stage", "attempt", "state", "duration_s", "error")}
                for r in runs
            ],
        }
        click.echo(json.dumps(content, indent=1))
        return
    console = Console()
    console.print(f"trial {number} of {study.name}: {record.state}", highlight=False)
    if record.reason:
        console.print(record.reason, markup=False, highlight=False)
    console.print_json(json.dumps(dict(record.recipe)))
    stages = Table("stage", "attempt", "state", "time", "error")
    for run in runs:
        stages.add_row(
            run.stage,
            str(run.attempt),
            run.state,
            f"{run.duration_s:.1f} s",
            escape(run.error or ""),
        )
    console.print(stages)
    table = Table("metric", "target", "value", "samples")
    teacher = study.facts.get("teacher", {})
    table.add_column("teacher")
    for figure in figures:
        n_samples = "" if figure.samples is None else str(len(figure.samples))
        value = shown(figure.metric, figure.value)
        table.add_row(
            figure.metric,
            figure.target,
            value,
            n_samples,
            shown(figure.metric, teacher.get(_named(figure))),
        )
    console.print(table)
    if log:
        for run in runs:
            if run.log:
                console.print(f"log of {run.stage}, attempt {run.attempt}:", highlight=False)
                console.print(run.log, markup=False, highlight=False)


def _named(figure: Measurement) -> str:
    """How metrics name a figure of a target."""
    return f"{figure.metric}@{figure.target}" if figure.target else figure.metric
