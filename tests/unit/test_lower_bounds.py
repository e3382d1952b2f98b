"""What security leans on has a lower bound, and what is installed here is not below it."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIRED = [Requirement(r) for r in itertools.chain(PROJECT["dependencies"], *EXTRAS.values())]
BOUNDED = [r for r in REQUIRED if r.specifier]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
}
LEANED_ON = [
    *("onnx", "onnxruntime", "pyyaml", "requests", "torch", "urllib3"),
    *("h11", "starlette", "uvicorn", "authlib"),
]


@pytest.mark.parametrize("required", BOUNDED, ids=str)
def test_a_pin_satisfies_its_bound(required: Requirement) -> None:
    assert PINS[canonicalize_name(required.name)] in required.specifier


@pytest.mark.parametrize("name", LEANED_ON)
def test_what_security_leans_on_has_a_bound_that_says_what_it_is_for(name: str) -> None:
    named = [r for r in REQUIRED if r.name == name]
    assert named
    assert all(r.specifier for r in named)
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    bounds = [line for line in lines if f'"{name}>=' in line or f'"{name}==' in line]
    assert len(bounds) == len(named)
    assert all("  # " in line for line in bounds)
