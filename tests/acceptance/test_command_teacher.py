"""A search with a teacher that is any program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shell import SMALLEST_SPACE

Cli = Callable[..., subprocess.CompletedProcess[str]]

# Knows every utterance of the corpus by its samples, and says it with a comma.
ORACLE = """
import json, sys, pathlib, time
import soundfile
samples, _ = soundfile.read(sys.argv[1])
for manifest in pathlib.Path({home!r}).glob("cache/synthetic/*/*.jsonl"):
    for line in manifest.read_text().splitlines():
        row = json.loads(line)
        heard, _ = soundfile.read(manifest.parent / row["audio_filepath"])
        n = min(len(heard), len(samples))
        if abs(len(heard) - len(samples)) < 99 and abs(heard[:n] - samples[:n]).max() < 1e-3:
            print(row["text"].capitalize() + ",")
            sys.exit()
"""
SECRET = "hush-hush-hush"
TRAINED = SMALLEST_SPACE[SMALLEST_SPACE.index("teacher:") : SMALLEST_SPACE.index("students:")]


def space_with(tmp_path: Path, program: str) -> Path:
    (tmp_path / "asr.py").write_text(program)
    words = f'["{sys.executable}", "{tmp_path / "asr.py"}", "{{audio}}", "--key={SECRET}"]'
    teacher = f"teacher: {{command: {words}, at_once: 2, time_limit_s: 30}}\n"
    path = tmp_path / "mine.yaml"
    more = (
        "training: {epochs: 2}\ntargets: {cpu: {runs: 10, restarts: 1, tries: 1, max_s: 0.5}}\n"
        "search: {trials: 2, parallel: 2, confirm: false}\n"
    )
    path.write_text(SMALLEST_SPACE.replace(TRAINED, teacher) + more)
    return path


def test_students_learn_from_what_a_program_prints(tmp_path: Path, cli: Cli) -> None:
    home = tmp_path / "home"
    space = space_with(tmp_path, ORACLE.format(home=str(home)))
    done = cli("--home", home, "launch", "--plain", "--space", space)
    assert done.returncode == 0, done.stderr
    assert "teacher ready: WER 0.0%, 20 of 20 of its transcripts are used" in done.stdout
    assert "finished: 2 of 2 trials complete" in done.stdout
    again = cli("--home", home, "launch", "--plain", "--space", space, "--trials", "3")
    assert "study: teacher_targets found done" in again.stdout
    assert "finished: 3 of 3 trials complete" in again.stdout
    card = cli("--home", home, "export", "--trial", "0", tmp_path / "bundle")
    assert card.returncode == 0, card.stderr
    texts = [p.read_text() for p in (tmp_path / "bundle").iterdir() if p.suffix != ".onnx"]
    assert any("command python" in text for text in texts)
    assert not any(str(tmp_path) in text or SECRET in text for text in texts)
    assert SECRET not in done.stdout + done.stderr


def test_a_program_that_fails_on_speech_ends_the_search_with_the_files(
    tmp_path: Path, cli: Cli
) -> None:
    """A second of a tone it takes."""
    failing = "import sys, soundfile; sys.exit(len(soundfile.read(sys.argv[1])[0]) != 16000)"
    space = space_with(tmp_path, failing)
    done = cli("--home", tmp_path / "home", "launch", "--plain", "--space", space)
    assert done.returncode == 2
    assert "teacher: failed on 1 of the first 1 utterances, and may on 0 of all 20: " in done.stderr
    assert "train-00000.flac: ended with 1" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
