"""Takes the samples: runs candidates and the anchor in turn, in one process without torch.

Every pass runs every utterance once with every candidate, in a new order, so that drift and load
meet all of them alike. Each time the whole pipeline is run without a clock inside, then its parts
with one, then the anchor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from spaces.front_end import FrontEnd
from workers.backends.base import Session, Settings, check_model, load_backend
from workers.data.text import decode, read_tokens
from workers.decoding import Decoder, decoder_beside
from workers.isolated_call import Request
from workers.probe.anchor import Anchor, peak_gflops
from workers.probe.live import LiveSession, heard_live
from workers.probe.machine import (
    KALDI,
    LoadMonitor,
    LoadReport,
    MachineReport,
    energy_j,
    features_by,
    peak_memory_mb,
    report,
    reset_peak_memory,
)
from workers.probe.request import Candidate, LatencyRequest, ProcessSample, request_of
from workers.probe.steadiness import half_interval, unsteady

_STEADY = 0.03  # a pass of the warm-up this near to the best so far ends it
_WARM_UP_SHARE = 0.25  # of the time limit
_LEAST_PASSES = 2
_PROFILE_RUNS = 10
_ENERGY_S = 1.0

Fbank = Callable[[np.ndarray], np.ndarray]


@dataclass
class _Candidate:
    session: Session
    symbols: tuple[str, ...]
    fbank: Fbank
    ids_of: Decoder
    load_ms: float
    first_ms: float
    peak_memory_mb: float
    # passes × utterances, as all that follow
    end_to_end_ms: list[list[float]] = field(default_factory=list)
    features_ms: list[list[float]] = field(default_factory=list)
    model_ms: list[list[float]] = field(default_factory=list)
    decode_ms: list[list[float]] = field(default_factory=list)
    graph_cpu_ms: list[list[float]] = field(default_factory=list)
    anchor_cpu_ms: list[list[float]] = field(default_factory=list)

    def transcribe(self, samples: np.ndarray) -> str:
        log_probs = self.session.run(self.fbank(samples))
        return decode(self.ids_of(log_probs), self.symbols)

    def sample(self, samples: np.ndarray, anchor: Anchor) -> tuple[float, ...]:
        start = time.perf_counter()
        self.transcribe(samples)
        whole_s = time.perf_counter() - start
        a = time.perf_counter()
        features = self.fbank(samples)
        b = time.perf_counter()
        cpu_start = time.process_time_ns()
        c = time.perf_counter()
        log_probs = self.session.run(features)
        d = time.perf_counter()
        cpu_ms = (time.process_time_ns() - cpu_start) / 1e6
        e = time.perf_counter()
        decode(self.ids_of(log_probs), self.symbols)
        f = time.perf_counter()
        wall_ms = (1000 * s for s in (whole_s, b - a, d - c, f - e))
        return (*wall_ms, cpu_ms, anchor.cpu_ms())

    def keep(self, rows: list[tuple[float, ...]]) -> None:
        kept = (
            self.end_to_end_ms,
            self.features_ms,
            self.model_ms,
            self.decode_ms,
            self.graph_cpu_ms,
            self.anchor_cpu_ms,
        )
        for into, row in zip(kept, zip(*rows, strict=True), strict=True):
            into.append(list(row))


def measure(given: Request) -> list[dict[str, object]]:
    """Samples of each candidate of a `LatencyRequest`: each a `ProcessSample`, as JSON."""
    request = request_of(given)
    audio = [np.load(path) for path in request.audio]
    for candidate in request.candidates:
        check_model(candidate.backend, Path(candidate.model))  # not within a time that is taken
    for name in {c.backend for c in request.candidates}:
        load_backend(name)  # the runtime's own size and start are not the model's
    candidates = [_opened(c, audio) for c in request.candidates]
    anchor = Anchor()
    _warm_up(candidates, audio, anchor, request.max_s * _WARM_UP_SHARE)
    monitor = LoadMonitor()
    _take_passes(candidates, audio, anchor, request)
    load, machine = monitor.end(), report(request.candidates[0].filter_bank)
    return [asdict(_summed_up(c, audio, request, load, machine)) for c in candidates]


def _summed_up(
    candidate: _Candidate,
    audio: list[np.ndarray],
    request: LatencyRequest,
    load: LoadReport,
    machine: MachineReport,
) -> ProcessSample:
    """What one candidate's samples say; with details, what only a closer look tells."""
    samples, details = np.array(candidate.end_to_end_ms), request.details
    wall_over_cpu = _wall_over_cpu(candidate, request)
    return ProcessSample(
        end_to_end_ms=candidate.end_to_end_ms,
        features_ms=candidate.features_ms,
        model_ms=candidate.model_ms,
        decode_ms=candidate.decode_ms,
        graph_cpu_ms=candidate.graph_cpu_ms,
        anchor_cpu_ms=candidate.anchor_cpu_ms,
        load_ms=candidate.load_ms,
        first_ms=candidate.first_ms,
        peak_memory_mb=candidate.peak_memory_mb,
        unsteady=list(unsteady(samples, load, machine.cores, wall_over_cpu)),
        machine=asdict(machine),
        peak_gflops=peak_gflops() if details else None,
        texts=[candidate.transcribe(a) for a in audio],
        energy_mj=_energy_mj(candidate, audio, request.gpu) if details else None,
        profile=_profile(candidate, audio) if details else None,
        live=_live(candidate, audio, details),
    )


