"""`search stop`, `pause`, `resume`, `extend`, `cancel`, `retry`, `promote`: steer a study from
another shell."""

from __future__ import annotations

import click

from search.cli.common import home_of, open_store, running_study, study_named, whole_number
from search.cli.towards import parse_towards
from search.errors import UsageFault
from search.results import TrialResults
from storage.records import REOPENED, Study, Trial, TrialState
from storage.store import Store

_STUDY = click.argument("name", metavar="[STUDY]", required=False)


def _send(ctx: click.Context, name: str | None, kind: str, outcome: str) -> None:
    with open_store(ctx) as store:
        study = running_study(store, name)
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
@click.option(
    "--towards",
    multiple=True,
    metavar="METRIC=LIMIT",
    help="The added trials are to lie within this limit; may be given several times.",
)
@click.pass_context
def extend_command(
    ctx: click.Context, name: str | None, trials: int, towards: tuple[str, ...]
) -> None:
    """Add trials to a study, running or not.

    With --towards the added trials, and only they, look where these limits are met: they begin
    beside the known students nearest to them, and what breaks a limit is not trained. Budgets and
    objectives stay, and nothing is judged by it.

    \b
    Examples:
      search extend edge --trials 20
      search extend edge --trials 20 --towards latency_p95_ms=20 --towards size_mb=1
    """
    from search.study.commands import extended

    with open_store(ctx) as store:
        study = study_named(store, name)
        limits = parse_towards(towards, study, store.trials.of(study.id)) if towards else {}
        wanted = store.studies.extend(study.id, trials, limits)
        store.commands.add(study.id, "extend", trials)
        study = store.studies.get(study.name)
        if not study.state.is_live:  # nobody else writes it down
            store.events.add(study.id, "study", extended(study))
        focus = f"; {study.focuses[-1]}" if limits else ""
        hint = "" if study.state.is_live else "; go on with `search launch`"
        click.echo(f"{study.name}: {wanted} trials{focus}{hint}")


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
    """Try failed trials again, from where they failed on: those named, or all. One that is named
    may also be a measured one whose files are lost: they are made anew, and where they come out
    otherwise it is measured again.

    \b
    Examples:
      search retry --study edge
      search retry 4 7
    """
    numbers = {whole_number(text, "TRIAL") for text in trials}
    with open_store(ctx) as store:
        study = study_named(store, name)
        if numbers:
            chosen = [store.trials.get(study.id, number) for number in sorted(numbers)]
        else:
            chosen = [t for t in store.trials.of(study.id) if t.state is TrialState.FAILED]
        for trial in chosen:
            _check_retried(ctx, store, study, trial)
        for trial in chosen:
            if study.state.is_live:
                store.commands.add(study.id, "retry", trial.number)
            else:
                store.trials.save(trial.evolve(**REOPENED))
        if not chosen:
            click.echo(f"{study.name}: no trial has failed, so there is nothing to try again")
            return
        listed = ", ".join(str(trial.number) for trial in chosen)
        hint = "" if study.state.is_live else "; go on with `search launch`"
        click.echo(f"{study.name}: trial {listed} will be tried again{hint}")


@click.command("promote")
@click.argument("trials", metavar="TRIAL...", nargs=-1, required=True)
@click.option("--study", "name", help="Needed when there are several.")
@click.pass_context
def promote_command(ctx: click.Context, trials: tuple[str, ...], name: str | None) -> None:
    """Take up trials that were stopped at a rung: they go on from there, to their end.

    \b
    Example:
      search promote 17 --study edge
    """
    from search.strategy.rungs import promoted

    numbers = sorted({whole_number(text, "TRIAL") for text in trials})
    with open_store(ctx) as store:
        study = study_named(store, name)
        chosen = [store.trials.get(study.id, number) for number in numbers]
        for trial in chosen:
            if trial.state is not TrialState.STOPPED:
                state = trial.state.replace("_", " ")
                raise UsageFault(
                    f"trial {trial.number} is {state}; only those that were stopped at a rung can "
                    "be promoted"
                )
        for trial in chosen:
            if study.state.is_live:
                store.commands.add(study.id, "promote", trial.number)
            else:
                again = trial.evolve(rungs=promoted(trial.rungs, "hand"))
                store.trials.save(again.evolve(**REOPENED))
        hint = "" if study.state.is_live else "; go on with `search launch`"
        listed = ", ".join(map(str, numbers))
        click.echo(f"{study.name}: trial {listed} will be trained to the end{hint}")


def _check_retried(ctx: click.Context, store: Store, study: Study, trial: Trial) -> None:
    """Only what failed, or was measured and lost files, is tried again.

    Raises:
        UsageFault: when the trial is neither.
    """
    from storage.artifacts import ArtifactStore

    if trial.state is TrialState.FAILED:
        return
    state = f"trial {trial.number} is {trial.state.replace('_', ' ')}"
    if not trial.state.is_measured:
        raise UsageFault(f"{state}; only failed ones are tried again")
    results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
    if not results.lost(ArtifactStore(home_of(ctx).artifacts_url).has):
        raise UsageFault(f"{state} and its files are there; only failed ones are tried again")
