"""The schema of space files takes every space that loads, and refuses what an editor can see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from shell import SMALLEST_SPACE, TINY_SPACE

from spaces.load import load_space, parse_space, shipped_spaces, stored_text
from spaces.schema import SCHEMA_FILE, schema_text

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(json.loads(schema_text()))
FILES = [*shipped_spaces().values(), *(ROOT / "tests").rglob("*.yaml")]
MINE = """
name: mine
data: {train: a.jsonl, dev: [b.jsonl, c.jsonl]}
teacher: {command: [my-asr, "{audio}"], time_limit_s: 5}
"""


def faults(text: str) -> list[str]:
    return [e.message for e in VALIDATOR.iter_errors(yaml.safe_load(text))]


def test_the_schema_that_ships_is_that_of_the_code() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "python -m spaces.schema"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_space_file_of_ours_is_valid(path: Path) -> None:
    assert not faults(path.read_text())


@pytest.mark.parametrize(
    "more",
    [
        "students: {separable_conv: {channels: [16, 24]}}",
        "students: {separable_conv: {channels: {int: [16, 64], step: 8}}, recurrent: }",
        "like: edge",
        "like: edge\nbudgets: {size_mb: '<= 15', latency_p95_ms@pi5: '<= teacher + 5'}\n"
        "targets: {cpu: {}, pi5: {graph_level: off}}",
        "like: edge\nbudgets:\ngate: {qoi: true, empty_output: '<= 0.01', long_audio: 0.1}",
        "like: edge\nobjectives: [wer, size_mb]\nforbid: [{family: recurrent, prune.ratio: 0.3}]",
        "like: edge\nsearch: {weight_sharing: auto, warm_start: other, formats: all}",
    ],
)
def test_what_loads_is_valid(more: str) -> None:
    parse_space(MINE + more, "mine.yaml")
    assert not faults(MINE + more)


@pytest.mark.parametrize("text", [TINY_SPACE, SMALLEST_SPACE])
def test_spaces_of_the_tests_are_valid(text: str) -> None:
    assert not faults(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("studnets: {}", "'studnets' was unexpected"),
        ("students: {separable_konv: {}}", "'separable_konv' was unexpected"),
        ("students: {separable_conv: {chanels: 16}}", "is not valid under any"),
        ("students: {separable_conv: {channels: {int: [16]}}}", "is not valid under any"),
        ("like: egde", "is not one of"),
        ("like: edge\nobjectives: [war]", "does not match"),
        ("like: edge\nbudgets: {size_mb: 15}", "is not valid under any"),
        ("like: edge\nsearch: {trails: 3}", "'trails' was unexpected"),
        ("like: edge\nsearch: {trials: many}", "is not of type 'integer'"),
        ("description: none", "is not valid under any"),  # neither students nor like
    ],
)
def test_what_an_editor_can_see_is_refused(line: str, said: str) -> None:
    assert any(said in message for message in faults(MINE + line))


def test_every_key_of_a_section_says_what_it_is() -> None:
    undescribed = {
        section
        for section, record in VALIDATOR.schema["$defs"].items()
        for value in record.get("properties", {}).values()
        if section != "axis" and "description" not in value
    }
    assert undescribed <= {"Regression", "Training"}


def test_a_space_that_is_like_another_has_what_it_does_not_say_itself() -> None:
    edge, mine = load_space("edge"), parse_space(MINE + "like: edge", "mine.yaml")
    for section in ("students", "training", "distil", "prune", "quantize", "search", "forbid"):
        assert getattr(mine, section) == getattr(edge, section)
    assert mine.teacher.command and not mine.budgets and mine.gate != edge.gate


def test_its_own_sections_go_before_and_the_rules_go_with_the_students() -> None:
    own = "like: edge\nstudents: {recurrent: {hidden: [16, 24]}}\nsearch: {trials: 3}"
    mine = parse_space(MINE + own, "mine.yaml")
    assert list(mine.students) == ["recurrent"]
    assert mine.search.trials == 3 and mine.search.warm_start == ()
    assert not mine.forbid
    assert mine.quantize == load_space("edge").quantize


def test_a_study_keeps_what_was_taken_over_whatever_is_shipped_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = MINE + "like: edge"
    before = parse_space(text, "mine.yaml")
    kept = stored_text(text, "mine.yaml")
    monkeypatch.setattr("spaces.load.shipped_spaces", dict)
    assert parse_space(kept, "mine.yaml") == before
    assert stored_text(MINE, "mine.yaml") == MINE


def test_rules_of_another_space_are_left_where_they_may_not_fit() -> None:
    parts = "{frontend: fp32, encoder: [fp32, int8_dynamic], head: fp32}"
    assert not parse_space(f"{MINE}like: edge\nquantize: {parts}", "mine.yaml").forbid
