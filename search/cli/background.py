"""Runs a command of ours in the background, and waits until it is under way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from search.errors import SearchError

_LONGEST_START_S = 240.0
_LOOK_S = 0.3


def in_background(
    arguments: Sequence[str], log: Path, is_under_way: Callable[[int], bool]
) -> tuple[int, int | None]:
    """Start `search …`, whose output goes to a file; the number of its process, and its exit code
    where it has ended before it was under way.

    Args:
        is_under_way: whether the process of that number works.

    Raises:
        SearchError: when it is not under way after minutes.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from search.cli.main import main; main()", *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # it outlives this terminal
        )
    deadline = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            return process.pid, code
        if is_under_way(process.pid):
            process.returncode = 0  # it is nobody's child to wait for
            return process.pid, None
        time.sleep(_LOOK_S)
    process.kill()
    process.wait()
    raise SearchError(f"did not begin within {_LONGEST_START_S:.0f} s; see {log}")
