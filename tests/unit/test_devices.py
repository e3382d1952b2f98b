"""A calibration says what a device differs by on its own, and is kept for it alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.devices.calibrate import Calibration, calibrate, remember, remembered
from search.errors import UsageFault
from search.home import Home
from spaces.space import Space
from workers.probe.request import LatencyRequest, ProcessSample

Make = Callable[..., Space]
PI5 = {"agent": "https://pi5:8765", "token_env": "SEARCH_PI5"}


def calibration(**changed: Any) -> Calibration:
    given: dict[str, Any] = {
        "target": "pi5",
        "device": "https://pi5:8765",
        "at": 1_700_000_000.0,
        "anchor_ms": 1.5,
        "anchor_ratio_spread": 0.03,
        "wall_median_spread": 0.2,
        "peak_gflops": None,
        "unsteady": (),
        "machine": {"cores": 4},
    }
    return Calibration(**{**given, **changed})


def test_a_calibration_is_remembered_for_its_device(make_space: Make, tmp_path: Path) -> None:
    space = make_space(targets={"cpu": {}, "pi5": PI5})
    assert remembered(space, tmp_path / "devices") == {}
    remember(calibration(), tmp_path / "devices")
    assert remembered(space, tmp_path / "devices") == {"pi5": 1.5}
    remember(calibration(anchor_ms=2.5), tmp_path / "devices")
    assert remembered(space, tmp_path / "devices") == {"pi5": 2.5}
    elsewhere = make_space(targets={"pi5": {**PI5, "agent": "https://pi6:8765"}})
    assert remembered(elsewhere, tmp_path / "devices") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"device": "https://pi5:8765"}'])
def test_what_is_no_calibration_is_as_good_as_none(
    make_space: Make, tmp_path: Path, content: str
) -> None:
    (tmp_path / "pi5.json").write_text(content)
    assert remembered(make_space(targets={"pi5": PI5}), tmp_path) == {}


@pytest.mark.parametrize(("spread", "apart"), [(0.03, 0.03), (0.002, 0.015)])
def test_nothing_finer_than_restarts_ever_were_is_promised(spread: float, apart: float) -> None:
    assert calibration(anchor_ratio_spread=spread).tells_apart == apart


def test_five_restarts_of_one_student_are_compared(make_space: Make, tmp_path: Path) -> None:
    asked: list[LatencyRequest] = []

    def run(request: LatencyRequest) -> list[ProcessSample]:
        """Each restart a little slower than the one before, the anchor in the end too."""
        asked.append(request)
        assert Path(request.candidates[0].model).read_bytes()
        slower = 1 + 0.01 * len(asked)
        rows = np.ones((10, len(request.audio)))
        samples = {
            name: (rows * slower).tolist()
            for name in ("end_to_end_ms", "features_ms", "model_ms", "decode_ms", "graph_cpu_ms")
        }
        return [
            ProcessSample(
                **samples,
                anchor_cpu_ms=(rows * (0.25 if len(asked) < 5 else 0.5)).tolist(),
                load_ms=1.0,
                first_ms=1.0,
                peak_memory_mb=1.0,
                unsteady=[],
                machine={"cores": 4},
                texts=[],
                peak_gflops=10.0 * len(asked),
                energy_mj=None,
                profile=None,
            )
        ]

    space = make_space(targets={"cpu": {"threads": 2, "runs": 40}})
    done = calibrate(space, "cpu", Home.at(tmp_path).workspace().locks, run)
    assert len(asked) == 5
    assert all(len(r.candidates) == 1 and len(r.audio) == 6 for r in asked)
    assert asked[0].threads == 2
    assert asked[0].min_runs == 40
    assert (done.target, done.device, done.machine) == ("cpu", "this machine", {"cores": 4})
    assert done.anchor_ms == 0.25
    assert done.peak_gflops == 50.0
    assert done.wall_median_spread == pytest.approx(0.04 / 1.03)
    # ratios 1.01 to 1.04 over 0.25, then 1.05 over 0.5
    assert done.anchor_ratio_spread == pytest.approx((1.04 - 0.525) / 1.02)
    remember(done, tmp_path)
    assert json.loads((tmp_path / "cpu.json").read_text())["anchor_ms"] == 0.25


def test_a_target_of_another_space_is_not_calibrated(make_space: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match=r'^no target "gpu" \(targets: cpu\)$'):
        calibrate(make_space(), "gpu", Home.at(tmp_path).workspace().locks)
