"""The anchor: a frozen model that is timed in turn with every candidate.

What a machine does to a candidate it does to the anchor as well, so that the ratio of both can be
compared across days on one device: 1.4 to 3.1 % spread where wall medians were off by three times.
`anchor.onnx` never changes: six 128 × 128 products over 200 frames with three depthwise
convolutions between them. It runs in ONNX Runtime whatever the candidate runs in.
"""

from __future__ import annotations

import time
from importlib.resources import files

import numpy as np

_FRAMES, _CHANNELS = 200, 128


class Anchor:
    """Loaded, on one thread."""

    def __init__(self) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = (files("workers.probe") / "anchor.onnx").read_bytes()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        self._feed = {"x": rng.normal(0, 1, (1, _FRAMES, _CHANNELS)).astype(np.float32)}

    def cpu_ms(self) -> float:
        """CPU time of one run."""
        start = time.process_time_ns()
        self._session.run(None, self._feed)
        return (time.process_time_ns() - start) / 1e6


def peak_gflops(seconds: float = 0.15) -> float:
    """Multiply-adds times two per second that a matrix product reaches here, in 10^9, on as many
    threads as the linear algebra of numpy is allowed."""
    size = 512
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size)).astype(np.float32) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9
