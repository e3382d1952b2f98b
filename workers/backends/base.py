"""The contract of a backend: an inference runtime that runs an exported student.

A backend is a module with the names of `Backend` and one line in the table of `spaces.backends`,
or an entry point of another package. It is imported in a child process only (`isolated_call.py`): a
runtime that crashes takes nothing with it, and one whose packages conflict with ours runs in an
environment of its own (`environments.py`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from spaces.backends import BackendInfo, backend_info
from spaces.registry import UnknownName
from workers.backends.self_contained import check_self_contained
from workers.errors import MissingExtra, UserFault


@dataclass(frozen=True)
class Settings:
    """How a runtime is to run a model; each takes of these what its table line names."""

    threads: int = 1
    graph_level: str = "all"  # all, extended, basic or off
    arena: bool = True
    spinning: bool = False
    precision: str = "fp32"  # what it computes in: fp32, bf16 or fp16


@dataclass(frozen=True)
class Source:
    """A trained student in the forms that a runtime may be prepared from.

    `onnx` is float32 in the contract of the exports; `network` is the checkpoint of the torch
    network, where there is one. `calibration` are features float32 [T, 80] of training audio.
    """

    onnx: Path
    network: Path | None = None
    formats: tuple[str, str, str] = ("fp32", "fp32", "fp32")  # of frontend, encoder, head
    calibration: Sequence[np.ndarray] = field(default=())
    ranges: str = "minmax"  # how those of activations are taken from it
    kept: tuple[str, ...] = ()  # layers that stay in 16 bits, by the names of their nodes
    lengths: tuple[int, ...] = ()  # frames that are to fit, ascending; for fixed-length runtimes

    @property
    def format(self) -> str:
        """The one format of all parts, for runtimes that know no other way."""
        return self.formats[1]


@dataclass(frozen=True)
class OperatorTime:
    """Time that one operator of a model took, mean of several runs."""

    name: str
    kind: str
    time_ms: float


class Session(Protocol):
    """A prepared student, loaded."""

    def run(self, features: np.ndarray) -> np.ndarray:
        """Log-probabilities float32 [T', V] of one utterance, float32 [T, 80].

        Raises:
            UserFault: for an utterance longer than the model was prepared for.
        """
        ...

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """Where the time goes, by the runtime's own profiler; None where it has none."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


class Backend(Protocol):
    """What the module of a backend holds."""

    def prepare(self, source: Source, folder: Path) -> tuple[str, ...]:
        """Write a student in the runtime's own form; names of the files, the main one first.

        Raises:
            UserFault: for a student that this runtime cannot take.
        """
        ...

    def open_session(self, model: Path, settings: Settings) -> Session:
        """Load a prepared student by its main file.

        Raises:
            UserFault: for a file that it cannot load.
        """
        ...

    def version(self) -> str:
        """Name and version of the runtime, for the record."""
        ...


def load_backend(name: str) -> Backend:
    """Import a backend into this process.

    Raises:
        UserFault: for a backend that is not known.
        MissingExtra: when its packages are not installed here.
    """
    try:
        info = backend_info(name)
    except UnknownName as error:
        raise UserFault(str(error)) from error
    lacking = missing_modules(info)
    if lacking:
        raise missing(info, lacking)
    return cast(Backend, importlib.import_module(info.module))


def missing_modules(info: BackendInfo) -> list[str]:
    """Modules of a backend that this interpreter cannot import."""
    return [m for m in info.modules if importlib.util.find_spec(m) is None]


def missing(info: BackendInfo, lacking: list[str]) -> UserFault:
    """What to do about a backend that is not installed."""
    if info.requirements:
        return UserFault(
            f'backend "{info.name}" is not installed; its packages conflict with ours and get an '
            f"environment of their own: search backends install {info.name}"
        )
    if info.extra is not None:
        return MissingExtra(f'backend "{info.name}"', info.extra)
    return UserFault(
        f'backend "{info.name}" lacks {", ".join(lacking)}: {info.limits or info.meaning}'
    )


def open_session(backend: str, model: Path, settings: Settings | None = None) -> Session:
    """Load a prepared student in a runtime, in this process.

    Raises:
        UserFault: for a backend that is not known, or a file that it cannot load.
    """
    check_model(backend, model)
    return load_backend(backend).open_session(model, settings or Settings())


def check_model(backend: str, model: Path) -> None:
    """What has to be so before a runtime sees a file, which may be anybody's; costs no runtime.

    Raises:
        UserFault: for a backend that is not known, or a file that is not to be loaded.
    """
    try:
        reads_onnx = backend_info(backend).reads_onnx
    except UnknownName as error:
        raise UserFault(str(error)) from error
    if reads_onnx or model.suffix == ".onnx":
        check_self_contained(model)
