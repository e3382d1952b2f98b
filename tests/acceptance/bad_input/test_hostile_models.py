"""A model that crashes its runtime or never ends costs its own process: the command says so."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import trouble
from bundles import write_bundle, write_endless_onnx, write_tokens
from lists import Corpus, noise
from refusals import Refused

from search.cli.main import run
from workers.backends import isolated_session

Cli = Callable[..., object]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a model seconds where it has minutes."""
    monkeypatch.setattr(isolated_session, "LEAST_RUN_S", 2.0)
    monkeypatch.setattr(isolated_session, "RUN_S_PER_AUDIO_S", 0.0)


@pytest.fixture
def crashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A bundle whose runtime does the harm of that name."""
    folder = trouble.installed(tmp_path / "plugin")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)

    def make(harm: str) -> Path:
        bundle = write_bundle(tmp_path / "b", json.dumps({"backend": "trouble", "main": harm}))
        (bundle / "model.onnx").rename(bundle / harm)
        write_tokens(bundle / "tokens.txt", "<blk>", "▁a", "b", "c")
        return bundle

    return make


def endless(folder: Path) -> Path:
    bundle = write_bundle(folder)
    write_endless_onnx(bundle / "model.onnx")
    return bundle


@pytest.mark.usefixtures("impatient")
def test_a_bundle_that_never_ends_is_ended_at_each_recording(
    tmp_path: Path, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = [str(audio / f"train{i}.wav") for i in range(2)]
    code = run(["transcribe", str(endless(tmp_path / "b")), *recordings])
    out, err = capsys.readouterr()
    ended = "onnxruntime took more than 2 s and was ended"
    assert (code, out) == (1, "")
    assert err == "".join(f"search: {path}: {ended}\n" for path in recordings)


def test_a_bundle_that_crashes_while_it_is_loaded_is_told(
    cli: Cli, crashing: Callable[[str], Path], audio: Path
) -> None:
    bundle = crashing("segfault")
    done = cli("transcribe", bundle, audio / "train0.wav")
    crash = "trouble was ended by SIGSEGV: about to crash"
    assert done.stderr == f"search: {bundle}/segfault: cannot be loaded ({crash})\n"
    assert (done.returncode, done.stdout) == (2, "")


def test_a_recording_on_which_a_bundle_crashes_is_told_and_the_others_are_transcribed(
    cli: Cli, crashing: Callable[[str], Path], audio: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, noise(2, 1), 16_000)
    around = [audio / "train0.wav", audio / "train1.wav"]
    done = cli("transcribe", "--json", crashing("segfault_if_long"), around[0], long, around[1])
    assert done.stderr == f"search: {long}: trouble was ended by SIGSEGV: about to crash\n"
    assert done.returncode == 1
    assert [json.loads(line)["audio"] for line in done.stdout.splitlines()] == list(
        map(str, around)
    )


def test_a_bundle_is_loaded_once_for_all_recordings_and_leaves_nothing_beside_it(
    cli: Cli, crashing: Callable[[str], Path], audio: Path
) -> None:
    bundle = crashing("loads_once")
    before = sorted(bundle.iterdir())
    done = cli("transcribe", bundle, *(audio / f"train{i}.wav" for i in range(3)))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3
    assert sorted(bundle.iterdir()) == before


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("command", ["validate", "launch"])
def test_a_teacher_that_never_ends_is_refused_before_anything_starts(
    refused: Refused, home: Path, corpus: Corpus, tmp_path: Path, command: str
) -> None:
    bundle = endless(tmp_path / "teacher")
    model, tokens = bundle / "model.onnx", bundle / "tokens.txt"
    space = corpus.space(teacher=f"onnx: {model}, tokens: {tokens}")
    call = ("validate", space) if command == "validate" else ("launch", "--space", space)
    said = refused("--home", home, *call)
    ended = "onnxruntime took more than 2 s and was ended"
    assert f"teacher: {model}: cannot run on a second of audio ({ended})" in said
    assert not (home / "work").exists()


def test_nothing_of_a_bundle_stays_behind(
    cli: Cli,
    crashing: Callable[[str], Path],
    audio: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    for harm in ("works", "segfault"):
        bundle = crashing(harm)
        cli("transcribe", bundle, audio / "train0.wav")
        shutil.rmtree(bundle)
    assert not list((tmp_path / "tmp").iterdir())
