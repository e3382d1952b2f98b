"""What a unit of each group costs in time, measured on files with half of a group and with all."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from workers.backends.base import open_session
from workers.export.form import write_onnx
from workers.students.base import Student
from workers.students.narrow import keep_units

Quiet = Callable[[], AbstractContextManager[None]]

_FRAMES = 500  # five seconds
_ROUNDS, _RUNS = 15, 4
_LEAST_MS = 1e-6  # a unit that costs nothing that can be told


def unit_times(network: Student, folder: Path, quiet: Quiet) -> list[float]:
    """Milliseconds of one thread of ONNX Runtime that a unit of each group takes, of five seconds
    of audio; all files are run in turn, and the quickest of each is compared.

    Args:
        quiet: holds the host alone, while the files are run.
    """
    folder.mkdir(exist_ok=True)
    groups, symbols = network.sized_groups(), tuple("?" * network.head.out_features)
    paths = [folder / "whole.onnx"]
    write_onnx(network.eval(), symbols, paths[0])
    halves = [max(1, group.size // 2) for group in groups]
    for i, half in enumerate(halves):
        narrower = copy.deepcopy(network)
        kept = [torch.arange(half if i == j else group.size) for j, group in enumerate(groups)]
        keep_units(narrower, groups, kept)
        paths.append(folder / f"{i}.onnx")
        write_onnx(narrower, symbols, paths[-1])
    heard = (_FRAMES, network.dims.front_end.mels)
    noise = np.random.default_rng(0).standard_normal(heard).astype(np.float32)
    with quiet():
        whole, *narrow = side_by_side_ms(paths, noise)
    return [
        max(_LEAST_MS, (whole - ms) / max(1, group.size - half))
        for group, half, ms in zip(groups, halves, narrow, strict=True)
    ]


def side_by_side_ms(paths: Sequence[Path], features: np.ndarray) -> list[float]:
    """CPU milliseconds that each file takes for an utterance, float32 [T, mels], on one thread of
    ONNX Runtime, the quickest of many; all are run in turn."""
    sessions = [open_session("onnxruntime", path) for path in paths]
    best = [float("inf")] * len(paths)
    for _ in range(_ROUNDS):
        for i, session in enumerate(sessions):
            begun = time.thread_time()
            for _ in range(_RUNS):
                session.run(features)
            best[i] = min(best[i], 1000 * (time.thread_time() - begun) / _RUNS)
    return best
