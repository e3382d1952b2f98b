"""`search measure`: measure what waits for a device, or take measurements again."""

from __future__ import annotations

import signal

import click

from search.cli.common import (
    agree_to_hosts,
    home_of,
    open_store,
    space_of,
    study_named,
    yes_option,
)


@click.command("measure")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--trial", "trials", type=click.IntRange(0), multiple=True, help="Take this again.")
@click.option("--unsteady", is_flag=True, help="Take again all that was not measured in quiet.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@yes_option
@click.pass_context
def measure_command(
    ctx: click.Context,
    name: str | None,
    trials: tuple[int, ...],
    unsteady: bool,
    as_json: bool,
    plain: bool,
    yes: bool,
) -> int:
    """Measure trained students that wait for a device which was away; nothing is trained that
    was not begun, nothing new is tried.

    \b
    Examples:
      search measure edge
      search measure edge --unsteady
      search measure edge --trial 4 --trial 7
    """
    from search.report.terminal import open_view
    from search.study.launch import Remeasure, measure
    from storage.records import StudyState

    with open_store(ctx) as store:
        study = study_named(store, name)
    agree_to_hosts(ctx, space_of(study), yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    with open_view(as_json, plain) as view:
        what = Remeasure(trials, unsteady)
        _, state = measure(study.name, home_of(ctx), what, view)
    return 0 if state is StudyState.FINISHED else 130
