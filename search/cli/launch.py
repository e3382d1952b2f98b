"""`search launch`: run a study, or continue it."""

from __future__ import annotations

import signal
import sys

import click

from search.cli.common import agree_to_hosts, home_of, open_store, space_of, study_named, yes_option


@click.command("launch", short_help="run the search of a space, or continue it")
@click.option("--space", "path", required=True, help="A space file, or a shipped space by name.")
@click.option("--study", help="Name of the study [default: the space's].")
@click.option("--trials", type=click.IntRange(1), help="How many trials.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Time limit.")
@click.option("--parallel", type=click.IntRange(1), help="Trials at the same time.")
@click.option("--seed", type=int)
@click.option("--sampler", type=click.Choice(["tpe", "nsga2", "gp", "random"]))
@click.option(
    "--deterministic",
    is_flag=True,
    help="Fix the sequence of recipes: the same search whatever --parallel is.",
)
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@yes_option
@click.pass_context
def launch_command(
    ctx: click.Context, /, path: str, as_json: bool, plain: bool, yes: bool, **options: object
) -> int:
    """Run the search of a space. The same command continues a study that was stopped, killed or
    extended; Ctrl-C stops it cleanly.

    \b
    Examples:
      search launch --space edge.yaml
      search launch --space my.yaml --study my-2 --trials 50 --parallel 4
    """
    from search.cli.front import front_command
    from search.report.terminal import open_view
    from search.study.launch import launch
    from search.study.options import Options
    from spaces.load import load_space
    from storage.records import StudyState

    agree_to_hosts(ctx, load_space(path), yes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    with open_view(as_json, plain) as observer:
        study, state = launch(path, home_of(ctx), Options(**options), observer)  # type: ignore[arg-type]
    if as_json:
        return 0 if state is StudyState.FINISHED else 130
    if state is StudyState.FINISHED:
        if plain or not sys.stdout.isatty():
            ctx.invoke(front_command, name=study.name)
        else:  # the live page ends with its front
            _say_answer(ctx, study.name)
        name = study.name
        click.echo(f"next: search front {name} · search export --study {name} --ship OUT.zip")
        return 0
    click.echo(f"stopped. To continue: search launch --space {path} (with the same options)")
    return 130


def _say_answer(ctx: click.Context, name: str) -> None:
    """Which student to ship."""
    from search.analysis.trial_frame import study_frame
    from search.cli.answer import print_answer

    with open_store(ctx) as store:
        study = study_named(store, name)
        space = space_of(study)
        print_answer(study, study_frame(store, study, space), others=list(space.targets)[1:])
