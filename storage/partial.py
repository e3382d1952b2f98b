"""Names of files and folders that are not whole yet, which say who makes them.

Whoever is killed leaves his behind; the next to begin removes them, and nobody else's.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import uuid
from pathlib import Path

import psutil

_PARTIAL = re.compile(r".+\.(?P<node>[^.]*)-(?P<process>\d+)\.[0-9a-f]{32}\.partial")


def partial_name(path: str) -> str:
    """A name of its own beside a path."""
    return f"{path}.{_node()}-{os.getpid()}.{uuid.uuid4().hex}.partial"


def sweep(folder: Path) -> int:
    """Remove what processes of this host left that are gone; returns how much it was."""
    n_removed = 0
    for path in folder.rglob("*.partial"):
        match = _PARTIAL.fullmatch(path.name)
        if match and match["node"] == _node() and not lives(int(match["process"])):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            n_removed += 1
    return n_removed


def _node() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", platform.node())


def lives(process: int) -> bool:
    """Whether a process of this host still works; one that ended may wait for long for whoever
    started it, in a container for ever."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
