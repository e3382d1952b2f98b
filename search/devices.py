"""The devices of a space: are they there, and how finely can they tell two students apart?"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.errors import UsageFault
from spaces.backends import backend_info
from spaces.families import SeparableConv
from spaces.space import Space, Target
from workers.data.features import SAMPLE_RATE_HZ
from workers.errors import DeviceAway, UserFault, WorkError
from workers.jobs import Place
from workers.measure.latency import Candidate, Latency, LatencyRequest, measure_latency
from workers.measure.machine import report
from workers.measure.on_target import agent_of, runner_for
from workers.measure.quiet import Host

_RESTARTS = 5
_SECONDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
_SYMBOLS = ("<blk>", *"abcdefghijklmnopqrstuvwxyz", "▁")


@dataclass(frozen=True)
class Found:
    """One target: `state` is ready, away or refused; `said` what it told of itself, or why not."""

    target: str
    device: str
    backend: str
    state: str
    said: str
    report: dict[str, Any] | None = None


def check(space: Space) -> list[Found]:
    """Ask every target of a space; none is measured on."""
    return [_checked(name, target) for name, target in space.targets.items()]


def _checked(name: str, target: Target) -> Found:
    try:
        told = _told(target)
    except DeviceAway as error:
        return Found(name, target.device, target.backend, "away", str(error))
    except (UserFault, WorkError) as error:
        return Found(name, target.device, target.backend, "refused", str(error))
    return Found(name, target.device, target.backend, "ready", _in_words(told), told)


def _told(target: Target) -> dict[str, Any]:
    if target.agent is not None:
        told: dict[str, Any] = agent_of(target).device()["machine"]
        return told
    if target.adb is not None:
        from workers.measure.adb import Phone

        return Phone(target.adb).device()
    from workers.backends.environments import interpreter_of

    interpreter_of(target.backend)
    return asdict(report())


def _in_words(told: dict[str, Any]) -> str:
    parts = [str(told.get("processor", "")), f"{told.get('cores')} cores"]
    for key, form in (
        ("memory_mb", "{:.0f} MB"),
        ("governor", "governor {}"),
        ("temperature_c", "{:.0f} °C"),
        ("load_1min", "load {:.2f}"),
    ):
        if told.get(key) is not None:
            parts.append(form.format(told[key]))
    return ", ".join([*parts, *told.get("runtimes", ())])


@dataclass(frozen=True)
class Calibration:
    """What five restarts of one and the same file differ by on a target, and its anchor's time.

    Spreads are (largest - smallest) / median. `tells_apart` is the smallest difference between
    two students that a measurement there can be trusted with.
    """

    target: str
    device: str
    at: float
    anchor_ms: float
    anchor_ratio_spread: float
    wall_median_spread: float
    peak_gflops: float | None
    unsteady: tuple[str, ...]
    machine: dict[str, Any]

    @property
    def tells_apart(self) -> float:
        return max(self.anchor_ratio_spread, 0.015)


def calibrate(space: Space, name: str, place: Place) -> Calibration:
    """Measure a small untrained student over noise five times on a target.

    Raises:
        UsageFault: for a target that is not of the space.
        DeviceAway, DeviceRefused, WorkError: as measuring does.
    """
    if name not in space.targets:
        raise UsageFault(f'no target "{name}" (targets: {", ".join(space.targets)})')
    target = space.targets[name]
    if target.metrics is not None:
        raise UsageFault(f"{name}: a phone by adb runs no anchor, so it cannot be calibrated")
    with tempfile.TemporaryDirectory() as work:
        request = _request(target, Path(work))
        if target.shares_this_machine:
            with Host(place.locks).quiet():
                (timed,) = measure_latency(request, runner_for(target))
        else:
            (timed,) = measure_latency(request, runner_for(target))
    return _calibration(name, target, timed)


def _request(target: Target, work: Path) -> LatencyRequest:
    import torch

    from workers.checkpoint import save_network
    from workers.data.text import write_tokens
    from workers.export.convert import convert
    from workers.export.onnx import export_onnx
    from workers.students.base import build

    torch.manual_seed(0)
    network = build(SeparableConv(channels=96, blocks=4, kernel=9), len(_SYMBOLS)).eval()
    export_onnx(network, _SYMBOLS, work / "model.onnx")
    write_tokens(_SYMBOLS, work / "tokens.txt")
    model = work / "model.onnx"
    if target.backend != "onnxruntime":
        from spaces.recipe import Quantize

        save_network(network, _SYMBOLS, work / "network.safetensors", job="calibrate")
        lengths = (round(max(_SECONDS) * 100),)
        network_at = work / "network.safetensors"
        model = convert(target.backend, model, network_at, Quantize(), [], lengths, work)[0]
    rng = np.random.default_rng(0)
    paths = []
    for i, seconds in enumerate(_SECONDS):
        paths.append(str(work / f"{i}.npy"))
        n_samples = round(seconds * SAMPLE_RATE_HZ)
        np.save(paths[-1], rng.normal(0, 0.1, n_samples).astype(np.float32))
    return LatencyRequest(
        candidates=(
            Candidate(target.backend, str(model), str(work / "tokens.txt"), target.settings()),
        ),
        audio=tuple(paths),
        audio_s=_SECONDS,
        threads=target.threads,
        min_runs=target.runs,
        max_s=target.max_s,
        within=target.within,
        restarts=_RESTARTS,
        details=True,
        gpu=backend_info(target.backend).gpu,
    )


def _calibration(name: str, target: Target, timed: Latency) -> Calibration:
    ratios = np.array([r.anchor_ratio for r in timed.restarts])
    medians = np.array([np.median(np.array(r.whole_ms)) for r in timed.restarts])
    peaks = [r.peak_gflops for r in timed.restarts if r.peak_gflops is not None]
    return Calibration(
        target=name,
        device=target.device,
        at=time.time(),
        anchor_ms=float(np.median([r.anchor_ms for r in timed.restarts])),
        anchor_ratio_spread=float(np.ptp(ratios) / np.median(ratios)),
        wall_median_spread=float(np.ptp(medians) / np.median(medians)),
        peak_gflops=max(peaks, default=None),
        unsteady=timed.unsteady,
        machine=timed.restarts[-1].machine,
    )


def remember(calibration: Calibration, folder: Path) -> None:
    """Keep it in a home; later measurements on that device say when its anchor has slowed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{calibration.target}.json"
    path.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")


def remembered(space: Space, folder: Path) -> dict[str, float]:
    """Time of the anchor in ms by target, where a target was calibrated on its present device."""
    out = {}
    for name, target in space.targets.items():
        try:
            said = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            if said["device"] == target.device:
                out[name] = float(said["anchor_ms"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return out
