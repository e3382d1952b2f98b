"""Latency, load time and memory of an exported file, in a process of its own.

The process has no torch, only what a device has. `python -m workers.measure.latency` is that
process: it reads a request as JSON from standard input and writes figures as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.errors import WorkError

_WARM_UP = 5
_TIMEOUT_S = 600.0
DISTURBED_RATIO = 1.15  # wall over CPU time above which a run was not alone


@dataclass(frozen=True)
class LatencyRequest:
    """What to time: a model file in a backend, over real utterances."""

    model: str
    tokens: str
    backend: str
    threads: int
    runs: int
    audio: tuple[str, ...]  # float32 .npy files, 16 kHz


@dataclass(frozen=True)
class Latency:
    """Raw samples in ms, one a run, and what follows from them.

    `total` is the whole pipeline, samples to text: features, graph and decoding.
    """

    total_ms: tuple[float, ...]
    features_ms: tuple[float, ...]
    graph_ms: tuple[float, ...]
    decode_ms: tuple[float, ...]
    audio_s: tuple[float, ...]
    load_ms: float
    peak_memory_mb: float
    disturbed: bool

    def summary(self) -> dict[str, float]:
        """Figures by metric name."""
        total = np.array(self.total_ms)
        graph = np.array(self.graph_ms)
        rtf = float(total.sum() / 1000 / sum(self.audio_s))
        return {
            **{f"latency_p{q}_ms": float(np.percentile(total, q)) for q in (50, 95, 99)},
            **{f"graph_p{q}_ms": float(np.percentile(graph, q)) for q in (50, 95)},
            "features_p50_ms": float(np.percentile(self.features_ms, 50)),
            "decode_p50_ms": float(np.percentile(self.decode_ms, 50)),
            "rtf": rtf,
            "throughput": 1 / rtf,
            "load_ms": self.load_ms,
            "peak_memory_mb": self.peak_memory_mb,
            "disturbed": float(self.disturbed),
        }


def measure_latency(request: LatencyRequest) -> Latency:
    """Time a model in a fresh process.

    Raises:
        WorkError: when that process fails, with the last it said.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": str(request.threads),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workers.measure.latency"],
            input=json.dumps(asdict(request)),
            capture_output=True,
            text=True,
            env=environment,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkError(f"the latency run took more than {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-3:]
        raise WorkError(f"the latency run ended with {done.returncode}: {' / '.join(said)}")
    figures: dict[str, Any] = json.loads(done.stdout)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in figures.items()}
    return Latency(**fields)


def _take(request: LatencyRequest) -> Latency:
    from workers.backends.base import open_session
    from workers.data.features import SAMPLE_RATE_HZ, fbank
    from workers.data.text import decode, read_tokens

    symbols = read_tokens(Path(request.tokens))
    audio = [np.load(path) for path in request.audio]
    fbank(audio[0])
    import onnxruntime  # noqa: F401  the runtime's own size is not the model's

    before_mb = _reset_peak()
    start = time.perf_counter()
    session = open_session(request.backend, Path(request.model), request.threads)
    load_ms = (time.perf_counter() - start) * 1000
    stages: list[tuple[float, ...]] = []
    seconds = []
    cpu_start = wall = 0.0
    for run in range(_WARM_UP + request.runs):
        samples = audio[run % len(audio)]
        if run == _WARM_UP:
            cpu_start = time.process_time()
        a = time.perf_counter()
        features = fbank(samples)
        b = time.perf_counter()
        log_probs = session.run(features)
        c = time.perf_counter()
        decode(log_probs.argmax(-1).tolist(), symbols)
        d = time.perf_counter()
        if run >= _WARM_UP:
            stages.append(((d - a) * 1000, (b - a) * 1000, (c - b) * 1000, (d - c) * 1000))
            seconds.append(len(samples) / SAMPLE_RATE_HZ)
            wall += d - a
    cpu_s = time.process_time() - cpu_start
    total, features_ms, graph, decode_ms = zip(*stages, strict=True)
    return Latency(
        total_ms=total,
        features_ms=features_ms,
        graph_ms=graph,
        decode_ms=decode_ms,
        audio_s=tuple(seconds),
        load_ms=load_ms,
        peak_memory_mb=max(0.0, _peak_mb() - before_mb),
        disturbed=request.threads == 1 and wall > DISTURBED_RATIO * cpu_s,
    )


def _reset_peak() -> float:
    """Memory in use now, in MB; the peak counts from here where the system allows (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak_mb()
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    if Path("/proc/self/status").exists():
        return _status_mb("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise WorkError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps(asdict(_take(LatencyRequest(**{**given, "audio": tuple(given["audio"])})))))
