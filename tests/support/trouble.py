"""A backend of another package that does harm, in the way that the name of its model says."""

import ctypes
import os
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np

from spaces.backends import BackendInfo
from workers.errors import UserFault

INFO = BackendInfo("trouble", "trouble", "harm")


def installed(folder: Path) -> Path:
    """This backend as a package that is found by who has the folder on his path."""
    described = folder / "trouble-1.0.dist-info"
    described.mkdir(parents=True)
    shutil.copy(__file__, folder)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[compression_search.backends]\ntrouble=trouble\n")
    return folder


class _Session:
    def __init__(self, name):
        self._name = name

    def run(self, features):
        if self._name == "segfault_if_long" and len(features) > 150:
            _segfault(self._name)
        return np.eye(4, dtype=np.float32)[np.arange(len(features)) % 4]

    def close(self):
        pass


def open_session(model, settings):
    harm = getattr(sys.modules[__name__], f"_{model.name}", None)
    if harm is not None:
        harm(model)
    return _Session(model.name)


def _fault(model):
    raise UserFault(f"{model}: is not a model, dear user")


def _loads_once(model):
    with (model.parent / "loaded").open("x"):
        pass


def _threads(model):
    raise UserFault(f"{os.environ['OMP_NUM_THREADS']} threads")


def _error(model):
    raise RuntimeError("the runtime gave up")


def _segfault(model):
    print("about to crash", file=sys.stderr)
    sys.stderr.flush()
    ctypes.string_at(0)


def _abort(model):
    os.abort()


def _leaves(model):
    os._exit(7)


def _hangs(model):
    (model.parent / "pid").write_text(str(os.getpid()))
    time.sleep(600)


def _eats(model):
    np.ones(10**9, np.float64)  # 8 GB


def _prints(model):
    print('{"result": "from Python"}')
    os.write(1, b'{"result": "from C"}\n')
    os.write(2, "größe \xff".encode("latin-1"))
    warnings.warn("a warning", stacklevel=1)


def _closes(model):
    os.close(1)


def _lingers(model):
    """Starts a thread and a process that would go on for long."""
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    (model.parent / "pid").write_text(str(pid))


def _lingers_and_fails(model):
    _lingers(model)
    _error(model)
