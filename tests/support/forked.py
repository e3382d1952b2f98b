"""Commands that need not import what they use: each is a process of its own, forked from one that
has imported it all and done nothing else.

A command takes one to two seconds to import, and the server that stages are forked from takes six:
most of what a tiny search costs. What is proven about a command by its words, files and exit code
is proven by a fork as well; what is about its start, signals or environment starts in full by
`shell.command`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import util
from pathlib import Path
from typing import Any, NoReturn

_MOST_BYTES = 1_000_000
# Variables that an interpreter and its libraries read when they start, and not again.
_READ_AT_START = re.compile(r"PYTHON|LANG|LC_|OMP_|MKL_|CUDA_|HF_|TORCH")
_STARTED_WITH = {"COLUMNS": "160", "OMP_WAIT_POLICY": "PASSIVE"}  # the second as launch sets it


class ForkedCommands:
    """What a test asks for commands. The process that they are forked from starts with the first,
    and ends with `close`."""

    def __init__(self) -> None:
        self._environment = {**os.environ, **_STARTED_WITH}
        self._server: subprocess.Popen[bytes] | None = None
        self._asked: socket.socket | None = None

    def would_serve(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork is in no way another than what starts with these variables."""
        return _read_at_start({**environment, **_STARTED_WITH}) == _read_at_start(self._environment)

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        timeout_s: float,
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` does, with what was said as text; who takes too long is killed."""
        asked = self._connected()
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        request = json.dumps(
            {
                "arguments": list(arguments),
                "environment": dict(environment),
                "folder": str(folder),
            }
        )
        socket.send_fds(asked, [request.encode()], [to_out, to_err])
        os.close(to_out)
        os.close(to_err)
        late = threading.Timer(timeout_s, os.kill, (int(asked.recv(99)), signal.SIGKILL))
        late.start()
        try:
            with ThreadPoolExecutor(2) as pool:  # till nobody can say anything any more
                said = list(pool.map(_read, (out, err)))
            code = int(asked.recv(99))
        finally:
            late.cancel()
        return subprocess.CompletedProcess(["search", *arguments], code, *said)

    def _connected(self) -> socket.socket:
        if self._asked is None:
            self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
            start += f"import forked; forked.serve({theirs.fileno()})"
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-c", start],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,  # a stream of the kind that its forks have
                    env=self._environment,
                )
        return self._asked

    def close(self) -> None:
        if self._asked is not None and self._server is not None:
            self._asked.close()
            self._server.communicate(timeout=60)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if _READ_AT_START.match(k)}


def _read(pipe: int) -> str:
    with open(pipe) as file:
        return file.read()


# In the process that commands are forked from


def serve(asked: int) -> None:
    """Run the commands that are asked for, one after another, till nobody asks any more."""
    from search.cli.main import COMMANDS, LazyGroup

    for name in COMMANDS:
        LazyGroup().get_command(None, name)
    importlib.import_module("workers.stages.preload")
    gc.collect()
    gc.freeze()  # what is never looked at is never copied
    with socket.socket(fileno=asked) as client:
        while True:
            request, fds, _, _ = socket.recv_fds(client, _MOST_BYTES, 2)
            if not request:
                return
            process = os.fork()
            if process == 0:
                break
            for fd in fds:
                os.close(fd)
            client.send(str(process).encode())
            _, status = os.waitpid(process, 0)
            client.send(str(os.waitstatus_to_exitcode(status)).encode())
    _become_command(json.loads(request), fds)


def _become_command(request: dict[str, Any], fds: Sequence[int]) -> None:
    from search.cli.main import main

    for fd, its_place in zip(fds, (1, 2), strict=True):
        os.dup2(fd, its_place)
        os.close(fd)
    _take_variables(request["environment"])
    os.chdir(request["folder"])
    util.spawnv_passfds = _Spare(util.spawnv_passfds)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # stages ignore it
    sys.argv[1:] = request["arguments"]
    try:
        main()
    except SystemExit as ended:
        _end(ended.code)


def _end(code: object) -> NoReturn:
    """As an interpreter ends, without taking everything apart that was imported: half a second."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def _take_variables(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # is found anew


class _Spare:
    """A fork that becomes the server of the stages' processes, should the command start one: a
    child of the command as that is, from before the command had threads or files."""

    def __init__(self, spawn: Callable[..., int]) -> None:
        self._spawn = spawn
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: int | None = os.fork()
        if self._process == 0:
            self._ours.close()
            _wait_to_serve_stages(theirs)
        theirs.close()

    def __call__(self, path: object, arguments: Sequence[str], passed: Sequence[int]) -> int:
        if self._process is None or "multiprocessing.forkserver" not in arguments[-1]:
            return self._spawn(path, arguments, passed)
        request = json.dumps({"code": arguments[-1], "environment": dict(os.environ)})
        socket.send_fds(self._ours, [request.encode()], passed)
        self._ours.close()
        process, self._process = self._process, None
        return process


def _wait_to_serve_stages(asked: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as workers.stages.preload has it
    with asked:
        content, fds, _, _ = socket.recv_fds(asked, _MOST_BYTES, 2)
    if content:
        request = json.loads(content)
        _take_variables(request["environment"])
        exec(re.sub(r"main\(\d+, \d+", f"main({fds[0]}, {fds[1]}", request["code"]))
    os._exit(0)
