"""Characters that a terminal does not have, and names that no terminal has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from bundles import write_bundle
from fabricated import fabricate
from lists import noise

from storage.store import Store

_CALL = [sys.executable, "-c", "from search.cli import main; main()"]


def _call(encoding: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*_CALL, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "160"},
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("encodings")
    store = Store(f"sqlite:///{home}/store.sqlite")
    fabricate(store, "some", 8)
    store.close()
    return home


@pytest.mark.parametrize("line", ["front", "show 3", "status", "launch --help", "help space"])
def test_where_output_is_ascii_what_it_lacks_is_replaced(home: Path, line: str) -> None:
    done = _call("ascii", "--home", home, *line.split())
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_recording_whose_name_is_not_unicode_is_transcribed_as_others_are(
    tmp_path: Path, encoding: str
) -> None:
    bundle = write_bundle(tmp_path / "student")
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(1, 0), 16_000)
    odd, gone = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.wav", b"\xe9.wav"))
    shutil.copyfile(good, odd)
    done = _call(encoding, "transcribe", bundle, odd, gone, good)
    assert done.returncode == 2, done.stderr
    first, second = done.stdout.decode(errors="replace").splitlines()
    assert second.startswith(f"{good}\t")
    assert first.partition("\t")[2] == second.partition("\t")[2]
    assert b"no such file" in done.stderr
    assert b"Traceback" not in done.stderr
