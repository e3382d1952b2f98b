"""Latency, load time and memory of exported files, each time in a process of its own.

Samples come from several restarts: where a process lies in memory alone moves a median by a few
percent. A restart that was disturbed is taken again, and if it stays so its figures say why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workers.measure.intervals import WITH_INTERVALS, interval
from workers.measure.streams import concurrent_streams
from workers.probe.request import LIVE_TIMES, LatencyRequest, ProcessSample, Runner
from workers.probe.steadiness import RESTARTS_DIFFER

_N_OPERATORS = 60
_MORE_RESTARTS = 2  # where the first ones differ
_TRIMMED_FROM = 5


@dataclass(frozen=True)
class Latency:
    """All restarts of one candidate."""

    samples: tuple[ProcessSample, ...]
    audio_s: tuple[float, ...]

    def pooled(self, name: str) -> np.ndarray:
        """Samples float [passes of all restarts, utterances] in ms."""
        return np.concatenate([np.array(getattr(r, name)) for r in self.samples])

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Reasons not to trust these figures, each once."""
        reasons = {reason.partition(" (")[0]: reason for r in self.samples for reason in r.unsteady}
        if (apart := _apart(self.samples)) > RESTARTS_DIFFER:
            reasons["restarts"] = f"restarts differ by {apart:.0%}"
        return tuple(reasons.values())

    @property
    def anchor_ratio(self) -> float:
        return float(np.median([r.anchor_ratio for r in self.samples]))

    def summary(
        self, macs_per_s: float | None = None, stream_limit_ms: float = 300.0
    ) -> dict[str, float]:
        """Figures by metric name; what this machine does not tell is left out."""
        graph = self.pooled("model_ms")
        figures = {
            "graph_p50_ms": median_over_utterances(graph),
            "graph_p95_ms": float(np.percentile(graph, 95)),
        }
        if len(self.pooled("end_to_end_ms")):
            figures |= self._pipeline(stream_limit_ms)
        figures |= self._live(stream_limit_ms)
        return {**figures, **self._optional(graph, macs_per_s)}

    def _pipeline(self, stream_limit_ms: float) -> dict[str, float]:
        whole = self.pooled("end_to_end_ms")
        p5, p95, p99 = (float(np.percentile(whole, q)) for q in (5, 95, 99))
        p50 = median_over_utterances(whole)
        rtf = float(whole.sum() / 1000 / (sum(self.audio_s) * len(whole)))
        parts = [self.pooled(n) for n in ("features_ms", "model_ms", "decode_ms")]
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

    def _live(self, stream_limit_ms: float) -> dict[str, float]:
        """Of a model that hears live speech: what speakers wait for, how many there may be."""
        told = [r.live for r in self.samples if r.live is not None]
        if not told:
            return {}
        pooled = {name: np.concatenate([t[name] for t in told]) for name in LIVE_TIMES}
        chunk_ms, chunk_s = pooled["chunk_ms"], float(told[0]["chunk_s"])
        p95 = float(np.percentile(chunk_ms, 95))
        figures = {
            "chunk_p50_ms": float(np.median(chunk_ms)),
            "chunk_p95_ms": p95,
            "chunk_rtf": p95 / 1000 / chunk_s,
            "streams": float(
                concurrent_streams(chunk_ms, np.full(len(chunk_ms), chunk_s), stream_limit_ms)
            ),
        }
        waited = {name: pooled[name] for name in LIVE_TIMES[1:] if len(pooled[name])}
        return figures | {name: float(np.median(ms)) for name, ms in waited.items()}

    def _optional(self, graph: np.ndarray, macs_per_s: float | None) -> dict[str, float]:
        values = {}
        for metric, each in (
            ("load_ms", [r.load_ms for r in self.samples]),
            ("cold_start_ms", [_sum(r.load_ms, r.first_ms) for r in self.samples]),
            ("peak_memory_mb", [r.peak_memory_mb for r in self.samples]),
            ("energy_mj", [r.energy_mj for r in self.samples]),
        ):
            known = [value for value in each if value is not None]
            if known:
                values[metric] = float(np.median(known))
        peaks = [r.peak_gflops for r in self.samples if r.peak_gflops is not None]
        if macs_per_s is not None and peaks:
            flop = 2 * macs_per_s * sum(self.audio_s) * len(graph)
            values["utilisation"] = float(flop / (graph.sum() / 1000) / (max(peaks) * 1e9))
        return values

    def intervals(self, figures: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """95 % intervals of those figures that sum up times, taken again at another hour."""
        each = [replace(self, samples=(one,)).summary() for one in self.samples]
        is_unsteady = bool(self.unsteady)
        return {
            name: interval(
                name, value, [one[name] for one in each if name in one], is_unsteady=is_unsteady
            )
            for name, value in figures.items()
            if name in WITH_INTERVALS
        }

    @property
    def profile(self) -> list[dict[str, object]] | None:
        """The operators that take longest, where the runtime tells."""
        found = next((r.profile for r in self.samples if r.profile is not None), None)
        return None if found is None else found[:_N_OPERATORS]


def median_over_utterances(samples: np.ndarray) -> float:
    """Median of the medians of each utterance, of samples [passes, utterances].

    The median of all samples together lies between two utterances of different length and jumps
    from one to the other: 8 % between equal runs where this differs by 2 %.
    """
    return float(np.median(np.median(samples, axis=0)))


def measure_latency(request: LatencyRequest, run: Runner) -> tuple[Latency, ...]:
    """Time each candidate of a request, all of them in the same processes.

    Raises:
        WorkError: when a process fails, with the last it said.
    """
    taken: list[list[ProcessSample]] = []
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


def _apart(restarts: Sequence[ProcessSample]) -> float:
    """How much the medians of restarts differ, as a share; of five and more, the middle ones."""
    medians = sorted(
        median_over_utterances(np.array(r.end_to_end_ms or r.model_ms)) for r in restarts
    )
    if len(medians) >= _TRIMMED_FROM:
        medians = medians[1:-1]
    return medians[-1] / medians[0] - 1


def _undisturbed(
    request: LatencyRequest, run: Runner, before: Sequence[list[ProcessSample]]
) -> list[ProcessSample]:
    """A restart that had the machine for itself, or else the last of a few: it says so. On a
    machine that gave no quiet before there is one attempt."""
    one = replace(request, details=request.details and not before)
    is_noisy = any(r.unsteady for restarts in before for r in restarts)
    for _ in range(1 if is_noisy else request.tries):
        restarts = run(one)
        if not any(r.unsteady for r in restarts):
            break
    return restarts
