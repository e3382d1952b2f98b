"""Which accelerators torch has here, and whose turn it is on one.

Several stages may share a GPU: each takes one of its slots, a file lock that goes with its process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

_LOOK_AGAIN_S = 0.5


class Accelerators(NamedTuple):
    """What torch finds: the names of its CUDA devices, whether they compute in bfloat16, and
    whether there is Apple's."""

    cuda: tuple[str, ...] = ()
    has_bf16: bool = False
    has_mps: bool = False


def report_of(_request: Mapping[str, object]) -> dict[str, object]:
    """The same, as a child process answers it: torch is loaded nowhere else for it."""
    import torch

    n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Accelerators(
        cuda=tuple(torch.cuda.get_device_name(i) for i in range(n)),
        has_bf16=bool(n) and all(map(_has_bf16, range(n))),
        has_mps=torch.backends.mps.is_available(),
    )._asdict()


def _has_bf16(gpu: int) -> bool:
    """In hardware: older ones only pretend."""
    import torch

    with torch.cuda.device(gpu):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@contextmanager
def slot_on_gpu(
    locks: Path, gpus: tuple[int, ...], per_gpu: int, waiting: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """The number of a GPU on which there is room, kept while the block runs.

    Args:
        locks: folder of the host's locks.
        gpus: numbers of those that may be used; the emptiest is taken first.
        per_gpu: how many stages may share one.
        waiting: told again and again while there is no room.
    """
    locks.mkdir(parents=True, exist_ok=True)
    while (taken := _free_slot(locks, gpus, per_gpu)) is None:
        waiting()
        time.sleep(_LOOK_AGAIN_S)
    gpu, lock = taken
    try:
        yield gpu
    finally:
        lock.release()


def _free_slot(locks: Path, gpus: tuple[int, ...], per_gpu: int) -> tuple[int, FileLock] | None:
    """A GPU with room, and the lock of its slot, which is taken; None while all are taken."""
    for slot, gpu in itertools.product(range(per_gpu), gpus):
        lock = FileLock(locks / f"gpu{gpu}-{slot}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return gpu, lock
    return None
