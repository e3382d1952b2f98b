"""`search --help` beside a Python that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path


def median_s(command: list[str]) -> float:
    spent = []
    for _ in range(11):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent[1:])


def test_help():
    search = str(Path(sys.executable).with_name("search"))
    ours, bare = median_s([search, "--help"]), median_s([sys.executable, "-c", "pass"])
    print(
        f"\nsearch --help: median {ours * 1000:.0f} ms of 10; python -c pass: {bare * 1000:.0f} ms"
    )
