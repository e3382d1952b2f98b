"""Where a launch trains: what the space asks for, and what there is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from search.errors import UsageFault
from search.study.settings import Place
from spaces.space import Search
from workers.accelerators import Accelerators
from workers.isolated_call import call

# What is there where CUDA may be: a driver, that of WSL or of a Jetson, ROCm's.
_DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/kfd")


def place_of(search: Search, *, deterministic: bool) -> Place:
    """The device, numbers and GPUs of a launch.

    Raises:
        UsageFault: for a device that is not there, or cannot be had.
    """
    precision = "" if search.precision == "auto" else search.precision
    if search.device == "cpu" or (search.device == "auto" and (deterministic or not _may_be_any())):
        return Place(precision=precision)
    if deterministic:
        raise UsageFault(
            f"search.device: {search.device}: sums on a GPU differ from run to run, so nothing of "
            "it is deterministic; use device: cpu, or no --deterministic"
        )
    found = accelerators()
    kind, _, number = search.device.partition(":")
    if kind in ("auto", "cuda") and found.cuda:
        gpus = tuple(range(len(found.cuda))) if not number else (int(number),)
        if gpus[-1] < len(found.cuda):
            usual = "bf16" if found.has_bf16 else "fp16"
            return Place("cuda", precision or usual, gpus, search.trials_per_gpu)  # type: ignore[arg-type]
    if kind == "mps" and found.has_mps:  # never ran, so nobody gets it unasked
        return Place("mps", precision or "fp32")
    if kind == "auto":
        return Place(precision=precision)
    raise UsageFault(f"search.device: {search.device}: is not here; torch finds {_listed(found)}")


@cache
def accelerators() -> Accelerators:
    """What torch finds here, asked once in a process of its own."""
    answer = call("accelerators", {})
    return Accelerators(tuple(answer["cuda"]), answer["has_bf16"], answer["has_mps"])


def told(place: Place) -> str:
    """Where it trains, in words."""
    numbers = f" in {place.precision}" if place.precision else ""
    if place.device == "cuda":
        listed = ", ".join(map(str, place.gpus))
        shared = f", {place.per_gpu} at a time on each" if place.per_gpu > 1 else ""
        return f"GPU {listed}{numbers}{shared}"
    return f"{place.device or 'cpu'}{numbers}"


def _may_be_any() -> bool:
    """Whether it is worth two seconds to load torch for the question."""
    return any(Path(driver).exists() for driver in _DRIVERS)


def _listed(found: Accelerators) -> str:
    names = [f"cuda:{i} ({name})" for i, name in enumerate(found.cuda)]
    return ", ".join(["cpu", *names, *(["mps"] if found.has_mps else [])])
