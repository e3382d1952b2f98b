"""What can be done is written down, where it is looked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from folders import ROOT

from search.cli.help import TOPICS
from search.cli.main import COMMANDS
from spaces import reference
from spaces.backends import BACKENDS
from spaces.families import FAMILIES
from spaces.load import shipped_spaces
from spaces.metrics import METRICS
from spaces.recipe import Scheme
from spaces.space import TEACHER_KINDS, Data, Search, Space

README = (ROOT / "README.md").read_text()
EDGE = shipped_spaces()["edge"].read_text()
LANGUAGE = (ROOT / "spaces" / "README.md").read_text()
PAGES = sorted(
    p
    for p in ROOT.rglob("*.md")
    if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)
)


def test_the_readme_is_a_path_and_not_a_reference() -> None:
    assert len(README.splitlines()) <= 250


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"search {name}" in README or f"|{name}" in README or f"{name}|" in README


@pytest.mark.parametrize("kind", TEACHER_KINDS)
def test_every_kind_of_teacher_is_in_the_readme_and_in_the_space_to_start_from(kind: str) -> None:
    assert f"teacher: {{{kind}: " in README
    assert f"{kind}:" in EDGE


@pytest.mark.parametrize("section", [s for s in Space.model_fields if s != "description"])
def test_every_section_is_in_the_space_to_start_from(section: str) -> None:
    assert re.search(rf"^(# )?{section}:", EDGE, re.M)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_in_the_space_to_start_from(family: str) -> None:
    assert re.search(rf"^  (# )?{family}:", EDGE, re.M)


# the reference pages


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_reference_page_has_the_tables_of_the_code(page: Path) -> None:
    text = page.read_text()
    assert reference.rendered(text) == text, "run `python -m spaces.reference`"


def test_every_table_stands_on_some_page() -> None:
    pages = "".join(page.read_text() for page in reference.PAGES)
    assert all(f"<!-- begin {name} -->" in pages for name in reference.TABLES)


def test_a_table_has_a_row_and_a_meaning_for_every_name() -> None:
    for name, table in reference.TABLES.items():
        for line in table().splitlines()[2:]:
            assert not line.endswith("|  |"), f"{name}: {line} says nothing"
    for name in (*METRICS, *Data.model_fields, *Search.model_fields):
        assert f"| `{name}` |" in LANGUAGE


@pytest.mark.parametrize(
    "section", [s for s in Space.model_fields if s not in ("name", "description")]
)
def test_every_section_is_in_the_language_reference(section: str) -> None:
    assert re.search(rf"^## .*\b{section}\b|`{section}:`", LANGUAGE, re.M)


@pytest.mark.parametrize("scheme", Scheme.__args__)  # type: ignore[attr-defined]
def test_every_number_format_is_in_the_language_reference(scheme: str) -> None:
    assert f"| `{scheme}` |" in LANGUAGE


def test_every_backend_is_in_the_reference_of_backends() -> None:
    page = (ROOT / "workers" / "backends" / "README.md").read_text()
    for name, info in BACKENDS.items():
        assert (f"| `{name}` |" in page) == (info.status != "for tests")


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_of_help_is_a_page(topic: str) -> None:
    path, meaning = TOPICS[topic]
    assert (ROOT / path).read_text().startswith("# ")
    assert meaning


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(
        r"`((?:spaces|storage|workers|search|dashboard|tests)/[\w./]*)`", page.read_text()
    )
    assert not [name for name in named if not (ROOT / name).exists()]
