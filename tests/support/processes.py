"""Processes of a test, found by a folder that their environment names (Linux)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def within(seconds: float, what: Callable[[], object]) -> bool:
    """Whether something comes true in so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def processes_of(folder: Path) -> list[psutil.Process]:
    """Those whose variables name a folder or what lies in it, such as TMPDIR."""
    found = []
    for process in psutil.process_iter():
        try:
            values = process.environ().values()
            is_alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if is_alive and any(str(folder) in value for value in values):
            found.append(process)
    return found


def role_of(process: psutil.Process, coordinator: int) -> str:
    """What a process of a search does; empty for one that is gone or none of the search."""
    try:
        line, parent = " ".join(process.cmdline()), process.ppid()
    except psutil.Error:
        return ""
    if process.pid == coordinator:
        return "coordinator"
    if "multiprocessing.forkserver" in line:
        return "fork server" if parent == coordinator else "child"
    if "workers.isolated_call" in line:
        return "synthesiser" if " speak " in line else "grandchild"
    return "agent" if " agent " in f" {line} " and "serve" in line else ""


def is_below(process: psutil.Process, folder: Path) -> bool:
    """Whether a process has its home in a folder."""
    try:
        return str(folder) in process.environ().get("HOME", "")
    except psutil.Error:
        return False