def _live(
    candidate: _Candidate, audio: list[np.ndarray], at_real_speed: bool
) -> dict[str, object] | None:
    """What it is as a listener; None of a model that hears whole utterances."""
    session = candidate.session
    if not hasattr(session, "windows"):
        return None
    live = cast(LiveSession, session)
    heard = heard_live(live, candidate.fbank, candidate.symbols, audio, at_real_speed)
    return asdict(heard)


def _fbank(given: Candidate) -> Fbank:
    front_end = FrontEnd.of_code(given.front_end)
    if features_by(given.filter_bank) != KALDI:
        from workers.data.features_numpy import fbank_numpy as fbank
    else:
        from workers.data.features import fbank
    return partial(fbank, front_end=front_end)


def _opened(given: Candidate, audio: list[np.ndarray]) -> _Candidate:
    backend = load_backend(given.backend)
    symbols, fbank = read_tokens(Path(given.tokens)), _fbank(given)
    fbank(audio[0])
    before_mb = reset_peak_memory()
    start = time.perf_counter()
    session = backend.open_session(Path(given.model), Settings(**given.settings))
    ids_of = decoder_beside(Path(given.model))
    loaded = time.perf_counter()
    candidate = _Candidate(session, symbols, fbank, ids_of, (loaded - start) * 1000, 0.0, 0.0)
    candidate.transcribe(audio[0])
    candidate.first_ms = (time.perf_counter() - loaded) * 1000
    for samples in audio:
        candidate.transcribe(samples)
    candidate.peak_memory_mb = max(0.0, peak_memory_mb() - before_mb)
    return candidate


def _warm_up(
    candidates: list[_Candidate],
    audio: list[np.ndarray],
    anchor: Anchor,
    max_s: float,
) -> None:
    """Until a pass takes about as long as the best before it: caches, clocks and allocators."""
    end, best_s = time.perf_counter() + max_s, float("inf")
    while True:
        start = time.perf_counter()
        for samples in audio:
            for candidate in candidates:
                candidate.sample(samples, anchor)
        pass_s = time.perf_counter() - start
        if pass_s <= best_s * (1 + _STEADY) and best_s < float("inf"):
            return
        best_s = min(best_s, pass_s)
        if time.perf_counter() > end:
            return


def _take_passes(
    candidates: list[_Candidate],
    audio: list[np.ndarray],
    anchor: Anchor,
    request: LatencyRequest,
) -> None:
    """Until the median of every candidate is known within the wanted share, or time is up."""
    rng = np.random.default_rng(0)
    end = time.perf_counter() + request.max_s
    for n_passes in range(1, request.most_passes + 1):
        if time.perf_counter() > end and n_passes > _LEAST_PASSES:
            return
        rows: list[list[tuple[float, ...]]] = [[()] * len(audio) for _ in candidates]
        for turn, utterance in enumerate(rng.permutation(len(audio))):
            for i in range(len(candidates)):
                place = (i + turn + n_passes) % len(candidates)
                rows[place][utterance] = candidates[place].sample(audio[utterance], anchor)
        for candidate, taken in zip(candidates, rows, strict=True):
            candidate.keep(taken)
        if n_passes < request.least_passes:
            continue
        if all(half_interval(np.array(c.end_to_end_ms)) <= request.within for c in candidates):
            return


def _wall_over_cpu(candidate: _Candidate, request: LatencyRequest) -> float | None:
    """Of the network, where it computes in one thread on the CPU."""
    if request.threads != 1 or request.gpu:
        return None
    return float(np.sum(candidate.model_ms) / max(np.sum(candidate.graph_cpu_ms), 1e-9))


def _energy_mj(candidate: _Candidate, audio: list[np.ndarray], gpu: bool) -> float | None:
    """Millijoules of the whole package for one utterance, where the device tells."""
    before = energy_j(gpu)
    if before is None:
        return None
    runs, end = 0, time.perf_counter() + _ENERGY_S
    while time.perf_counter() < end:
        for samples in audio:
            candidate.transcribe(samples)
        runs += len(audio)
    after = energy_j(gpu)
    return None if after is None or after < before else (after - before) * 1000 / runs


def _profile(candidate: _Candidate, audio: list[np.ndarray]) -> list[dict[str, object]] | None:
    middle = candidate.fbank(sorted(audio, key=len)[len(audio) // 2])
    times = candidate.session.profile(middle, _PROFILE_RUNS)
    return None if times is None else [asdict(t) for t in times]
