"""The five packages are those of this tree, and help comes before anything heavy."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.cli.main import COMMANDS

TREE = Path(__file__).resolve().parents[2]
PACKAGES = ("spaces", "storage", "workers", "search", "dashboard")
HEAVY = {"torch", "optuna", "pydantic", "onnxruntime", "streamlit", "transformers"}
HELP = """
import io, json, sys
from contextlib import redirect_stdout
from search.cli.main import run
said = {}
for arguments in json.loads(sys.argv[1]):
    out = io.StringIO()
    with redirect_stdout(out):
        code = run(arguments)
    said[" ".join(arguments)] = [code, out.getvalue()]
print(json.dumps({"said": said, "loaded": sorted(sys.modules)}))
"""


def _helped(arguments: list[list[str]], folder: Path) -> tuple[dict[str, list], set[str]]:
    """What these command lines print, and what a fresh interpreter has loaded then."""
    done = subprocess.run(
        [sys.executable, "-c", HELP, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    answer = json.loads(done.stdout)
    return answer["said"], set(answer["loaded"])


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_of_ours_is_the_one_in_this_tree(name: str) -> None:
    assert Path(importlib.import_module(name).__file__).resolve() == TREE / name / "__init__.py"


def test_a_package_of_ours_is_the_one_in_this_tree_from_any_folder(tmp_path: Path) -> None:
    names = ", ".join(PACKAGES)
    code = f"import json, {names}; print(json.dumps([m.__file__ for m in ({names})]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    files = [Path(file).resolve() for file in json.loads(done.stdout)]
    assert files == [TREE / name / "__init__.py" for name in PACKAGES]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    said, loaded = _helped([arguments], tmp_path)
    code, text = said[" ".join(arguments)]
    assert code == 0
    assert text
    assert "search.cli.main" in loaded
    assert not HEAVY & loaded


def test_help_names_every_command(tmp_path: Path) -> None:
    said, _ = _helped([["--help"]], tmp_path)
    text = said["--help"][1]
    assert all(f"\n  {command} " in text for command in COMMANDS)


def test_help_of_a_command_loads_neither_torch_nor_optuna(tmp_path: Path) -> None:
    said, loaded = _helped([[command, "--help"] for command in COMMANDS], tmp_path)
    assert all(code == 0 and "Usage: search" in text for code, text in said.values())
    assert not (HEAVY - {"pydantic"}) & loaded
