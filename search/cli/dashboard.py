"""`search dashboard`: the pages, in a browser."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

from search.cli.common import home_of
from search.errors import UsageFault


@click.command("dashboard")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True)
@click.option("--read-only", is_flag=True, help="Look only: nothing can be steered or noted.")
@click.option(
    "--allow-host",
    metavar="NAME",
    multiple=True,
    help="A name beside --host and localhost that it is reached under; may be repeated.",
)
@click.option("--insecure", is_flag=True, help="Let others look without sign-in; read-only then.")
@click.option(
    "--redraw-s",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Least seconds from one drawing of a page to the next while a study runs.",
)
@click.option("--browser/--no-browser", default=True, help="Open it in a browser.")
@click.pass_context
def dashboard_command(
    ctx: click.Context,
    host: str,
    port: int,
    read_only: bool,
    allow_host: tuple[str, ...],
    insecure: bool,
    redraw_s: float,
    browser: bool,
) -> None:
    """Open the dashboard: studies, front, trials, comparison, export. Ctrl-C ends it.

    It listens on this machine only unless --host says otherwise. Beyond loopback it needs
    Streamlit's own sign-in ([auth] and [roles] operators = [...] in .streamlit/secrets.toml), or
    --insecure. Behind a proxy name what it is reached under with --allow-host.
    """
    spec = importlib.util.find_spec("dashboard")
    if spec is None or spec.origin is None:
        raise UsageFault("the dashboard's pages are not installed")
    home = home_of(ctx)
    environment = {
        **os.environ,
        "SEARCH_HOME": str(home.folder),
        "SEARCH_STORE": home.store_url,
        "SEARCH_ARTIFACTS": home.artifacts_url,
        "PYTHONPATH": os.pathsep.join([str(Path(spec.origin).parents[1]), *_before()]),
    }
    given = [f"--host={host}", f"--port={port}", *(f"--allow-host={name}" for name in allow_host)]
    given.append(f"--redraw-s={redraw_s}")
    flags = {"--read-only": read_only, "--insecure": insecure, "--browser": browser}
    given += [flag for flag, is_set in flags.items() if is_set]
    home.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "dashboard", *given]  # -P: not where we are
    os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter, no shell


def _before() -> list[str]:
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
