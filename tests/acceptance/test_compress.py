"""`search compress`: steps are taken while they hold, and the package says which."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spaces.load import SHIPPED_FOLDER
from spaces.space import Synthetic
from workers.checkpoint_header import read_header
from workers.data.synthetic import synthetic_corpus
from workers.recognizer import open_bundle

SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def brought(finished: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the teacher of a finished search in every form that can be brought."""
    folder = tmp_path_factory.mktemp("brought")
    for out in ("bundle", "bundle.zip", "net.safetensors"):
        done = cli("--home", finished, "export", "--trial", "teacher", folder / out)
        assert done.returncode == 0, done.stderr
    half = cli(
        "--home", finished, "export", "--trial", "teacher", "--half", folder / "half.safetensors"
    )
    assert half.returncode == 0, half.stderr
    return folder


@pytest.fixture(scope="module")
def lists(finished: Path) -> tuple[Path, Path]:
    (dev,) = (finished / "cache" / "synthetic").glob("*/dev.jsonl")
    train = dev.with_name("train.jsonl")
    return dev, train


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_three_steps_are_taken_and_told_each_with_its_loss(
    brought: Path, lists: tuple[Path, Path], home: Path, cli: Cli
) -> None:
    dev, train = lists
    out = home / "small"
    command = (
        *("--home", home, "compress", "--model", brought / "net.safetensors"),
        *("--data", dev, "--train", train, "--epochs", 2),
        *("--steps", "prune:0.4,quantize,int4", "--loss-limit", "100,100,100", out),
    )
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in said[:4]] == [
        "as brought",
        "prune",
        "quantize",
        "int4",
    ]
    assert all("points (95 %:" in line and "held" in line for line in said[1:4])
    assert 'the model after "int4"' in said[-1]
    log = json.loads((out / "steps.json").read_text())
    assert [step["step"] for step in log] == ["as brought", "prune:0.4", "quantize", "int4"]
    sizes = [step["metrics"]["size_mb"] for step in log]
    assert max(sizes) == sizes[0] and min(sizes) == sizes[3] and len(set(sizes)) == 4
    wers = [step["metrics"]["wer"] for step in log]
    for step, wer in zip(log[1:], wers[1:], strict=True):
        assert step["loss"]["value"] == pytest.approx(wer - wers[0])
        assert step["loss"]["low"] <= step["loss"]["value"] <= step["loss"]["high"]
    assert (out / "model.onnx").stat().st_size / 1e6 == pytest.approx(sizes[-1])
    assert "| int4 |" in (out / "CARD.md").read_text()

    again = cli(*command[:-1], home / "again.zip")  # all that was done is found
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[:4] == said[:4]


@pytest.fixture(scope="module")
def breaking(home: Path, quick_target: Path) -> tuple[object, ...]:
    """A teacher that makes hardly any errors, of which a tenth is left and not trained again."""
    spoken = Synthetic(train_utterances=200, dev_utterances=20, speakers=10)
    lists = synthetic_corpus(spoken, home / "cache")
    return (
        *("--home", home, "compress", "--model", SPOKEN, "--loss-limit", 5),
        *("--target-file", quick_target),
        *("--data", lists["dev"], "--train", lists["train"]),
        *("--epochs", 1, "--learning-rate", 1e-9),
    )


def test_a_limit_that_is_broken_stops_the_steps_before_it(
    breaking: tuple[object, ...], cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "small.zip"
    done = cli(*breaking, "--json", "--steps", "fp16,prune:0.9,int4", out)
    assert done.returncode == 0, done.stderr
    log = json.loads(done.stdout)
    assert [step["step"] for step in log] == ["as brought", "fp16", "prune:0.9"]
    held = [step["loss"]["held"] for step in log[1:]]
    assert held == [True, False] and log[2]["loss"]["told_by_this_audio"]
    assert "BROKEN" in done.stderr
    recognizer = open_bundle(out)
    recognizer.session.close()
    with zipfile.ZipFile(out) as packed:
        kept = packed.getinfo("model.onnx").file_size / 1e6
        assert "broken: not in this package" in packed.read("CARD.md").decode()
    assert kept == pytest.approx(log[1]["metrics"]["size_mb"])


def test_a_first_step_that_breaks_its_limit_writes_nothing(
    breaking: tuple[object, ...], cli: Cli, tmp_path: Path
) -> None:
    done = cli(*breaking, "--steps", "prune:0.9,int4", tmp_path / "small.zip")
    assert done.returncode == 2
    assert 'the first step, "prune:0.9", breaks its limit: nothing was written' in done.stderr
    assert not (tmp_path / "small.zip").exists()


@pytest.mark.parametrize("form", ["bundle/model.onnx", "half.safetensors"])
def test_a_model_is_brought_in_any_form_and_judged_by_one_list(
    form: str,
    brought: Path,
    lists: tuple[Path, Path],
    home: Path,
    quick_target: Path,
    cli: Cli,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    done = cli(
        *("--home", home, "compress", "--model", brought / form, "--data", lists[1]),
        *("--target-file", quick_target),
        *("--steps", "int8_static", "--loss-limit", "100", out),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "bundle.json").read_text())["target"] == "quick"
    recording = next(lists[0].parent.glob("dev-*.flac"))
    assert cli("transcribe", out, recording).returncode == 0
    # what calibrates judges nothing
    (judged,) = {step["n_words"] for step in json.loads((out / "steps.json").read_text())}
    words = sum(len(json.loads(line)["text"].split()) for line in lists[1].read_text().splitlines())
    assert 0.6 * words < judged < 0.95 * words


def test_a_checkpoint_can_be_halved_and_says_what_it_is(brought: Path) -> None:
    whole, half = brought / "net.safetensors", brought / "half.safetensors"
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    assert read_header(half) == read_header(whole)


def test_what_is_there_already_stays(
    finished: Path, brought: Path, lists: tuple[Path, Path], home: Path, cli: Cli, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").touch()
    done = cli(
        *("--home", home, "compress", "--model", brought / "bundle", "--data", lists[0]), taken
    )
    assert done.returncode == 2
    assert "exists already" in done.stderr
    net = brought / "net.safetensors"
    before = net.read_bytes()
    refused = cli("--home", finished, "export", "--trial", "teacher", "--half", net)
    assert refused.returncode == 2 and "exists already" in refused.stderr
    assert net.read_bytes() == before
    assert (taken / "mine").exists()
