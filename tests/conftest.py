"""What the tests of several parts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from spaces.load import parse_space
from spaces.space import Space

# Nothing is timed: a test machine may be busy. Derandomised: a run today is a run tomorrow.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

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
