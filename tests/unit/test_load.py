"""A space file is read whole; what it names is found from wherever the command is given."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.strategy.initial_design import initial_design
from spaces.errors import SpaceError
from spaces.load import find_space, load_space, parse_space, shipped_spaces
from spaces.points import enumerate_values, random_values, recipe_of
from spaces.recipe import Recipe
from spaces.space import Space

SHIPPED = tuple(shipped_spaces())
OWN_DATA = """
name: mine
data: {{train: [lists/train.jsonl, {elsewhere}/more.jsonl], dev: ../dev.jsonl}}
teacher: {teacher}
students: {{separable_conv: {{channels: 32}}}}
"""


def _again(recipe: Recipe) -> Recipe:
    return Recipe.model_validate_json(recipe.model_dump_json())


# paths


def test_paths_are_relative_to_the_file_they_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "spaces"
    folder.mkdir()
    teacher = "{onnx: teacher.onnx, tokens: lists/tokens.txt}"
    text = OWN_DATA.format(elsewhere="/data", teacher=teacher)
    (folder / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    space = load_space("spaces/mine.yaml")
    assert space.data.train == (str(folder / "lists/train.jsonl"), "/data/more.jsonl")
    assert space.data.dev == (str(tmp_path / "dev.jsonl"),)
    assert space.teacher.onnx == str(folder / "teacher.onnx")
    assert space.teacher.tokens == str(folder / "lists/tokens.txt")


def test_the_same_file_means_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OWN_DATA.format(elsewhere="/data", teacher="{checkpoint: t.safetensors}"))
    here = load_space(file)
    monkeypatch.chdir("/")
    assert load_space(file) == here
    assert here.teacher.checkpoint == str(tmp_path / "t.safetensors")


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    space = parse_space(
        OWN_DATA.format(elsewhere="~", teacher="{train: {}}"), "/somewhere/mine.yaml"
    )
    assert space.data.train == ("/somewhere/lists/train.jsonl", str(tmp_path / "more.jsonl"))


def test_a_hugging_face_name_is_a_folder_only_where_there_is_one(tmp_path: Path) -> None:
    text = OWN_DATA.format(elsewhere="/data", teacher="{huggingface: models/wav2vec2}")
    assert parse_space(text, tmp_path / "mine.yaml").teacher.huggingface == "models/wav2vec2"
    folder = tmp_path / "models" / "wav2vec2"
    folder.mkdir(parents=True)
    assert parse_space(text, tmp_path / "mine.yaml").teacher.huggingface == str(folder)


# shipped spaces


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("ending", ["", ".yaml", ".yml"])
def test_a_shipped_space_is_found_by_its_name_from_any_folder(
    name: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_space(name + ending) == shipped_spaces()[name]
    assert load_space(name + ending).name == name


def test_the_named_spaces_are_shipped() -> None:
    assert {"edge", "quickstart", "an4"} <= set(SHIPPED)


def test_a_file_here_goes_before_a_shipped_space_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = OWN_DATA.format(elsewhere="/data", teacher="{train: {}}")
    Path("edge.yaml").write_text(mine)
    assert load_space("edge.yaml").name == "mine"
    assert load_space("edge").name == "edge"


@pytest.mark.parametrize("folder", [".", "folder"])
def test_what_is_no_space_is_refused_with_the_names_of_those_shipped(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    shipped = ", ".join(f"{name}.yaml" for name in SHIPPED)
    with pytest.raises(SpaceError) as caught:
        find_space("quikstart.yaml")
    assert str(caught.value) == (
        "quikstart.yaml: 1 fault; nothing was started\n"
        '  quikstart.yaml: no such file (did you mean the shipped space "quickstart.yaml"?); '
        f"shipped spaces: {shipped}"
    )
    with pytest.raises(SpaceError, match="is a folder, not a file"):
        find_space(folder)


# recipes


@pytest.mark.parametrize("name", SHIPPED)
def test_first_guesses_of_a_shipped_space_survive_json(name: str) -> None:
    space = load_space(name)
    guesses = initial_design(space, 20)
    assert guesses
    for values in guesses:
        recipe = recipe_of(values)
        assert _again(recipe) == recipe
        assert _again(recipe).digest() == recipe.digest()


@given(name=st.sampled_from(SHIPPED), seed=st.integers(0, 2**32))
def test_any_recipe_of_a_shipped_space_survives_json(name: str, seed: int) -> None:
    space = load_space(name)
    values = random_values(space, random.Random(seed))
    assert values is not None
    recipe = recipe_of(values)
    again = _again(recipe)
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.digest() == recipe.digest()
    assert recipe.student.family in space.students


def test_different_recipes_have_different_digests(make_space: Callable[..., Space]) -> None:
    space = make_space(
        students={"conformer": {"channels": [16, 24], "heads": [1, 2]}, "recurrent": {}},
        quantize={"scheme": ["fp32", "int4"]},
        distil={"weight": [0.0, 0.5]},
    )
    recipes = [recipe_of(values) for values in enumerate_values(space)]
    assert len({r.digest() for r in recipes}) == len(set(recipes)) == 2 * 2 * (4 + 1)


# faults


def test_all_faults_are_told_at_once_each_with_its_line() -> None:
    text = (
        "name: bad name\n"
        "data: {synthetic: {speakers: 1}}\n"
        "teacher: {train: {}}\n"
        "students:\n"
        "  seperable_conv: {channels: 32}\n"
        "  conformer:\n"
        "    channels: [4]\n"
        "    kernel: 8\n"
        "budgets: {size_mb: '15'}\n"
        "serch: {}\n"
    )
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "bad.yaml")
    told = {(fault.line, fault.where) for fault in caught.value.faults}
    assert told == {
        (1, "name"),
        (2, "data.synthetic.speakers"),
        (5, "students.seperable_conv"),
        (7, "students.conformer.channels"),
        (8, "students.conformer.kernel"),
        (9, "budgets.size_mb"),
        (10, "serch"),
    }
    assert caught.value.lines()[0] == "bad.yaml: 7 faults; nothing was started"
    assert '  bad.yaml:10: serch: unknown key; did you mean "search"?' in caught.value.lines()


@pytest.mark.parametrize(
    ("section", "axes"),
    [
        ("training", {"epochs": 0}),
        ("training", {"epochs": [5, 2.5]}),
        ("training", {"learning_rate": {"float": [0.1, 5.0]}}),
        ("distil", {"weight": [0.5, 2]}),
        ("distil", {"temperature": {"float": [0.0, 2.0]}}),
        ("distil", {"weight": "high"}),
        ("prune", {"ratio": 0.99}),
        ("prune", {"epochs": "many"}),
    ],
)
def test_a_value_that_no_recipe_may_have_is_refused_at_the_door(
    make_space: Callable[..., Space], section: str, axes: dict[str, Any]
) -> None:
    axis = next(iter(axes))
    with pytest.raises(SpaceError, match=rf"{section}\.{axis}"):
        make_space(**{section: axes})
