"""`students: {teacher: {}}`: the teacher's own graph in every number format, nothing trained."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from shell import SMALLEST_SPACE

from storage.store import Store

Cli = Callable[..., subprocess.CompletedProcess[str]]
FORMATS = ("fp32", "fp16", "int8_dynamic", "int8_static", "int4")
OWN = f"""students: {{teacher: {{}}}}
quantize: {{scheme: [{", ".join(FORMATS)}]}}
budgets: {{size_mb: "<= 15"}}
targets: {{cpu: {{runs: 10, restarts: 1, tries: 1, max_s: 0.5}}}}
search: {{trials: 24, parallel: 2, confirm: false}}
"""
SPACE = SMALLEST_SPACE[: SMALLEST_SPACE.index("students:")] + OWN


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("family")
    (folder / "own.yaml").write_text(SPACE)
    done = cli("--home", folder / "home", "launch", "--plain", "--space", folder / "own.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said").write_text(done.stdout)
    return folder / "home"


def metrics_of(cli: Cli, home: Path) -> dict[str, dict[str, float]]:
    """By number format, of every trial of the study; and of the teacher."""
    called = cli("--home", home, "front", "--all", "--json")
    found = {t["recipe"]["quantize"]["encoder"]: t["metrics"] for t in json.loads(called.stdout)}
    with closing(Store(f"sqlite:///{home / 'store.sqlite'}")) as store:
        (study,) = store.studies.all()
    return {**found, "teacher": dict(study.teacher_metrics)}


def test_every_format_is_tried_once_and_nothing_is_trained(home: Path) -> None:
    said = (home.parent / "said").read_text()
    assert "every recipe of the space has been tried: 5 of 5 trials complete" in said
    assert len(re.findall(r"trial \d: teacher ", said)) == len(FORMATS)
    assert not re.search(r"trial \d: (train|screen|compress)", said)
    assert "teacher_targets" not in said  # nobody learns from them
    assert "study: train" in said  # the teacher itself


def test_the_graph_as_it_is_has_the_figures_of_the_teacher(home: Path, cli: Cli) -> None:
    found = metrics_of(cli, home)
    assert set(found) == {*FORMATS, "teacher"}
    for name in ("wer", "size_mb", "macs", "params"):
        assert found["fp32"][name] == pytest.approx(found["teacher"][name])
    assert found["fp16"]["size_mb"] < found["fp32"]["size_mb"]


def test_a_format_is_shown_compared_and_exported_as_a_student_is(
    home: Path, cli: Cli, tmp_path: Path
) -> None:
    shown = cli("--home", home, "show", "0")
    assert shown.returncode == 0 and "teacher" in shown.stdout
    assert cli("--home", home, "compare", "0", "1").returncode == 0
    assert cli("--home", home, "report", tmp_path / "report.html").returncode == 0
    for number in range(len(FORMATS)):
        bundle = tmp_path / str(number)
        done = cli("--home", home, "export", "--trial", number, bundle)
        assert done.returncode == 0, done.stderr
    recording = next((home / "cache" / "synthetic").glob("*/dev-00000.flac"))
    assert cli("transcribe", tmp_path / "0", recording).returncode == 0


def test_a_target_that_comes_later_is_measured_without_a_training(
    home: Path, cli: Cli, tmp_path: Path
) -> None:
    target = tmp_path / "target.yaml"
    target.write_text("{name: slow, graph_level: off, runs: 10, restarts: 1, tries: 1, max_s: 0.5}")
    done = cli("--home", home, "measure", "--plain", "--target-file", target, "--all")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_brought_onnx_teacher_is_made_smaller_without_a_training(
    home: Path, cli: Cli, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    assert cli("--home", home, "export", "--trial", "teacher", bundle).returncode == 0
    files = f"{{onnx: {bundle / 'model.onnx'}, tokens: {bundle / 'tokens.txt'}}}"
    start = SPACE.index("teacher:")
    space = tmp_path / "brought.yaml"
    space.write_text(f"{SPACE[:start]}teacher: {files}\n{OWN}")
    other = tmp_path / "home"
    done = cli("--home", other, "launch", "--plain", "--space", space)
    assert done.returncode == 0, done.stderr
    assert "5 of 5 trials complete" in done.stdout
    assert not re.search(r"(train|screen|teacher_targets) \d", done.stdout)
    ours, theirs = metrics_of(cli, home), metrics_of(cli, other)
    for scheme in FORMATS:
        assert theirs[scheme]["wer"] == pytest.approx(ours[scheme]["wer"])
        assert theirs[scheme]["params"] > 0
    counted = tmp_path / "counted.yaml"
    counted.write_text(f"{space.read_text()}objectives: [wer, macs]\n")
    refused = cli("--home", tmp_path / "third", "launch", "--space", counted)
    assert refused.returncode == 2
    assert "students.teacher: macs decide here" in refused.stderr
    validated = cli("--home", other, "validate", space)
    assert validated.returncode == 0, validated.stderr


def test_it_stands_beside_families_that_are_trained(home: Path, cli: Cli, tmp_path: Path) -> None:
    both = SPACE.replace("{teacher: {}}", "{teacher: {}, separable_conv: {channels: 16}}")
    space = tmp_path / "both.yaml"
    space.write_text(
        both.replace("24, parallel: 2", "4, parallel: 2, initial_trials: 2")
        + "training: {epochs: 2}\n"
    )
    done = cli("--home", tmp_path / "home", "launch", "--plain", "--space", space)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 trials complete" in done.stdout
    assert re.search(r"trial \d: teacher ", done.stdout)
    assert re.search(r"trial \d: separable_conv 16 ", done.stdout)
