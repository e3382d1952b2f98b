"""What is refused, and the files that are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lists import N_GOOD, Corpus, noise
from refusals import Refused

from search.cli.main import run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command line that must be refused; gives all that it said."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        said = "".join(capsys.readouterr())
        assert "Traceback" not in said, said
        assert code == 2, f"exit code {code}: {said}"
        return said

    return call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good recordings and every kind of bad one."""
    folder = tmp_path_factory.mktemp("audio")
    for i in range(N_GOOD):
        soundfile.write(folder / f"train{i}.wav", noise(1, i), 16_000)
    for i in range(2):
        soundfile.write(folder / f"dev{i}.wav", noise(1, 10 + i), 16_000)
    for name, samples in {
        "silent": np.zeros(16_000, np.float32),
        "nan": np.where(np.arange(16_000) == 5, np.nan, noise(1, 20)).astype(np.float32),
        "short": noise(0.03, 21),
        "brief": noise(0.1, 22),
        "long": noise(1.5, 23),
        "none": np.zeros(0, np.float32),
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    whole = (folder / "train0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "train0.raw").write_bytes(whole)
    soundfile.write(folder / "cut.flac", noise(1, 24), 16_000)
    flac = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "empty.wav").touch()
    (folder / "words.wav").write_text("these are words, not sounds")
    (folder / "folder.wav").mkdir()
    return folder


@pytest.fixture
def corpus(tmp_path: Path, audio: Path) -> Corpus:
    return Corpus(tmp_path, audio)
