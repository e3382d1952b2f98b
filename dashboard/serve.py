"""Serves the pages with Streamlit, behind the guard."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import streamlit as st
from starlette.middleware import Middleware

from dashboard.auth import READ_ONLY, has_sign_in
from dashboard.guard import Guard, is_reached_by_others
from dashboard.parts.pulse import REDRAW_S

_SETTINGS: dict[str, str | int | float | bool] = {
    "server.maxUploadSize": 50,
    "server.headless": True,  # Streamlit opens no browser for an `App`; we do
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": True,  # it asks a server elsewhere what our address is
    "runner.magicEnabled": False,
    "theme.paddingTop": "3.5rem",
    "theme.headingFontSizes": '["2rem", "1.5rem", "1.25rem", "1.125rem", "1rem", "1rem"]',
    "theme.metricValueFontSize": "1.5rem",
    "theme.light.primaryColor": "#0063A0",
    "theme.light.textColor": "#111111",
    "theme.dark.primaryColor": "#56B4E9",
    "theme.dark.textColor": "#FAFAFA",
}


@dataclass(frozen=True)
class Options:
    """Where the pages are served, under which names, and whether they steer."""

    host: str
    port: int
    names: tuple[str, ...]
    opens_browser: bool
    is_read_only: bool
    redraw_s: float


def options_of(arguments: Sequence[str]) -> Options:
    """What was asked for.

    Exits with code 2 where others could steer without being asked who they are.
    """
    parser = argparse.ArgumentParser("dashboard")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--allow-host", action="append", default=[])
    parser.add_argument("--redraw-s", type=float, default=60.0)
    for name in ("--read-only", "--insecure", "--browser"):
        parser.add_argument(name, action="store_true")
    given = parser.parse_args(arguments)
    try:
        is_open = is_reached_by_others(given.host) and not has_sign_in()
    except OSError as error:
        raise _refusal(f"--host {given.host}: {error.strerror}") from error
    if is_open and not given.insecure:
        raise _refusal(
            f"--host {given.host or '(empty)'} can be reached by others, who could steer the "
            "studies: configure sign-in ([auth] in .streamlit/secrets.toml, see `search help "
            "dashboard`), or give --insecure, by which everybody may look and nobody steer"
        )
    if is_open:
        _say("--insecure: everybody who reaches this dashboard may look; it is read-only")
    return Options(
        host=given.host,
        port=given.port,
        names=(given.host, *given.allow_host),
        opens_browser=given.browser,
        is_read_only=given.read_only or is_open,
        redraw_s=given.redraw_s,
    )


def serve(options: Options) -> None:
    """Until Ctrl-C."""
    os.environ[READ_ONLY] = str(int(options.is_read_only))
    os.environ[REDRAW_S] = str(options.redraw_s)

    @asynccontextmanager
    async def announced(_: st.App) -> AsyncIterator[None]:
        url = f"http://{_shown(options.host)}:{st.get_option('server.port')}"
        _say(f"dashboard at {url}; Ctrl-C ends it")
        if options.opens_browser:  # which may take its time
            Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        yield

    app = st.App(
        Path(__file__).with_name("app.py"),
        lifespan=announced,
        middleware=[Middleware(Guard, names=options.names)],
    )
    app.run(config={**_SETTINGS, "server.address": options.host, "server.port": options.port})


def _shown(host: str) -> str:
    """A host as an address has it; where all are listened at, the one that is always there."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared only
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _refusal(message: str) -> SystemExit:
    _say(message)
    return SystemExit(2)


def _say(message: str) -> None:
    print(f"search: {message}", file=sys.stderr, flush=True)
