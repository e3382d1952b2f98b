"""The temporary folder of a search and of all that it starts, by a name that says whose it is.

Who is killed leaves it behind; the next to begin removes it, and nobody else's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import re
import shutil
import tempfile
import zlib
from multiprocessing.util import Finalize
from pathlib import Path

from storage.partial import lives

_NODE = f"{zlib.crc32(platform.node().encode()):08x}"  # another container may share the folder
_NAME = re.compile(rf"search-{_NODE}-(?P<process>\d+)-.+")
_SHORT = Path("/tmp")  # noqa: S108 - a folder of ours is made there
_LONGEST_ADDRESS = 103  # bytes of the path of a socket, on the strictest system
_NAME_OF_SOCKET = "/listener-12345678"


def own_temporary_folder() -> None:
    """Let this process's `multiprocessing`, and the processes that it starts, use a folder of ours,
    once what others left is swept."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if "tempdir" in config:
        return
    parent = Path(tempfile.gettempdir())
    for swept in {parent, _SHORT}:
        _sweep(swept)
    folder = config["tempdir"] = os.environ["TMPDIR"] = _new_folder(parent)
    if len(os.fsencode(folder + _NAME_OF_SOCKET)) > _LONGEST_ADDRESS:
        config["tempdir"] = _new_folder(_SHORT)  # where its sockets are


def _new_folder(parent: Path) -> str:
    """With this process's name; it goes when the process ends."""
    folder = tempfile.mkdtemp(prefix=f"search-{_NODE}-{os.getpid()}-", dir=parent)
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
    return folder


def _sweep(folder: Path) -> None:
    for path in folder.glob("search-*"):
        match = _NAME.fullmatch(path.name)
        if match is None or lives(int(match["process"])):
            continue
        with contextlib.suppress(OSError):  # another was faster
            if path.lstat().st_uid == os.getuid():
                shutil.rmtree(path)
