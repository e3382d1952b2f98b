"""The teacher leaves a study as a bundle, and comes into another one as an ONNX file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from refusals import SPACE
from shell import TINY_SPACE

from search.cli.main import run
from storage.artifacts import file_digest
from storage.store import Store

Cli = Callable[..., Any]
QUICK = {"runs": 10, "restarts": 1, "tries": 1, "max_s": 0.5}


@pytest.fixture(scope="module")
def bundle(finished: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher that was trained in the finished search."""
    folder = tmp_path_factory.mktemp("teacher") / "bundle"
    done = cli("--home", finished, "export", "--trial", "teacher", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"teacher of tiny: wrote {folder}\n")
    return folder


@pytest.fixture(scope="module")
def brought(bundle: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a search with that teacher brought along; its blank is called otherwise."""
    folder = tmp_path_factory.mktemp("brought")
    shutil.copy(bundle / "model.onnx", folder / "big.onnx")
    tokens = (bundle / "tokens.txt").read_text().replace("<blk> ", "[PAD] ")
    (folder / "big.txt").write_text(tokens)
    space = yaml.safe_load(TINY_SPACE) | {
        "teacher": {"onnx": "big.onnx", "tokens": "big.txt"},
        "students": {"separable_conv": {"channels": [16, 24], "blocks": 1}},
        "targets": {"cpu": QUICK, "cpu2": {"threads": 2, **QUICK}},
        "budgets": {"size_mb": "<= teacher"},
        "search": {"trials": 1, "parallel": 1, "confirm": False},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    done = cli("--home", folder, "launch", "--space", folder / "tiny.yaml", "--plain")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def teacher_of(home: Path, cli: Cli) -> dict[str, float]:
    (study,) = json.loads(cli("--home", home, "status", "--json").stdout)
    return dict(study["teacher"])


def test_a_teacher_that_was_trained_here_is_a_bundle_that_transcribes(
    bundle: Path, finished: Path, cli: Cli
) -> None:
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert (manifest["trial"], manifest["backend"]) == ("teacher", "onnxruntime")
    assert all(file_digest(bundle / name) == d for name, d in manifest["files"].items())
    size_mb = (bundle / "model.onnx").stat().st_size / 1e6
    assert teacher_of(finished, cli)["size_mb"] == size_mb
    measured = json.loads((bundle / "measurements.json").read_text())["student"]
    assert {m["value"] for m in measured if m["metric"] == "size_mb"} == {size_mb}
    recipe = json.loads((bundle / "recipe.json").read_text())
    assert recipe["student"]["channels"] == 32
    card = (bundle / "CARD.md").read_text()
    assert 'The teacher of study "tiny"' in card
    assert "| measured on the file in this package | teacher |" in card
    recording = next((finished / "cache" / "synthetic").glob("*/dev-00000.flac"))
    done = cli("transcribe", bundle, recording)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_teacher_that_was_brought_as_onnx_has_its_size_on_every_target(
    brought: Path, cli: Cli
) -> None:
    teacher = teacher_of(brought, cli)
    size_mb = (brought / "big.onnx").stat().st_size / 1e6
    sizes = {name: value for name, value in teacher.items() if name.startswith("size_mb")}
    assert sizes == {"size_mb": size_mb, "size_mb@cpu": size_mb, "size_mb@cpu2": size_mb}
    shown = cli("--home", brought, "front", "--all").stdout
    assert " MB " in next(line for line in shown.splitlines() if "teacher" in line)


def test_a_teacher_that_was_brought_as_onnx_is_exported_as_it_came_with_the_blank_named(
    brought: Path, bundle: Path, cli: Cli, finished: Path, tmp_path: Path
) -> None:
    done = cli("--home", brought, "export", "--trial", "teacher", tmp_path / "b.zip")
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(tmp_path / "b.zip", tmp_path / "b")
    for name in ("model.onnx", "tokens.txt"):
        assert (tmp_path / "b" / name).read_bytes() == (bundle / name).read_bytes()
    assert not (tmp_path / "b" / "recipe.json").exists()
    notice = (tmp_path / "b" / "LICENSE-NOTICE.txt").read_text()
    assert "This model was brought along: onnx big.onnx." in notice
    recording = next((finished / "cache" / "synthetic").glob("*/dev-00000.flac"))
    texts = [cli("transcribe", b, recording).stdout for b in (bundle, tmp_path / "b.zip")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (
            "torchaudio: WAV2VEC2_ASR_BASE_960H",
            "the teacher (torchaudio WAV2VEC2_ASR_BASE_960H) has no file that takes what "
            "students take, so there is none of it to export; choose a student: "
            "`search front tiny` lists the best",
        ),
        ("train: {}", "the teacher is not measured yet, and only then it can be exported: "),
    ],
)
def test_a_teacher_without_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], teacher: str, said: str
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    store.studies.create(
        name="tiny",
        space_yaml=SPACE.replace("train: {}", teacher),
        space_path=str(tmp_path / "tiny.yaml"),
        space_digest="0" * 64,
        seed=0,
        deterministic=False,
        trials_wanted=1,
    )
    store.close()
    code = run(["--home", str(tmp_path), "export", "--trial", "teacher", str(tmp_path / "b")])
    assert code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
