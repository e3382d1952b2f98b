"""What a process is asked to time, and what it gives back. Known on a device: no pydantic.

Both travel between machines as JSON, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

_MOST_PASSES = 400

GivenSettings = Mapping[str, Any]  # the fields of `workers.backends.base.Settings`


@dataclass(frozen=True)
class Candidate:
    """A prepared model in a backend, and how it is run."""

    backend: str
    model: str  # path of its main file
    tokens: str
    settings: GivenSettings
    front_end: str = ""  # its code
    filter_bank: str = "kaldi"  # what computes features: kaldi (where it is installed) or fast


@dataclass(frozen=True)
class LatencyRequest:
    """What to time, over which utterances (float32 .npy files, at the rate of all candidates'
    front ends), and how well.

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
    tries: int = 3  # of a restart, until one is undisturbed
    details: bool = False
    gpu: bool = False

    @property
    def least_passes(self) -> int:
        return max(2, -(-self.min_runs // len(self.audio)))

    @property
    def most_passes(self) -> int:
        return max(self.least_passes, _MOST_PASSES)


@dataclass(frozen=True)
class ProcessSample:
    """What one process measured of one candidate. Samples are [passes][utterances].

    Empty lists and None are what a device does not tell.
    """

    end_to_end_ms: list[list[float]]
    features_ms: list[list[float]]
    model_ms: list[list[float]]
    decode_ms: list[list[float]]
    graph_cpu_ms: list[list[float]]
    anchor_cpu_ms: list[list[float]]
    load_ms: float | None
    first_ms: float | None
    peak_memory_mb: float | None
    unsteady: list[str]
    machine: dict[str, object]
    texts: list[str]
    peak_gflops: float | None
    energy_mj: float | None
    profile: list[dict[str, object]] | None
    live: dict[str, Any] | None = None  # a `LiveTimes`, of a model that hears live speech

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
    """Performs a request in one process, here or on a device."""

    def __call__(self, request: LatencyRequest) -> list[ProcessSample]: ...


_FIELDS = {f.name for f in fields(ProcessSample)}
_LATER = {"live"}  # which agents of before do not tell
_CHUNK_S = "chunk_s"
LIVE_TIMES = ("chunk_ms", "first_token_ms", "emission_delay_ms", "final_ms")
_MOST_MS = 1e9


def _are_times(live: object) -> bool:
    """Whether something is what was taken of live speech: None, or numbers by name."""
    if live is None:
        return True
    if not isinstance(live, dict) or set(live) != {_CHUNK_S, *LIVE_TIMES}:
        return False
    values = [live[_CHUNK_S]]
    for name in LIVE_TIMES:
        if not isinstance(live[name], list):
            return False
        values += live[name]
    are_numbers = all(isinstance(v, int | float) and abs(v) < _MOST_MS for v in values)
    return are_numbers and values[0] > 0


def process_samples_of(answer: Sequence[Any]) -> list[ProcessSample]:
    """What a process or a device answered.

    Raises:
        ValueError: when that is not such an answer.
    """
    known = all(isinstance(a, dict) and set(a) | _LATER == _FIELDS for a in answer)
    if not known or not all(_are_times(a.get("live")) for a in answer):
        raise ValueError("is not a measurement")
    return [ProcessSample(**a) for a in answer]


def request_of(given: Mapping[str, Any]) -> LatencyRequest:
    """From JSON, as `dataclasses.asdict` wrote it."""
    candidates = tuple(Candidate(**candidate) for candidate in given["candidates"])
    sequences = {"audio": tuple(given["audio"]), "audio_s": tuple(given["audio_s"])}
    return LatencyRequest(**{**given, **sequences, "candidates": candidates})
