"""A backend that tries what a model's author would, had he taken the runtime over.

The name of a model is what to try; what came of it is told as a fault.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from spaces.backends import BackendInfo
from workers.backends.base import Session, Settings
from workers.errors import UserFault

INFO = BackendInfo("nosy", "nosy", "curiosity", on_agents=True)


def open_session(model: Path, _settings: Settings) -> Session:
    try:
        told = _TRIED[model.stem](model.parent)
    except OSError as error:
        told = f"refused: {error.strerror}"
    raise UserFault(json.dumps(told))


def _connects(_folder: Path) -> str:
    socket.create_connection(("127.0.0.1", 9), 1)
    return "connected"


def _starts_a_program(_folder: Path) -> str:
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return "started"


def _forks(_folder: Path) -> str:
    if os.fork() == 0:
        os._exit(0)
    return "forked"


def _starts_a_thread(_folder: Path) -> str:
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append("ran"))
    thread.start()
    thread.join()
    return done[0]


def _reads_accounts(_folder: Path) -> str:
    return Path("/etc/passwd").read_text()[:10]


def _reads_its_parents_secrets(_folder: Path) -> str:
    return Path(f"/proc/{os.getppid()}/environ").read_text()[:10]


def _signals_its_parent(_folder: Path) -> str:
    os.kill(os.getppid(), 0)
    return "signalled"


def _writes_beside(folder: Path) -> str:
    (folder.parent / "beside").write_text("x")
    return "written"


def _writes_within(folder: Path) -> str:
    (folder / "within").write_text("x")
    return "written"


def _environment(_folder: Path) -> dict[str, str]:
    return dict(os.environ)


def _place(_folder: Path) -> str:
    return os.getcwd()


def _limits(_folder: Path) -> list[int]:
    kinds = (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)
    return [resource.getrlimit(kind)[1] for kind in kinds]


_TRIED: dict[str, Callable[[Path], object]] = {
    "connects": _connects,
    "starts a program": _starts_a_program,
    "forks": _forks,
    "starts a thread": _starts_a_thread,
    "reads accounts": _reads_accounts,
    "reads its parent's secrets": _reads_its_parents_secrets,
    "signals its parent": _signals_its_parent,
    "writes beside": _writes_beside,
    "writes within": _writes_within,
    "environment": _environment,
    "place": _place,
    "limits": _limits,
}
