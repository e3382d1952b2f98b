"""`search record`: a table of trained recipes that searches replay on."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import click

from search.cli.common import agree_to_hosts, home_of, yes_option


@click.command("record")
@click.argument("path", metavar="SPACE")
@click.argument("target", metavar="OUT.parquet", type=click.Path(dir_okay=False))
@click.option("--study", help="Name of the study that records [default: the space's, -table].")
@click.option("--trials", type=click.IntRange(1), help="How many students, every format one.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Time limit.")
@click.option("--parallel", type=click.IntRange(1), help="Trials at the same time.")
@click.option("--seed", type=int)
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@yes_option
@click.pass_context
def record_command(
    ctx: click.Context,
    /,
    path: str,
    target: str,
    study: str | None,
    as_json: bool,
    plain: bool,
    yes: bool,
    **options: object,
) -> int:
    """Train recipes of SPACE at random, each to its end and in every number format, and write what
    every stage gave and took to OUT.parquet. Searches replay on such a table in seconds, to compare
    strategies over many seeds (make bench-search).

    The same command goes on where it ended, and adds: budgets, gates and sampler of the space do
    not count. OUT.parquet is written anew each time, also after Ctrl-C.

    \b
    Example:
      search record quickstart.yaml quickstart.parquet --trials 400
    """
    from search.errors import UsageFault
    from search.replay.table import check_place, table_of, write_table
    from search.report.terminal import open_view
    from search.study.launch import launch
    from search.study.options import Options
    from spaces.load import load_space
    from storage.records import StudyState
    from storage.store import Store

    check_place(Path(target))
    space = load_space(path)
    if len(space.trained_families) < len(space.students):
        raise UsageFault(f"{path}: a table is of trainings; take students.teacher out")
    if any(t.command is not None for t in (space.teacher, *space.teacher.also)):
        raise UsageFault(
            f"{path}: a table holds the space as it is written, and the words of a command may be "
            "secret; record with a teacher of another kind"
        )
    agree_to_hosts(ctx, space, yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    name = study or f"{space.name}-table"
    given = Options(study=name, is_recording=True, **options)  # type: ignore[arg-type]
    with open_view(as_json, plain) as observer:
        recorded, state = launch(path, home_of(ctx), given, observer)
    with closing(Store(home_of(ctx).store_url)) as store:
        has_trials = any(t.state.is_measured for t in store.trials.of(recorded.id))
        if state is not StudyState.FINISHED and not has_trials:
            click.echo("stopped before a trial was measured; the same command goes on", err=True)
            return 130
        table = table_of(store, recorded)
    write_table(table, Path(target))
    hours = table.cpu_s / 3600
    click.echo(
        f"{target}: {table.n_networks} networks, {len(table.trials)} students, {hours:.1f} hours "
        f"of compute, {Path(target).stat().st_size / 1e6:.1f} MB",
        err=as_json,
    )
    return 0 if state is StudyState.FINISHED else 130
