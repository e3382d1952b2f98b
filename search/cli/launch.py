"""`search launch`: run a study, or continue it."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Literal

import click

from search.cli.common import agree_to_hosts, home_of, open_store, space_of, study_named, yes_option


@click.command("launch", short_help="run the search of a space, or continue it")
@click.option("--space", "path", required=True, help="A space file, or a shipped space by name.")
@click.option("--study", help="Name of the study [default: the space's].")
@click.option("--trials", type=click.IntRange(1), help="How many trials.")
@click.option("--hours", type=click.FloatRange(0, min_open=True), help="Time limit.")
@click.option(
    "--compute-hours",
    type=click.FloatRange(0, min_open=True),
    help="CPU hours of all stages after which no new trial begins.",
)
@click.option("--parallel", type=click.IntRange(1), help="Trials at the same time.")
@click.option("--seed", type=int)
@click.option("--sampler", type=click.Choice(["tpe", "nsga2", "gp", "random"]))
@click.option(
    "--deterministic",
    is_flag=True,
    help="Fix the sequence of recipes: the same search whatever --parallel is.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where stages run: here, or on a Ray cluster.",
)
@click.option("--address", default="auto", help="Of the cluster: HOST:PORT [default: this host's].")
@click.option(
    "--stage-memory-gb",
    type=click.FloatRange(0, min_open=True),
    help="What a stage that trains may take of its node.",
)
@click.option("--detach", is_flag=True, help="Run in the background; see `search attach`.")
@click.option("--json", "as_json", is_flag=True, help="Events as JSON lines.")
@click.option("--plain", is_flag=True, help="Lines instead of the live page.")
@yes_option
@click.pass_context
def launch_command(
    ctx: click.Context,
    /,
    path: str,
    as_json: bool,
    plain: bool,
    yes: bool,
    engine: Literal["local", "ray"],
    address: str,
    stage_memory_gb: float | None,
    detach: bool,
    **options: object,
) -> int:
    """Run the search of a space. The same command continues a study that was stopped, killed or
    extended; Ctrl-C stops it cleanly.

    \b
    Examples:
      search launch --space edge.yaml
      search launch --space my.yaml --study my-2 --trials 50 --parallel 4
      search launch --space my.yaml --detach
      search launch --space my.yaml --engine ray --address 10.0.0.5:6379 --parallel 16
    """
    from search.cli.front import front_command
    from search.report.terminal import open_view
    from search.study.engine import Engine
    from search.study.launch import launch
    from search.study.options import Options, with_options
    from spaces.load import load_space
    from storage.records import StudyState

    space = load_space(path)
    agree_to_hosts(ctx, space, yes)
    if detach:
        named = with_options(space, Options(**options))  # type: ignore[arg-type]
        return _detached(ctx, named.name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's Ctrl-C
    with open_view(as_json, plain) as observer:
        study, state = launch(
            path,
            home_of(ctx),
            Options(**options),  # type: ignore[arg-type]
            observer,
            engine=Engine(engine, address, stage_memory_gb or 0.0),
        )
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


def _detached(ctx: click.Context, name: str) -> int:
    """The same command in the background; returns once it holds its study."""
    from search.cli.background import in_background
    from storage.database import sqlite_file

    home = home_of(ctx)
    log = home.folder / "logs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    arguments = [argument for argument in sys.argv[1:] if argument != "--detach"]

    def is_under_way(process: int) -> bool:
        if (file := sqlite_file(home.store_url)) is not None and not file.exists():
            return False
        with open_store(ctx) as store:
            study, lease = store.studies.find(name), store.leases.find(name)
        holder = None if lease is None else lease.holder
        is_held = holder is not None and holder.get("process") == process
        return is_held and study is not None and study.state.is_live

    home.folder.mkdir(parents=True, exist_ok=True)
    process, code = in_background([*arguments, "--plain"], log, is_under_way)
    if code:
        click.echo("".join(log.read_text().splitlines(keepends=True)[-20:]), err=True, nl=False)
        return code
    if code == 0:
        click.echo(f"{name} is finished; see {log}")
        return 0
    click.echo(f"{name} runs as process {process}; its output goes to {log}")
    click.echo(f"search attach {name} · search status {name} · search stop {name}")
    return 0
