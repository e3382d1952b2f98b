"""Torch is loaded by processes that run a stage; the command line itself never does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
from search.cli.main import run
code = run(sys.argv[1:])
print(*(m for m in ("torch", "onnxruntime", "streamlit") if m in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "SPACE"],
        ["devices", "check", "--space", "SPACE"],
        ["devices", "calibrate", "--space", "SPACE"],
        ["compare", "0", "1", "--again"],
        ["measure", "tiny", "--trial", "0"],
        ["launch", "--space", "SPACE"],
        ["front"],
        ["show", "0"],
        ["status"],
        ["backends"],
        ["help", "space"],
    ],
    ids=" ".join,
)
def test_a_command_needs_no_torch_in_its_own_process(
    arguments: list[str], finished: Path, tiny_space: Path
) -> None:
    given = [str(tiny_space) if a == "SPACE" else a for a in arguments]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "--home", str(finished), *given],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == ""


def test_pages_are_read_without_streamlit() -> None:
    code = "import sys, dashboard.queries; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
