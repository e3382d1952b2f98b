"""`search verify`: a bundle moved elsewhere is what it promised, or says that it is not."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import SMALLEST_SPACE

Cli = Callable[..., subprocess.CompletedProcess[str]]
SPACE = (
    SMALLEST_SPACE[: SMALLEST_SPACE.index("students:")]
    + """students: {separable_conv: {channels: [16, 24], blocks: 1}}
training: {epochs: 2, batch_s: 16}
quantize: {scheme: [fp32, int8_dynamic]}
targets: {cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}}
search: {trials: 2, parallel: 2, sampler: random, confirm: false}
"""
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("promised")
    (folder / "small.yaml").write_text(SPACE)
    done = cli("--home", folder / "home", "launch", "--plain", "--space", folder / "small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "home"


@pytest.fixture(scope="module")
def exported(home: Path, cli: Cli) -> tuple[Path, str]:
    """A bundle and the digest that was told of it."""
    bundle = home.parent / "student.zip"
    done = cli("--home", home, "export", "--trial", 1, bundle)
    assert done.returncode == 0, done.stderr
    return bundle, done.stdout.strip().rpartition(" ")[2]


def test_what_was_promised_holds_in_a_fresh_place(
    exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    bundle, digest = exported
    moved = shutil.copy(bundle, tmp_path / "moved.zip")
    done = cli("--home", tmp_path / "fresh", "verify", moved, "--digest", digest, "--json")
    told = json.loads(done.stdout)
    assert told["digest"] == digest
    figures = {f["metric"]: f for f in told["figures"]}
    for metric in ("size_mb", "n_words", "wer"):
        assert figures[metric]["holds"] is True, figures[metric]
    timed = [f for f in figures.values() if f["metric"].endswith("_ms")]
    assert len(timed) >= 6
    assert all(f["measured"] is not None for f in timed)
    for figure in timed:  # other tests may run beside this one
        assert figure["holds"] is not None or "not quiet" in figure["why_not"]


def test_errors_and_sizes_alone_are_checked_without_times(
    exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    bundle, _ = exported
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "folder")
    done = cli("--home", tmp_path / "fresh", "verify", "--no-times", tmp_path / "folder")
    assert done.returncode == 0, done.stdout
    assert "3 of 3 promised figures hold here" in done.stdout
    assert "no times were taken" in done.stdout


def test_another_dev_set_is_known_for_one(
    exported: tuple[Path, str], home: Path, tmp_path: Path, cli: Cli
) -> None:
    (train,) = (home / "cache" / "synthetic").glob("*/train.jsonl")
    done = cli("--home", tmp_path / "h", "verify", "--no-times", exported[0], train)
    assert done.returncode == 1
    assert "not the dev set" in done.stdout and "BROKEN" in done.stdout


@pytest.mark.parametrize("changed", ["model.onnx", "measurements.json", "an added file", "bundle"])
def test_a_bundle_that_was_tampered_with_is_refused(
    changed: str, exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    bundle, digest = exported
    folder = tmp_path / "folder"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    arguments = []
    if changed == "an added file":
        (folder / "run.sh").write_text("echo")
    elif changed == "bundle":  # and its list of digests with it: known by its own digest only
        told = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps({**told, "study": "other"}))
        arguments = ["--digest", digest]
    else:
        content = bytearray((folder / changed).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / changed).write_bytes(content)
    done = cli("--home", tmp_path / "h", "verify", "--no-times", folder, *arguments)
    assert done.returncode == 2, done.stdout
    assert "damaged" in done.stderr or "not made with" in done.stderr or "changed" in done.stderr


def test_it_is_made_again_by_the_command_that_it_names(
    exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    bundle, _ = exported
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "was")
    guide = (tmp_path / "was" / "REPRODUCE.md").read_text()
    assert "search launch --space reproduce.yaml" in guide
    space = tmp_path / "was" / "reproduce.yaml"
    assert "/" not in space.read_text().replace("s/s", "")
    home = tmp_path / "again"
    done = cli("--home", home, "launch", "--plain", "--space", space)
    assert done.returncode == 0, done.stderr
    done = cli("--home", home, "export", "--trial", 0, tmp_path / "is")
    assert done.returncode == 0, done.stderr
    made, was = ((tmp_path / f / "model.onnx").read_bytes() for f in ("is", "was"))
    assert made == was, "the same recipe, data, teacher and seed"


def rewritten(exported: Path, folder: Path, name: str, change: Callable[[dict], object]) -> Path:
    """A bundle with another content, its digests made to fit: as who tampers would."""
    with zipfile.ZipFile(exported) as archive:
        archive.extractall(folder)
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def _promise(metric: str, value: float) -> Callable[[dict], object]:
    def change(content: dict) -> None:
        for figure in content["student"]:
            if figure["metric"] == metric or figure["metric"].startswith(f"{metric}_"):
                figure["value"] = value

    return change


@pytest.mark.parametrize("metric", ["wer", "size_mb"])
def test_one_figure_that_is_better_than_the_truth_is_enough(
    metric: str, exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    folder = rewritten(exported[0], tmp_path / "b", "measurements.json", _promise(metric, 1e-4))
    done = cli("--home", tmp_path / "h", "verify", "--no-times", folder)
    assert done.returncode == 1, done.stdout
    assert "NOT what it promises" in done.stdout


def test_who_promises_nothing_keeps_nothing(
    exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    folder = rewritten(
        exported[0], tmp_path / "b", "measurements.json", lambda c: c.update(student=[])
    )
    done = cli("--home", tmp_path / "h", "verify", "--no-times", folder)
    assert done.returncode == 2 and "promises nothing" in done.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"agent": "https://evil.example", "token_env": "SEARCH_SERVE_TOKEN"}, "agent"),
        ({"adb": "phone"}, "adb"),
        ({"max_s": 1e9}, "max_s"),
    ],
)
def test_a_bundle_may_not_say_where_it_is_measured_nor_for_how_long(
    settings: dict[str, object], why: str, exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    folder = rewritten(
        exported[0], tmp_path / "b", "conditions.json", lambda c: c["settings"].update(settings)
    )
    done = cli("--home", tmp_path / "h", "verify", folder)
    assert done.returncode == 2 and f"settings.{why}" in done.stderr, done.stderr


def test_times_of_no_machine_are_not_compared(
    exported: tuple[Path, str], tmp_path: Path, cli: Cli
) -> None:
    folder = rewritten(
        exported[0], tmp_path / "b", "conditions.json", lambda c: c.update(machine={})
    )
    done = cli("--home", tmp_path / "h", "verify", folder)
    assert done.returncode == 0 and "does not say of which machine" in done.stdout
