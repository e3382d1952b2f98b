"""Latency, load time and memory of exported files, each time in a process of its own.

Samples come from several restarts: where a process lies in memory alone moves a median by a few
percent. A restart that was disturbed is taken again, and if it stays so its figures say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workers.measure.steadiness import RESTARTS_DIFFER
from workers.measure.streams import concurrent_streams

_TRIES_FOR_QUIET = 3
_N_OPERATORS = 60
_MORE_RESTARTS = 2  # where the first ones differ
_TRIMMED_FROM = 5


@dataclass(frozen=True)
class Candidate:
    """A prepared model in a backend, and how it is run."""

    backend: str
    model: str  # path of its main file
    tokens: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class LatencyRequest:
    """What to time, over which utterances (float32 .npy files, 16 kHz), and how well.

    A restart ends when half the 95 % interval of each median is within `within` of it after at
    least `min_runs` runs, or after `max_s` seconds. `details` adds profile, energy and peak.
    """

    candidates: tuple[Candidate, ...]
    audio: tuple[str, ...]
    audio_s: tuple[float, ...]
    threads: int = 1
    min_runs: int = 60
    max_s: float = 20.0
    within: float = 0.01
    restarts: int = 3
    details: bool = False
    gpu: bool = False


@dataclass(frozen=True)
class Restart:
    """What one process measured of one candidate. Samples are [passes][utterances].

    Empty lists and None are what a device does not tell.
    """

    whole_ms: list[list[float]]
    features_ms: list[list[float]]
    graph_ms: list[list[float]]
    decode_ms: list[list[float]]
    graph_cpu_ms: list[list[float]]
    anchor_cpu_ms: list[list[float]]
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    unsteady: list[str]
    machine: dict[str, Any]
    texts: list[str]
    peak_gflops: float | None
    energy_mj: float | None
    profile: list[dict[str, Any]] | None

    @property
    def anchor_ratio(self) -> float:
        """CPU time of the network over the anchor's, both the lower quartile, mean over
        utterances."""
        candidate = np.percentile(np.array(self.graph_cpu_ms), 25, axis=0)
        return float(candidate.mean() / self.anchor_ms)

    @property
    def anchor_ms(self) -> float:
        return float(np.percentile(np.array(self.anchor_cpu_ms), 25))


class Runner(Protocol):
    """Performs one restart of a request, here or on a device."""

    def __call__(self, request: LatencyRequest) -> list[Restart]: ...


@dataclass(frozen=True)
class Latency:
    """All restarts of one candidate."""

    restarts: tuple[Restart, ...]
    audio_s: tuple[float, ...]

    def pooled(self, name: str) -> np.ndarray:
        """Samples float [passes of all restarts, utterances] in ms."""
        return np.concatenate([np.array(getattr(r, name)) for r in self.restarts])

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Reasons not to trust these figures, each once."""
        reasons = {
            reason.partition(" (")[0]: reason for r in self.restarts for reason in r.unsteady
        }
        if (apart := _apart(self.restarts)) > RESTARTS_DIFFER:
            reasons["restarts"] = f"restarts differ by {apart:.0%}"
        return tuple(reasons.values())

    @property
    def anchor_ratio(self) -> float:
        return float(np.median([r.anchor_ratio for r in self.restarts]))

    def summary(
        self, macs_per_s: float | None = None, stream_limit_ms: float = 300.0
    ) -> dict[str, float]:
        """Figures by metric name; what this machine does not tell is left out."""
        graph = self.pooled("graph_ms")
        figures = {
            "graph_p50_ms": median_over_utterances(graph),
            "graph_p95_ms": float(np.percentile(graph, 95)),
        }
        if len(self.pooled("whole_ms")):
            figures |= self._pipeline(stream_limit_ms)
        return {**figures, **self._told(graph, macs_per_s)}

    def _pipeline(self, stream_limit_ms: float) -> dict[str, float]:
        whole = self.pooled("whole_ms")
        p5, p95, p99 = (float(np.percentile(whole, q)) for q in (5, 95, 99))
        p50 = median_over_utterances(whole)
        rtf = float(whole.sum() / 1000 / (sum(self.audio_s) * len(whole)))
        parts = [self.pooled(n) for n in ("features_ms", "graph_ms", "decode_ms")]
        audio_s = np.broadcast_to(self.audio_s, whole.shape)
        return {
            "latency_p5_ms": p5,
            "latency_p50_ms": p50,
            "latency_p95_ms": p95,
            "latency_p99_ms": p99,
            "tail_factor": p99 / p50,
            "features_p50_ms": median_over_utterances(parts[0]),
            "decode_p50_ms": median_over_utterances(parts[2]),
            "sum_check": float(np.median(np.median(sum(parts), axis=0) / np.median(whole, axis=0))),
            "graph_cpu_ms": float(np.percentile(self.pooled("graph_cpu_ms"), 25, axis=0).mean()),
            "anchor_ratio": self.anchor_ratio,
            "rtf": rtf,
            "throughput": 1 / rtf,
            "streams": float(concurrent_streams(whole.ravel(), audio_s.ravel(), stream_limit_ms)),
        }

    def _told(self, graph: np.ndarray, macs_per_s: float | None) -> dict[str, float]:
        told = {}
        for metric, each in (
            ("load_ms", [r.load_ms for r in self.restarts]),
            ("cold_start_ms", [_sum(r.load_ms, r.first_ms) for r in self.restarts]),
            ("peak_memory_mb", [r.peak_memory_mb for r in self.restarts]),
            ("energy_mj", [r.energy_mj for r in self.restarts]),
        ):
            known = [value for value in each if value is not None]
            if known:
                told[metric] = float(np.median(known))
        peaks = [r.peak_gflops for r in self.restarts if r.peak_gflops is not None]
        if macs_per_s is not None and peaks:
            flop = 2 * macs_per_s * sum(self.audio_s) * len(graph)
            told["utilisation"] = float(flop / (graph.sum() / 1000) / (max(peaks) * 1e9))
        return told

    @property
    def profile(self) -> list[dict[str, Any]] | None:
        """The operators that take longest, where the runtime tells."""
        found = next((r.profile for r in self.restarts if r.profile is not None), None)
        return None if found is None else found[:_N_OPERATORS]


