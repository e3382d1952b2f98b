"""`search logs`: what the stages of a trial have written."""

from __future__ import annotations

import time

import click

from search.cli.common import check_signs, open_store, study_named, whole_number
from search.progress import LiveStatus, RunningStage
from storage.records import StageRun, Study
from storage.store import Store

_LOOK_S = 1.0


@click.command("logs")
@click.argument("trial", required=False)
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the trial has ended.")
@click.pass_context
def logs_command(ctx: click.Context, trial: str | None, name: str | None, follow: bool) -> None:
    """Print what the stages of a trial have written, and how far those under way are; without a
    number of the study itself: its data and its teacher.

    \b
    Examples:
      search logs 7
      search logs 7 --study edge --follow
    """
    number = None if trial is None else whole_number(trial, "TRIAL")
    with open_store(ctx) as store:
        study = study_named(store, name)
        if number is not None:
            store.trials.get(study.id, number)
        shown, said, began = 0, "", time.time()
        while True:
            runs = store.stage_runs.of(study.id, number)
            for run in runs[shown:]:
                _print(run)
            shown = len(runs)
            study = store.studies.get(study.name)
            now = "\n".join(_told(s) for s in _under_way(study, number))
            if now and now != said:
                click.echo(now)
            said = now
            if not follow or _has_ended(store, study, number):
                break
            check_signs(study, began)
            time.sleep(_LOOK_S)
        if not shown and not said:
            who = "the study" if number is None else f"trial {number}"
            click.echo(f"{study.name}: no stage of {who} has run yet")


def _print(run: StageRun) -> None:
    attempt = f", attempt {run.attempt}" if run.attempt > 1 else ""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))
    click.echo(f"── {run.stage} {run.state} ({at}, {run.duration_s:.1f} s{attempt})")
    if run.log:
        click.echo(run.log.rstrip())
    if run.error:
        click.echo(f"✗ {run.error}")


def _under_way(study: Study, number: int | None) -> list[RunningStage]:
    live = LiveStatus.of(study)
    return [] if live is None else [s for s in live.running if s.trial == number]


def _told(stage: RunningStage) -> str:
    progress = stage.progress
    far = "" if progress is None else f": {progress.what} {progress.done} of {progress.of}"
    log = f"\n{stage.log.rstrip()}" if stage.log else ""
    return f"── {stage.stage} runs{far}{log}"


def _has_ended(store: Store, study: Study, number: int | None) -> bool:
    if not study.state.is_live:
        return True
    return number is not None and store.trials.get(study.id, number).state.is_final
