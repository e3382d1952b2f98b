"""The temporary folder of a search and of all that it starts, by a name that says whose it is.

Who is killed leaves it behind; the next to begin removes it, and nobody else's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

from storage.partial import lives

_NAME = re.compile(r"search-(?P<process>\d+)-.+")


def own_temporary_folder() -> None:
    """Let this process's `multiprocessing`, and the processes that it starts, use a folder of ours,
    once what others left is swept."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    if "tempdir" in config:
        return
    _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=f"search-{os.getpid()}-")
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
    config["tempdir"] = os.environ["TMPDIR"] = folder


def _sweep(folder: Path) -> None:
    for path in folder.glob("search-*"):
        match = _NAME.fullmatch(path.name)
        if match is None or lives(int(match["process"])):
            continue
        with contextlib.suppress(OSError):  # another was faster
            if path.lstat().st_uid == os.getuid():
                shutil.rmtree(path)
