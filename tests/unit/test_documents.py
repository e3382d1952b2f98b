"""What can be done is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.cli.main import COMMANDS
from spaces.families import FAMILIES
from spaces.load import shipped_spaces
from spaces.recipe import Scheme
from spaces.space import Data, Search, Space, TeacherSource

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EDGE = shipped_spaces()["edge"].read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name):
    assert f"search {name}" in README or f"|{name}" in README or f"{name}|" in README


@pytest.mark.parametrize("scheme", Scheme.__args__)
def test_every_number_format_is_in_the_readme(scheme):
    assert f"| `{scheme}` |" in README


@pytest.mark.parametrize("kind", [k for k in TeacherSource.model_fields if k != "tokens"])
def test_every_kind_of_teacher_is_in_the_readme_and_in_the_space_to_start_from(kind):
    assert f"teacher: {{{kind}: " in README
    assert f"{kind}:" in EDGE


@pytest.mark.parametrize("section", [s for s in Space.model_fields if s != "description"])
def test_every_section_is_in_the_space_to_start_from(section):
    assert f"\n{section}:" in EDGE


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_in_the_space_to_start_from(family):
    assert f"\n  {family}:" in EDGE


@pytest.mark.parametrize("key", [*Data.model_fields, *Search.model_fields])
def test_every_setting_of_data_and_search_is_documented(key):
    documents = README + EDGE
    named = (f"{key}:", f"`{key}`", f"data.{key}`", f"search.{key}`")
    assert any(name in documents for name in named)
