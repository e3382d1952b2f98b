"""A real Chromium, and the dashboard that it looks at."""

from __future__ import annotations

import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chromium import system_chromium
from playwright.sync_api import Browser, Page, Playwright, expect
from shell import command

_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
)
NO_CHROMIUM = "there is no Chromium; `python tests/support/chromium.py` installs one"
_WAIT_S = 60.0
_OFTEN = ("--redraw-s", 5)  # drawn anew sooner than usual: tests wait for it
expect.set_options(timeout=30_000)  # a test machine may be busy


def find_chromium(playwright: Playwright) -> str | None:
    """The system's, or the one that Playwright has installed."""
    own = playwright.chromium.executable_path
    return system_chromium() or (own if Path(own).exists() else None)


def launch(playwright: Playwright, path: str) -> Browser:
    return playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))


@contextmanager
def serving(
    home: Path, *options: object, secrets: Callable[[str], str] | None = None
) -> Iterator[str]:
    """`search dashboard` of a home; gives its address once it answers.

    `secrets` gives what `.streamlit/secrets.toml` says, from the address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    folder = home.parent / f"dashboard-{port}"  # where it is started
    (folder / ".streamlit").mkdir(parents=True)
    if secrets is not None:
        (folder / ".streamlit" / "secrets.toml").write_text(secrets(url))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command("--home", home, "dashboard", "--no-browser", "--port", port, *_OFTEN, *options),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(f"{url}/_stcore/health", process)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until a server answers."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer (its server ended with {process.poll()})")


_SETTLED = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  const plots = [...document.querySelectorAll('[data-testid=stPlotlyChart], .front-chart')];
  return app && app.dataset.testScriptState === 'notRunning' && document.querySelector('h1')
    && !document.querySelector('[data-testid=stSkeleton]')
    && !document.querySelector('[data-stale=true]')
    && plots.every(p => p.querySelector('.main-svg, .gl-container, canvas'))
}"""


def settled(page: Page) -> Page:
    """The same page, when its script has ended and its charts are drawn."""
    page.wait_for_function(_SETTLED)
    return page


def said(page: Page) -> str:
    """Everything that the page says: tables, charts and fields included."""
    return str(
        page.evaluate(
            """() => {
              const all = [document.body.innerText];
              for (const e of document.querySelectorAll('th, td, text')) all.push(e.textContent);
              for (const e of document.querySelectorAll('input')) all.push(e.value);
              return all.join('\\n')
            }"""
        )
    )


def hear(page: Page, *words: str) -> str:
    """Wait until the page says all of these (regular expressions); all that it says then."""
    deadline = time.monotonic() + _WAIT_S / 2
    while True:
        text = said(settled(page))
        lacking = [w for w in words if not re.search(w, text)]
        if not lacking:
            return text
        assert time.monotonic() < deadline, f"{lacking} not in:\n{text}"
        page.wait_for_timeout(100)


def figures_of(page: Page, which: str) -> Any:
    """A value of the first chart: `which` is JavaScript about `chart`."""
    return page.evaluate(
        "which => { const chart = document.querySelector('.js-plotly-plot');"
        " return new Function('chart', `return ${which}`)(chart) }",
        which,
    )
