"""Recordings of any length are transcribed with times, from files and from standard input."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from folders import ROOT
from shell import command
from spoken_times import SpokenWord, write_recording

from spaces.load import SHIPPED_FOLDER
from workers.checkpoint import load_network
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx

SECONDS = 90


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher that comes with the package, as the least that can be transcribed with."""
    folder = tmp_path_factory.mktemp("bundle")
    network, symbols, _ = load_network(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")
    export_onnx(network, symbols, folder / "model.onnx")
    write_tokens(symbols, folder / "tokens.txt")
    return folder


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SpokenWord]]:
    path = tmp_path_factory.mktemp("recording") / "talk.wav"
    return path, write_recording(path, SECONDS)


def _transcribed(*arguments: object, given: bytes | None = None, code: int = 0) -> str:
    done = subprocess.run(
        command("transcribe", *arguments), input=given, capture_output=True, cwd=ROOT
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


def test_words_are_told_when_they_were_said(bundle: Path, recording) -> None:
    path, said = recording
    told = json.loads(_transcribed("--format", "json", bundle, path))
    words = told["words"]
    assert told["text"] == " ".join(word["text"] for word in words)
    starts = [word["start_s"] for word in words]
    assert starts == sorted(starts)
    assert all(word["start_s"] < word["end_s"] for word in words)
    assert words[-1]["end_s"] > SECONDS - 10
    near = 0  # rare words, so that a word is compared with itself
    for word in said:
        apart = [abs(w["start_s"] - word.start_s) for w in words if w["text"] == word.text]
        near += bool(apart) and min(apart) < 0.2
    assert near > len(said) / 3


def test_subtitles_follow_each_other_and_every_way_of_asking_gives_the_same(
    bundle: Path, recording, tmp_path: Path
) -> None:
    path, _ = recording
    subtitles = _transcribed("--format", "srt", bundle, path)
    assert subtitles.startswith("1\n00:00:0")
    assert len(re.findall(r"^\d\d:\d\d:\d\d,\d{3} --> ", subtitles, re.M)) > 10
    piped = _transcribed("--format", "srt", bundle, "-", given=path.read_bytes())
    assert piped == subtitles
    _transcribed("--format", "srt", "--output", tmp_path / "out", bundle, path)
    assert (tmp_path / "out" / "talk.srt").read_text() == subtitles
    assert _transcribed("--format", "vtt", bundle, path).startswith("WEBVTT\n")


def test_a_recording_behind_a_url_is_heard_as_the_file_is(bundle: Path, recording) -> None:
    path, _ = recording
    there = _transcribed("--format", "srt", bundle, f"file://{path}")
    assert there == _transcribed("--format", "srt", bundle, path)


def test_no_transcript_is_written_over_another(bundle: Path, recording, tmp_path: Path) -> None:
    path, _ = recording
    (tmp_path / "other").mkdir()
    same = tmp_path / "other" / path.name
    same.write_bytes(path.read_bytes())
    out = tmp_path / "out"
    for given in (("--output", out, bundle, path, same), ("--output", same, bundle, path)):
        assert _transcribed(*given, code=2) == ""
    assert not out.exists()
    assert _transcribed("--json", "--format", "srt", bundle, path, code=2) == ""


def test_one_that_cannot_be_read_is_named_and_the_others_are_transcribed(
    bundle: Path, recording, tmp_path: Path
) -> None:
    path, _ = recording
    (tmp_path / "no.wav").write_bytes(b"no audio")
    lines = _transcribed(bundle, tmp_path / "no.wav", path, code=2).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}\t")
    assert _transcribed(bundle, "-", given=b"", code=2) == ""
