"""Do the intervals of timed figures hold when they are taken again at another hour?

SESSIONS measurements of each network (6), PAUSE_S seconds apart (600). Right is a figure of one
session that the interval of another holds, each pair both ways round.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from pathlib import Path

import numpy as np
from students import SECONDS, STUDENTS, audio_in, make

from spaces.families import SeparableConv
from workers.measure.latency import measure_latency
from workers.probe.request import Candidate, LatencyRequest
from workers.targets.local import run_here

SESSIONS = int(os.environ.get("SESSIONS", "6"))
PAUSE_S = float(os.environ.get("PAUSE_S", "600"))
SHOWN = ("latency_p50_ms", "latency_p95_ms", "rtf", "graph_p50_ms", "graph_p95_ms", "graph_cpu_ms")


def test_intervals(tmp_path: Path) -> None:
    networks = {**STUDENTS, "teacher": SeparableConv(channels=256, blocks=8, expand=3.0)}
    audio = audio_in(tmp_path / "audio")
    requests = {}
    for name, dims in networks.items():
        made = make(dims, tmp_path / name)
        candidate = Candidate("onnxruntime", str(made.onnx), str(made.tokens), {"threads": 1})
        requests[name] = LatencyRequest(
            candidates=(candidate,), audio=audio, audio_s=SECONDS, max_s=5.0
        )
    taken: dict[str, list[tuple[dict[str, float], dict[str, tuple[float, float]]]]] = {}
    for session in range(SESSIONS):
        if session:
            time.sleep(PAUSE_S)
        for name, one in requests.items():
            (timed,) = measure_latency(one, run_here)
            figures = timed.summary()
            taken.setdefault(name, []).append((figures, timed.intervals(figures)))
            print(
                f"session {session}: {name} {figures['latency_p50_ms']:.3f} ms, network "
                f"{figures['graph_p50_ms']:.3f}, {'; '.join(timed.unsteady) or 'steady'}"
            )
    print(f"\n{SESSIONS} sessions, {PAUSE_S:.0f} s apart, {len(networks)} networks")
    print(f"{'':18}{'in the interval':>18}{'moved by (95 %)':>18}{'half width':>12}")
    every = []
    for metric in SHOWN:
        held, moved, widths = [], [], []
        for sessions in taken.values():
            for (a, around_a), (b, _) in itertools.permutations(sessions, 2):
                low, high = around_a[metric]
                held.append(low <= b[metric] <= high)
                moved.append(abs(math.log(b[metric] / a[metric])))
                widths.append(math.log(high / low) / 2)
        every += held
        apart = float(np.percentile(moved, 95))
        print(
            f"{metric:18}{np.mean(held):>12.1%} of {len(held)}{apart:>14.1%}"
            f"{np.median(widths):>12.1%}"
        )
    print(f"all: {np.mean(every):.1%} of {len(every)}")
    assert every
