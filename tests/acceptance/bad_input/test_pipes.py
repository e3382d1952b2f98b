"""A pipe or a device in the place of a file is refused: to open it would be to wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundles import write_bundle, write_onnx
from lists import N_GOOD, Corpus
from refusals import Refused


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A name that with any of these endings is a pipe that nobody writes to."""
    path = tmp_path / "pipe"
    for ending in ("wav", "zip", "yaml", "jsonl", "csv", "html", "txt"):
        os.mkfifo(path.with_suffix(f".{ending}"))
    return path


def test_a_space_that_is_a_pipe_is_refused(refused: Refused, pipe: Path) -> None:
    path = pipe.with_suffix(".yaml")
    assert f"{path}: is a pipe, not a file" in refused("validate", path)
    assert f"{path}: is a pipe, not a file" in refused("launch", "--space", path)
    assert "/dev/zero: is a device, not a file" in refused("validate", "/dev/zero")


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_list_that_is_a_pipe_is_refused(
    refused: Refused, home: Path, corpus: Corpus, pipe: Path, ending: str
) -> None:
    path = pipe.with_suffix(f".{ending}")
    said = refused("--home", home, "validate", corpus.space(train=path))
    assert f"{path}: is a pipe, not a list" in said


def test_audio_that_is_a_pipe_or_a_device_is_a_fault_of_its_line(
    refused: Refused, home: Path, corpus: Corpus, pipe: Path
) -> None:
    path = pipe.with_suffix(".wav")
    corpus.add(corpus.train, corpus.row(str(path)), corpus.row("/dev/zero"))
    said = refused("--home", home, "validate", corpus.space())
    assert f"{corpus.train}:{N_GOOD + 1}: {path}: is a pipe, not an audio file" in said
    assert f"{corpus.train}:{N_GOOD + 2}: /dev/zero: is a device, not an audio file" in said


def test_a_recording_or_a_bundle_that_is_a_pipe_is_refused(
    refused: Refused, tmp_path: Path, audio: Path, pipe: Path
) -> None:
    bundle, good = write_bundle(tmp_path / "student"), audio / "train0.wav"
    sound = pipe.with_suffix(".wav")
    said = refused("transcribe", bundle, sound, good)
    assert f"{sound}: is a pipe, not an audio file" in said
    assert f"{good}\t" in said
    packed = pipe.with_suffix(".zip")
    assert f"{packed}: is a pipe, not a bundle" in refused("transcribe", packed, good)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("bundle.json", "{path}/bundle.json: is a pipe, not a bundle's description"),
        ("tokens.txt", "{path}: is not a bundle (it holds no tokens.txt)"),
        ("model.onnx", "{path}: is not a bundle (it holds no model.onnx)"),
    ],
)
def test_a_pipe_within_a_bundle_is_refused(
    refused: Refused, tmp_path: Path, audio: Path, name: str, fault: str
) -> None:
    bundle = write_bundle(tmp_path / "student", "{}")
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    assert fault.format(path=bundle) in refused("transcribe", bundle, audio / "train0.wav")


def test_the_tokens_of_a_teacher_that_are_a_pipe_are_refused(
    refused: Refused, home: Path, corpus: Corpus, pipe: Path
) -> None:
    write_onnx(corpus.folder / "teacher.onnx")
    tokens = pipe.with_suffix(".txt")
    space = corpus.space(teacher=f"onnx: teacher.onnx, tokens: {tokens}")
    said = refused("--home", home, "validate", space)
    assert f"{tokens}: is a pipe, not a list of tokens" in said


def test_what_is_written_does_not_go_into_a_pipe(refused: Refused, home: Path, pipe: Path) -> None:
    for ending, command in (("yaml", "init"), ("html", "report")):
        path = pipe.with_suffix(f".{ending}")
        said = refused("--home", home, command, path, "--overwrite")
        assert f"{path}: is a pipe, not a file; choose another name" in said


def test_links_to_files_are_files(
    tmp_path: Path, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.cli.main import run

    bundle = write_bundle(tmp_path / "student")
    (bundle / "real.txt").write_bytes((bundle / "tokens.txt").read_bytes())
    (bundle / "tokens.txt").unlink()
    (bundle / "tokens.txt").symlink_to("real.txt")
    (tmp_path / "sound.wav").symlink_to(audio / "train0.wav")
    assert run(["transcribe", str(bundle), str(tmp_path / "sound.wav")]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("option", ["--token-file", "--tls-cert"])
def test_an_agent_takes_no_pipe_for_a_file(refused: Refused, pipe: Path, option: str) -> None:
    path = pipe.with_suffix(".txt")
    said = refused("agent", "serve", "--port", 0, option, path)
    assert f"{option} {path}: is a pipe, not a file" in said
