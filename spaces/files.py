"""What a path that the user gave is, asked before it is opened: a pipe that nobody writes to, or a
device, would be waited for without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def why_not_a_file(path: str | Path, noun: str = "a file") -> str | None:
    """Why a path cannot be read as a file, in words that follow its name; None if it can.

    A link is what it leads to.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "no such file" if error.errno in _GONE else f"cannot be read ({error.strerror})"
    except ValueError:  # a NUL in its name
        return "no such file"
    if stat.S_ISREG(mode):
        return None
    return f"is a {_KINDS.get(stat.S_IFMT(mode), 'special file')}, not {noun}"