def median_over_utterances(samples: np.ndarray) -> float:
    """Median of the medians of each utterance, of samples [passes, utterances].

    The median of all samples together lies between two utterances of different length and jumps
    from one to the other: 8 % between equal runs where this differs by 2 %.
    """
    return float(np.median(np.median(samples, axis=0)))


def measure_latency(request: LatencyRequest, run: Runner | None = None) -> tuple[Latency, ...]:
    """Time each candidate of a request, all of them in the same processes.

    Raises:
        WorkError: when a process fails, with the last it said.
    """
    run = run or run_here
    taken: list[list[Restart]] = []
    while len(taken) < request.restarts:
        taken.append(_undisturbed(request, run, taken))
    while len(taken) < request.restarts + _MORE_RESTARTS and any(
        _apart([restart[i] for restart in taken]) > RESTARTS_DIFFER
        for i in range(len(request.candidates))
    ):
        taken.append(_undisturbed(request, run, taken))
    return tuple(
        Latency(tuple(restart[i] for restart in taken), request.audio_s)
        for i in range(len(request.candidates))
    )


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _apart(restarts: Sequence[Restart]) -> float:
    """How much the medians of restarts differ, as a share; of five and more, the middle ones."""
    medians = sorted(median_over_utterances(np.array(r.whole_ms or r.graph_ms)) for r in restarts)
    if len(medians) >= _TRIMMED_FROM:
        medians = medians[1:-1]
    return medians[-1] / medians[0] - 1


def _undisturbed(
    request: LatencyRequest, run: Runner, before: Sequence[list[Restart]]
) -> list[Restart]:
    """A restart that had the machine for itself, or else the last of a few: it says so. On a
    machine that gave no quiet before there is one attempt."""
    one = replace(request, details=request.details and not before)
    is_noisy = any(r.unsteady for restarts in before for r in restarts)
    for _ in range(1 if is_noisy else _TRIES_FOR_QUIET):
        restarts = run(one)
        if not any(r.unsteady for r in restarts):
            break
    return restarts


def run_here(request: LatencyRequest, interpreter: Path | None = None) -> list[Restart]:
    """One restart on this machine."""
    from workers.backends.environments import interpreter_of
    from workers.child import call

    interpreter = interpreter or interpreter_of(request.candidates[0].backend)
    answer = call("measure", asdict(request), interpreter, threads=request.threads)
    return restarts_of(answer)


_FIELDS = {f.name for f in fields(Restart)}


def restarts_of(answer: Sequence[dict[str, Any]]) -> list[Restart]:
    """What a process or a device answered.

    Raises:
        ValueError: when that is no such answer.
    """
    if not all(isinstance(a, dict) and set(a) == _FIELDS for a in answer):
        raise ValueError("is no measurement")
    return [Restart(**a) for a in answer]
