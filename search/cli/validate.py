"""`search validate`: what a space is, before anything is trained."""

from __future__ import annotations

import click

from search.cli.common import agree_to_hosts, home_of, progress_bar, yes_option

_SAMPLE = 2_000  # items of a list


@click.command("validate")
@click.argument("path", metavar="SPACE")
@click.option("--quick", is_flag=True, help="Only the file itself; no data, no networks.")
@click.option(
    "--all", "every", is_flag=True, help=f"Read every file, not {_SAMPLE:,} of a longer list."
)
@yes_option
@click.pass_context
def validate_command(ctx: click.Context, path: str, quick: bool, every: bool, yes: bool) -> int:
    """Check a space file, its data and its budgets; say how large its search is and what it
    costs. Of lists of more than 2,000 items so many are read, evenly over each; a launch reads
    all."""
    from contextlib import closing

    from search.cli.validate_lines import cost_lines, count_lines, data_lines
    from search.devices.check import check_targets
    from search.executors.local import LocalExecutor
    from search.policy import AS_MEASURED
    from search.strategy.verdict import deciding_metrics
    from search.study.imports import check_baseline
    from search.study.place import place_of, told
    from search.study.preflight import check_space
    from spaces.load import load_space

    space = load_space(path)
    click.echo(f"{path}: no faults")
    for line in count_lines(space):
        click.echo(line)
    if quick:
        return 0
    workspace = home_of(ctx).workspace()
    check_baseline(space)
    place = told(place_of(space.search, deterministic=False))
    click.echo(f"training: {place}, {space.search.parallel} at a time")
    agree_to_hosts(ctx, space, yes)
    check_targets(space, deciding_metrics(space, AS_MEASURED))
    executor = LocalExecutor(workspace, space.search.stage_timeout_s)
    with closing(executor), progress_bar() as progress:
        report = check_space(space, workspace, executor, progress, None if every else _SAMPLE)
    for line in (*data_lines(report), *cost_lines(space, report)):
        click.echo(line)
    return 0 if report.is_sound else 2
