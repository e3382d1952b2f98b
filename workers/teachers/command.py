"""A teacher that is any program: it is given a WAV file and prints what is said in it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from spaces.space.teacher import command_for
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import TeacherFault
from workers.teachers.base import Transcript

TIME_LIMIT_S = 60.0
_MOST_BYTES = 100_000  # of a transcript; an hour of speech is half of that
_TAIL = 200


class CommandTeacher:
    """A program, run once an utterance in the folder where the search was started.

    No shell is involved. Its output is one line of UTF-8; an empty one says that nobody speaks.
    """

    n_parameters: int | None = None

    def __init__(self, command: tuple[str, ...], at_once: int, time_limit_s: float) -> None:
        self._command, self._at_once, self._time_limit_s = command, at_once, time_limit_s

    def transcribe(self, utterances: Iterable[np.ndarray]) -> Iterator[Transcript]:
        with ThreadPoolExecutor(self._at_once) as pool:
            left = iter(utterances)
            while some := list(islice(left, self._at_once)):
                yield from pool.map(self._transcript, some)

    def _transcript(self, samples: np.ndarray) -> Transcript:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "utterance.wav"
            soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
            return _run(command_for(self._command, str(path)), self._time_limit_s)


def check_command(command: tuple[str, ...], time_limit_s: float) -> None:
    """Run it once on a second of a tone: on what it prints there nothing depends, on how it does.

    Raises:
        TeacherFault: saying what is wrong with it.
    """
    if shutil.which(command[0]) is None:
        raise TeacherFault(
            f"command: {command[0]}: no such program that can be run; a program of the space "
            "file's folder is written ./program"
        )
    second = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = (0.1 * np.sin(2 * np.pi * 440 * second)).astype(np.float32)
    teacher = CommandTeacher(command, 1, time_limit_s)
    (found,) = teacher.transcribe([tone])
    if found.fault is not None:
        raise TeacherFault(f"command: {command[0]} on a second of a tone: {found.fault}")


# Loaded here: between fork and exec of a process with threads nothing may be loaded.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_SET_PARENT_DEATH_SIGNAL = 1


def _end_with_parent() -> None:
    """Linux ends the program when the stage that started it is gone, however it went."""
    if _LIBC is not None:
        _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _run(words: list[str], time_limit_s: float) -> Transcript:
    # Files, not pipes: a child that the program leaves behind could hold a pipe open for ever.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except (OSError, ValueError) as error:
            return Transcript("", f"cannot be started ({error})")
        try:
            process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            return Transcript("", f"took more than {time_limit_s:g} s and was ended")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode != 0:
            return Transcript("", _how_it_ended(process.returncode, _end_of(stderr)))
        stdout.seek(0)
        return _line_of(stdout.read(_MOST_BYTES + 1))


def _how_it_ended(code: int, said: str) -> str:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"{how}{f': {said}' if said else ''}"


def _end_of(stderr: IO[bytes]) -> str:
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _MOST_BYTES))
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1][-_TAIL:] if lines else ""


def _line_of(printed: bytes) -> Transcript:
    if len(printed) > _MOST_BYTES:
        return Transcript("", f"printed more than {_MOST_BYTES} bytes")
    try:
        text = printed.decode("utf-8").strip()
    except UnicodeDecodeError:
        return Transcript("", "printed what is not UTF-8 text")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return Transcript("", f"printed {len(lines)} lines and not one ({lines[0][:60]!r}, …)")
    if not text.isprintable():
        return Transcript("", f"printed control characters ({text[:60]!r})")
    return Transcript(text)
