"""`search stop | pause | resume | extend | cancel | retry`: steer a study from another shell."""

from __future__ import annotations

import click

from search.cli.common import open_store, study_named, whole_number
from search.errors import UsageFault
from storage.records import StudyState, TrialState

_STUDY = click.argument("name", metavar="[STUDY]", required=False)
_LIVE = (StudyState.RUNNING, StudyState.PAUSED, StudyState.STOPPING)


def _send(ctx: click.Context, name: str | None, kind: str, outcome: str) -> None:
    with open_store(ctx) as store:
        study = study_named(store, name)
        if study.state not in _LIVE:
            raise UsageFault(
                f'study "{study.name}" is {study.state}, not running; continue it with '
                "`search launch`"
            )
        store.commands.add(study.id, kind)
        click.echo(f"{study.name}: {outcome}")


@click.command("stop")
@_STUDY
@click.pass_context
def stop_command(ctx: click.Context, name: str | None) -> None:
    """End a running study within seconds; `search launch` continues it from its checkpoints."""
    _send(ctx, name, "stop", "will stop; continue with the same `search launch`")


@click.command("pause")
@_STUDY
@click.pass_context
def pause_command(ctx: click.Context, name: str | None) -> None:
    """Start nothing new; the stages under way end first."""
    _send(ctx, name, "pause", "will pause after the stages under way")


@click.command("resume")
@_STUDY
@click.pass_context
def resume_command(ctx: click.Context, name: str | None) -> None:
    """Go on after a pause."""
    _send(ctx, name, "resume", "goes on")


@click.command("extend")
@_STUDY
@click.option("--trials", required=True, type=click.IntRange(1), help="How many more.")
@click.pass_context
def extend_command(ctx: click.Context, name: str | None, trials: int) -> None:
    """Add trials to a study, running or not."""
    with open_store(ctx) as store:
        study = study_named(store, name)
        wanted = store.studies.extend(study.id, trials)
        store.commands.add(study.id, "extend", trials)
        hint = "" if study.state in _LIVE else "; go on with `search launch`"
        click.echo(f"{study.name}: {wanted} trials{hint}")


@click.command("cancel")
@click.argument("trial")
@click.option("--study", "name", help="Needed when there are several.")
@click.pass_context
def cancel_command(ctx: click.Context, trial: str, name: str | None) -> None:
    """End one trial for good; the others go on."""
    number = whole_number(trial, "TRIAL")
    with open_store(ctx) as store:
        study = study_named(store, name)
        state = store.trials.get(study.id, number).state
        if state.is_final:
            raise UsageFault(f"trial {number} is {state} already")
        store.commands.add(study.id, "cancel", number)
        click.echo(f"{study.name}: trial {number} will be cancelled")


@click.command("retry")
@click.argument("trials", metavar="[TRIAL]...", nargs=-1)
@click.option("--study", "name", help="Needed when there are several.")
@click.pass_context
def retry_command(ctx: click.Context, trials: tuple[str, ...], name: str | None) -> None:
    """Try failed trials again, from where they failed on: those named, or all.

    \b
    Examples:
      search retry --study edge
      search retry 4 7
    """
    numbers = {whole_number(text, "TRIAL") for text in trials}
    with open_store(ctx) as store:
        study = study_named(store, name)
        failed = {t.number: t for t in store.trials.of(study.id) if t.state is TrialState.FAILED}
        others = sorted(numbers - failed.keys())
        if others:
            state = store.trials.get(study.id, others[0]).state
            raise UsageFault(f"trial {others[0]} is {state}; only failed ones are tried again")
        chosen = sorted(numbers or failed)
        for number in chosen:
            if study.state in _LIVE:
                store.commands.add(study.id, "retry", number)
            else:
                reopened = failed[number].evolve(
                    state=TrialState.RUNNING, reason=None, finished_at=None
                )
                store.trials.save(reopened)
        if not chosen:
            click.echo(f"{study.name}: no trial has failed, so there is nothing to try again")
            return
        listed = ", ".join(map(str, chosen))
        hint = "" if study.state in _LIVE else "; go on with `search launch`"
        click.echo(f"{study.name}: trial {listed} will be tried again{hint}")
