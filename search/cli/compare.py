"""`search compare`: is the difference between two students real?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from search.cli.common import (
    agree_to_hosts,
    home_of,
    open_store,
    space_of,
    study_named,
    yes_option,
)

if TYPE_CHECKING:
    from search.analysis.compare import Difference


@click.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--study", "name", help="Needed when there are several.")
@click.option("--again", is_flag=True, help="Run both in turn now, in the same processes.")
@click.option("--target", help="For --again: where [default: the first of the space].")
@click.option("--json", "as_json", is_flag=True)
@yes_option
@click.pass_context
def compare_command(
    ctx: click.Context,
    a: str,
    b: str,
    name: str | None,
    again: bool,
    target: str | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Compare two trials by number, or a trial with "teacher": word errors, and times on every
    target that both were measured on, each with its 95 % interval.

    \b
    Examples:
      search compare 4 7
      search compare teacher 4 --study edge --again
    """
    from search.analysis.compare import as_json as in_json
    from search.analysis.compare import compare, side_of
    from search.errors import UsageFault

    if target is not None and not again:
        raise UsageFault("--target goes with --again")
    with open_store(ctx) as store:
        study = study_named(store, name)
        sides = side_of(store, study, a), side_of(store, study, b)
        found = compare(*sides)
        if again:
            from search.devices.paired_timing import time_paired

            space = space_of(study)
            agree_to_hosts(ctx, space, yes, target or space.first_target)
            workspace = home_of(ctx).workspace()
            found.append(time_paired(study, space, workspace, sides, target))
    if not found:
        raise UsageFault(
            f"{sides[0].name} and {sides[1].name} were not measured in the same way anywhere"
        )
    if as_json:
        click.echo(in_json(found))
    else:
        _print(found, sides[0].name, sides[1].name)


def _print(found: list[Difference], a: str, b: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from search.report.labels import format_metric

    table = Table("metric", "target", a, b, "difference", "real?")
    for d in found:
        table.add_row(
            d.metric,
            d.target,
            format_metric(d.metric, d.a),
            format_metric(d.metric, d.b),
            f"{_signed(d, d.difference)}\n({_signed(d, d.low)} to {_signed(d, d.high)})",
            "yes" if d.is_real else "cannot be told",
        )
    console = Console()
    table.caption = "differences in brackets: 95 % interval"
    console.print(table)
    for how in dict.fromkeys(f"{d.metric}: {d.how}" for d in found):
        console.print(how, highlight=False)


def _signed(difference: Difference, value: float) -> str:
    if math.isinf(value):
        return "?"
    if difference.metric == "wer":
        return f"{value * 100:+.1f} points"
    return f"{value:+.1%}"
