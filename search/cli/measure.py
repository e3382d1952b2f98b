"""`search measure`: measure what waits for a device, take measurements again, or measure on targets
that the study did not have."""

from __future__ import annotations

import signal

import click

from search.added_targets import own_space_of
from search.cli.common import agree_to_hosts, home_of, open_store, study_named, yes_option
from search.errors import UsageFault


@click.command("measure")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--trial", "trials", type=click.IntRange(0), multiple=True, help="Take this again.")
@click.option("--unsteady", is_flag=True, help="Take again all that was not measured in quiet.")
@click.option(
    "--target-file",
    "target_file",
    help="Measure on the targets of this YAML file, which the study then has as well.",
)
@click.option("--front", is_flag=True, help="With --target-file: the front [default].")
@click.option("--all", "everything", is_flag=True, help="With --target-file: all that is measured.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@yes_option
@click.pass_context
def measure_command(
    ctx: click.Context,
    name: str | None,
    trials: tuple[int, ...],
    unsteady: bool,
    target_file: str | None,
    front: bool,
    everything: bool,
    as_json: bool,
    plain: bool,
    yes: bool,
) -> int:
    """Measure trained students that wait for a device which was away; nothing is trained that
    was not begun, nothing new is tried.

    With --target-file: convert, score and measure finished students on a device or runtime that
    the space does not name. The file holds `targets:` as a space does, or one target with its
    `name:`. Their figures are then known as latency_p95_ms@name; what the study decides by stays.

    \b
    Examples:
      search measure edge
      search measure edge --unsteady
      search measure edge --trial 4 --trial 7
      search measure edge --target-file pi5.yaml --all
    """
    from search.report.terminal import open_view
    from search.study.added import OnAdded
    from search.study.launch import Remeasure, measure
    from spaces.target_file import load_targets
    from storage.records import StudyState

    chosen = [o for o, given in (("--front", front), ("--all", everything)) if given]
    if target_file is None and chosen:
        raise UsageFault(f"{chosen[0]} goes with --target-file")
    if len(chosen) + bool(trials) > 1:
        raise UsageFault(f"{', '.join(chosen)}{' and --trial' * bool(trials)}: choose one")
    with open_store(ctx) as store:
        study = study_named(store, name)
    space = own_space_of(study)
    what: Remeasure | OnAdded = Remeasure(trials, unsteady)
    if target_file is not None:
        what = OnAdded(load_targets(target_file), trials, everything, unsteady)
        new = {n: t for n, t in what.targets.items() if n not in space.targets}
        space = space.model_copy(update={"targets": new})
    agree_to_hosts(ctx, space, yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    with open_view(as_json, plain) as view:
        _, state = measure(study.name, home_of(ctx), what, view)
    return 0 if state is StudyState.FINISHED else 130
