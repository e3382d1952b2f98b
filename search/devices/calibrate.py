"""How finely can a device tell two students apart?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from search.clock import SYSTEM_CLOCK, Clock
from search.errors import UsageFault
from spaces.backends import backend_info
from spaces.recipe import Quantize
from spaces.space import Space, Target
from workers.data.features import FRAMES_PER_SECOND, SAMPLE_RATE_HZ
from workers.export.convert import convert
from workers.isolated_call import call
from workers.measure.latency import Latency
from workers.probe.request import Candidate, LatencyRequest, Runner
from workers.targets.reach import measure_on

_RESTARTS = 5
_SECONDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
MODEL, NETWORK, TOKENS = "model.onnx", "network.safetensors", "tokens.txt"  # of calibration_student


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
    machine: Mapping[str, object]

    @property
    def tells_apart(self) -> float:
        return max(self.anchor_ratio_spread, 0.015)


def calibrate(
    space: Space,
    name: str,
    locks: Path,
    run: Runner | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Calibration:
    """Measure a small untrained student over noise five times on a target.

    Args:
        run: performs a measurement; by default as the target is reached.

    Raises:
        UsageFault: for a target that is not of the space.
        DeviceUnreachable, DeviceRefused, WorkError: as measuring does.
    """
    if name not in space.targets:
        raise UsageFault(f'no target "{name}" (targets: {", ".join(space.targets)})')
    target = space.targets[name]
    if target.metrics is not None:
        raise UsageFault(f"{name}: a phone by adb runs no anchor, so it cannot be calibrated")
    with tempfile.TemporaryDirectory() as work:
        request = _request(target, Path(work))
        (timed,) = measure_on(target, request, locks, run)
    return _calibration(name, target, timed, clock.now())


def _request(target: Target, work: Path) -> LatencyRequest:
    call("calibration_student", {"folder": str(work)})
    model = work / MODEL
    if target.backend != "onnxruntime":
        lengths = (round(max(_SECONDS) * FRAMES_PER_SECOND),)
        network = work / NETWORK
        model = convert(target.backend, model, network, Quantize(), [], lengths, work)[0]
    rng = np.random.default_rng(0)
    paths = []
    for i, seconds in enumerate(_SECONDS):
        paths.append(str(work / f"{i}.npy"))
        n_samples = round(seconds * SAMPLE_RATE_HZ)
        np.save(paths[-1], rng.normal(0, 0.1, n_samples).astype(np.float32))
    return LatencyRequest(
        candidates=(Candidate(target.backend, str(model), str(work / TOKENS), target.settings()),),
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


def _calibration(name: str, target: Target, timed: Latency, at: float) -> Calibration:
    ratios = np.array([r.anchor_ratio for r in timed.samples])
    medians = np.array([np.median(np.array(r.end_to_end_ms)) for r in timed.samples])
    peaks = [r.peak_gflops for r in timed.samples if r.peak_gflops is not None]
    return Calibration(
        target=name,
        device=target.device,
        at=at,
        anchor_ms=float(np.median([r.anchor_ms for r in timed.samples])),
        anchor_ratio_spread=float(np.ptp(ratios) / np.median(ratios)),
        wall_median_spread=float(np.ptp(medians) / np.median(medians)),
        peak_gflops=max(peaks, default=None),
        unsteady=timed.unsteady,
        machine=timed.samples[-1].machine,
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
            record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            if record["device"] == target.device:
                out[name] = float(record["anchor_ms"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return out
