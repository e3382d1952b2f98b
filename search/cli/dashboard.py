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
@click.option("--browser/--no-browser", default=True, help="Open it in a browser.")
@click.pass_context
def dashboard_command(
    ctx: click.Context, host: str, port: int, read_only: bool, browser: bool
) -> None:
    """Open the dashboard: studies, front, trials, comparison, export. Ctrl-C ends it.

    It listens on this machine only unless --host says otherwise. Beyond loopback configure
    Streamlit's own sign-in ([auth] and [roles] operators = [...] in .streamlit/secrets.toml).
    """
    if importlib.util.find_spec("streamlit") is None:
        from workers.errors import MissingExtra

        raise MissingExtra("the dashboard", "dashboard")
    spec = importlib.util.find_spec("dashboard")
    if spec is None or spec.origin is None:
        raise UsageFault("the dashboard's pages are not installed")
    home = home_of(ctx)
    environment = {
        **os.environ,
        "SEARCH_HOME": str(home.folder),
        "SEARCH_STORE": home.store_url,
        "SEARCH_ARTIFACTS": home.artifacts_url,
        "SEARCH_DASHBOARD_READ_ONLY": "1" if read_only else "0",
        "PYTHONPATH": os.pathsep.join([str(Path(spec.origin).parents[1]), *_before()]),
    }
    command = [sys.executable, "-P", "-m", "dashboard"]  # -P: not the folder we are in
    options = {
        "server.address": host,
        "server.port": port,
        "server.headless": str(not browser).lower(),
        "server.maxUploadSize": 50,
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "theme.paddingTop": "3.5rem",
        "theme.headingFontSizes": '["2rem", "1.5rem", "1.25rem", "1.125rem", "1rem", "1rem"]',
        "theme.metricValueFontSize": "1.5rem",
        "theme.light.primaryColor": "#0063A0",
        "theme.light.textColor": "#111111",
        "theme.dark.primaryColor": "#56B4E9",
        "theme.dark.textColor": "#FAFAFA",
        "client.toolbarMode": "minimal",
        "server.fileWatcherType": "none",
        "runner.magicEnabled": "false",
    }
    home.folder.mkdir(parents=True, exist_ok=True)
    command += [f"--{k}={v}" for k, v in options.items()]
    os.execve(command[0], command, environment)  # noqa: S606 - our own interpreter, no shell


def _before() -> list[str]:
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
