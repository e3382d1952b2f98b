"""What is left half made is removed when who made it is gone, and never before."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import psutil
from processes import within

from storage.partial import partial_name, sweep


def _ended_but_not_waited_for() -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert within(30, lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    return process


def test_what_a_process_left_is_swept_although_nobody_has_waited_for_it(tmp_path: Path) -> None:
    process = _ended_but_not_waited_for()
    node = re.sub(r"[^A-Za-z0-9]", "_", platform.node())
    left = tmp_path / f"frames.{node}-{process.pid}.{'0' * 32}.partial"
    left.mkdir()
    mine = Path(partial_name(str(tmp_path / "index")))
    mine.touch()
    assert sweep(tmp_path) == 1
    assert not left.exists()
    assert mine.exists()
    process.wait()
