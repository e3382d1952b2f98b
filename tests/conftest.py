"""What the tests of several parts share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from postgres import PostgreSQL

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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The folder of the socket of a running server."""
    with PostgreSQL() as server:
        yield str(server.folder)
