"""A backend of another package that does harm, in the way that the name of its model says."""

import ctypes
import os
import sys
import threading
import time
import warnings

import numpy as np

from spaces.backends import BackendInfo
from workers.errors import UserFault

INFO = BackendInfo("trouble", "trouble", "harm")


class _Session:
    def run(self, features):
        return np.eye(4, dtype=np.float32)[np.arange(len(features)) % 4]

    def close(self):
        pass


def open_session(model, settings):
    harm = getattr(sys.modules[__name__], f"_{model.name}", None)
    if harm is not None:
        harm(model)
    return _Session()


def _fault(model):
    raise UserFault(f"{model}: is not a model, dear user")


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
