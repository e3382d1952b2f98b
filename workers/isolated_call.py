"""One call in a process of its own: what every inference runtime is run in.

A runtime that crashes, hangs or eats memory ends its call and nothing else, and one whose packages
conflict with ours is called in its own environment's interpreter. The process has no torch unless
the runtime brings it. Request and answer are JSON, each on a line:

    python -m workers.isolated_call OPERATION PARENT < requests.jsonl > answers.jsonl
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from workers.confinement import confine
from workers.errors import Killed, UserFault, WorkError

_OPERATIONS = {
    "prepare": "workers.backends.operations:prepare",
    "recognise": "workers.backends.operations:recognise",
    "listen": "workers.backends.operations:listen",
    "serve": "workers.backends.serving:serve",
    "graph": "workers.backends.graph:loaded_graph",
    "measure": "workers.probe.sampling:measure",
    "machine": "workers.probe.machine:report_of",
    "open_doors": "workers.confinement:open_doors",
    "accelerators": "workers.accelerators:report_of",
    "speak": "workers.data.synthetic:speak",
    "count_symbols": "workers.teachers.waveform_onnx:count_symbols",
    "transcribe": "workers.teachers.sherpa_folder:transcribe",
    "huggingface_to_onnx": "workers.export.huggingface:write",
    "calibration_student": "workers.export.calibration_student:write",
}
_LAST_LINES = 3
_MOST_STDERR_BYTES = 100_000
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Of its parent's variables a confined process has what runtimes are tuned and found by.
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "ANDROID_ROOT", "ANDROID_DATA")
_KEPT_PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "CUDA_")


Request = dict[str, Any]  # as JSON has it; each operation knows its own
Answer = Any


@dataclass(frozen=True)
class Bounds:
    """What a call may use; None is no bound. `memory_mb` counts what the process allocates.

    In a `folder` the process is confined to it: for models that others sent.
    """

    time_s: float | None = None
    memory_mb: int | None = None
    answer_bytes: int = 256_000_000
    folder: Path | None = None

    @property
    def limits(self) -> Request:
        """What the process itself has to know of them."""
        folder = None if self.folder is None else str(self.folder)
        return {"memory_mb": self.memory_mb, "folder": folder}


def call(
    operation: str,
    request: Request,
    interpreter: Path | None = None,
    threads: int = 1,
    bounds: Bounds | None = None,
    on_start: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> Answer:
    """Perform an operation in a child process.

    Args:
        interpreter: a Python to run it in; this one by default.
        on_start: told of the process, for who wants to end it.

    Raises:
        UserFault: as the operation raised it.
        WorkError: when the process fails, with the last line that it printed.
    """
    bounds = bounds or Bounds()
    # Files, not pipes: a process that the runtime leaves behind could hold a pipe open for ever.
    with (
        tempfile.TemporaryFile() as request_file,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        request_file.write(json.dumps({**bounds.limits, "request": request}).encode())
        request_file.seek(0)
        with start_process(
            operation, interpreter, threads, bounds, request_file, stdout, stderr
        ) as process:
            if on_start is not None:
                on_start(process)
            try:
                process.wait(bounds.time_s)
            except subprocess.TimeoutExpired as error:
                raise WorkError(f"took more than {bounds.time_s:g} s and was ended") from error
            finally:
                end_process(process)
        if stdout.seek(0, os.SEEK_END) > bounds.answer_bytes:
            raise WorkError(f"answered more than {bounds.answer_bytes} bytes")
        return answer_of(process.returncode, _read(stdout, bounds.answer_bytes), stderr)


def start_process(
    operation: str,
    interpreter: Path | None,
    threads: int,
    bounds: Bounds,
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes],
) -> subprocess.Popen[bytes]:
    """A process that performs an operation for each line that it is given."""
    return subprocess.Popen(
        _command(operation, interpreter),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=bounds.folder,
        env=_environment(threads, bounds.folder),
        start_new_session=True,
    )


def _command(operation: str, interpreter: Path | None) -> list[str]:
    # -P: what lies in the current folder is not imported
    python = [str(interpreter or sys.executable), "-P", "-m", "workers.isolated_call"]
    return [*python, operation, str(os.getpid())]


def _environment(threads: int, folder: Path | None) -> dict[str, str]:
    ours = (os.path.abspath(p) for p in sys.path if p and "site-packages" not in p)
    return {
        **(os.environ if folder is None else _confined_environment(folder)),
        "PYTHONPATH": os.pathsep.join(ours),
        **dict.fromkeys(_THREADS, str(threads)),
    }


def _confined_environment(folder: Path) -> dict[str, str]:
    """No secret of whoever started this process, and no place of his to write to."""
    kept = {n: v for n, v in os.environ.items() if n in _KEPT or n.startswith(_KEPT_PREFIXES)}
    own = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(folder))
    packages = {"PYTHONUSERBASE": site.getuserbase()}  # would be looked for at home
    return {**kept, **own, **packages, "ORT_DISABLE_TELEMETRY": "1"}


def _read(file: IO[bytes], most: int) -> str:
    """The last so many bytes of what a process wrote."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - most))
    return file.read().decode(errors="replace")


def end_process(process: subprocess.Popen[bytes]) -> None:
    """With all that it started, also where it has ended itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()


def answer_of(code: int, stdout: str, stderr: IO[bytes]) -> Answer:
    """What a process answered that ended so.

    Raises:
        UserFault, Killed, WorkError: as `call`.
    """
    if code == -signal.SIGKILL:
        raise Killed(signal.SIGKILL.name)
    if code == 0:
        try:
            answer = json.loads(stdout)
            fault = answer.get("fault")
            result = answer["result"] if fault is None else None
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise WorkError(f"gave no answer: {stdout[-200:]!r}") from error
        if fault is not None:
            raise UserFault(str(fault))
        return result
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    said = _read(stderr, _MOST_STDERR_BYTES)
    lines = [line for line in said.strip().splitlines() if line.strip()]
    is_ours = any(line.startswith("Traceback") for line in lines)
    last = " / ".join(lines[-1:] if is_ours else lines[-_LAST_LINES:])
    raise WorkError(f"{how}{f': {last}' if last else ''}")


def _limit_memory(memory_mb: int | None) -> None:
    if memory_mb is not None:
        import resource

        limit = memory_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # what it prints is a file


def _end_with_parent(parent: int) -> None:
    """Linux ends this process when the one that started it is gone, however it went."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != parent:  # gone before that was asked for
        os._exit(1)


def _serve(operation: str, parent: int) -> None:
    _end_with_parent(parent)
    first = json.loads(sys.stdin.readline())
    answer_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes print as they like
    _limit_memory(first["memory_mb"])
    if first["folder"] is not None:
        confine(Path(first["folder"]))
    module, _, name = _OPERATIONS[operation].partition(":")
    for given in chain((first,), map(json.loads, sys.stdin)):
        try:
            answer = {"result": getattr(importlib.import_module(module), name)(given["request"])}
        except UserFault as fault:
            answer = {"fault": str(fault)}
        answer_to.write(json.dumps(answer) + "\n")
        answer_to.flush()
    os._exit(0)  # a runtime that crashes while it is taken down has answered already


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
