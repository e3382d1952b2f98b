"""A backend of another package is found, listed and used like ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import agents
import plugin_example
import pytest
from second_target import SPACE

from spaces.backends import BACKENDS


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The example, installed in a folder of its own as pip does it."""
    folder = tmp_path / "elsewhere"
    described = folder / "plugin_example-1.0.dist-info"
    described.mkdir(parents=True)
    shutil.copy(plugin_example.__file__, folder)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-example\nVersion: 1\n")
    (described / "entry_points.txt").write_text(
        "[compression_search.backends]\nexample = plugin_example\nbroken = no_such_module\n"
        "odd = json\nopenvino = plugin_example\n"
    )
    return folder


def _run(program: str, outside: Path, *arguments: object) -> tuple[str, str]:
    paths = [str(outside), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


_USES = """
import json, sys
from pathlib import Path
import numpy as np
from spaces.backends import BACKENDS, backend_info
from spaces.errors import SpaceError
from spaces.load import parse_space
from workers.backends.environments import interpreter_of
from workers.isolated_call import call

text, onnx, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
said = {}
target = parse_space(text.replace("BACKEND", "backend: example"), "test.yaml").targets["other"]
said["backend"] = target.backend
for name in ("exmaple", "broken", "odd"):
    try:
        parse_space(text.replace("BACKEND", f"backend: {name}"), "test.yaml")
    except SpaceError as error:
        said[name] = str(error)
said["ours"] = backend_info("openvino").module
said["known"] = list(BACKENDS)
request = {"backend": "example", "onnx": onnx, "network": None, "formats": ["fp32"] * 3,
           "calibration": None, "lengths": [], "folder": str(folder)}
said["files"] = call("prepare", request, interpreter_of("example"))
np.random.default_rng(0).normal(0, 1, (150, 80)).astype(np.float32).tofile(folder / "f32")
for backend in ("example", "onnxruntime"):
    request = {"backend": backend, "model": str(folder / said["files"][0]),
               "settings": target.settings(), "features": str(folder / "f32"),
               "at": [[0, 50], [50, 100]]}
    said[backend] = call("recognise", request, interpreter_of(backend))
print(json.dumps(said))
"""


def test_a_backend_of_another_package_is_used_like_ours(outside: Path, tmp_path: Path) -> None:
    onnx = agents.student(tmp_path / "student")
    said = json.loads(_run(_USES, outside, SPACE, onnx, tmp_path / "prepared")[0])
    assert said["backend"] == "example"
    assert said["files"] == ["model.onnx"]
    assert [len(ids) for ids in said["example"]] == [13, 25]
    assert said["example"] == said["onnxruntime"]
    assert 'no backend "exmaple"; did you mean "example"?' in said["exmaple"]
    assert 'backend "broken" of no_such_module cannot be loaded (ModuleNotFound' in said["broken"]
    assert 'backend "odd": json is not a BackendInfo' in said["odd"]
    assert said["ours"] == "workers.backends.openvino"  # nobody takes the name of one of ours
    assert said["known"] == [*BACKENDS, "example", "broken", "odd"]


_LISTS = "import sys; from search.cli import main; sys.argv[0] = 'search'; main()"


def test_backends_of_other_packages_are_listed_with_ours(outside: Path) -> None:
    (outside / "plugin_example-1.0.dist-info" / "entry_points.txt").write_text(
        "[compression_search.backends]\nexample = plugin_example\n"
    )
    said, _ = _run(_LISTS, outside, "backends")
    assert "example (first class; installed): ONNX Runtime by another name" in said
    assert "openvino (first class; " in said
    rows = {row["name"]: row for row in json.loads(_run(_LISTS, outside, "backends", "--json")[0])}
    assert rows["example"]["installed"] is True
    assert rows["litert"]["requirements"]
    assert "stub" not in rows


def test_a_backend_that_cannot_be_loaded_hides_no_other(outside: Path) -> None:
    said, complaints = _run(_LISTS, outside, "backends")
    assert "example (first class; installed)" in said
    assert "broken" not in said
    assert 'search: backend "broken" of no_such_module cannot be loaded' in complaints
