"""A signal that the server of the stages' processes sends while it starts: however busy the machine
is, it falls where it is meant to."""

from __future__ import annotations

import os
from pathlib import Path

_SENDS = """
import os, signal, sys
from pathlib import Path

class Sends:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            try:
                Path({left!r}).rename({sent!r})
            except FileNotFoundError:
                return  # it was sent already
            os.kill({to}, signal.{name})

if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    sys.meta_path.insert(0, Sends())
"""


def environment_in_which_it_sends(
    folder: Path, name: str, module: str, to_all: bool = False
) -> dict[str, str]:
    """The environment of a command whose server sends a signal, once, before it imports a module:
    to itself, or to its whole process group."""
    left, sent = folder / "left", folder / "sent"
    left.touch()
    to = "0" if to_all else "os.getpid()"
    text = _SENDS.format(module=module, left=str(left), sent=str(sent), to=to, name=name)
    (folder / "sitecustomize.py").write_text(text)
    before = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), before)))}
