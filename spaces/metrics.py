"""Metrics a trial is judged by: their names carry the unit."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One measured figure. `noisy` ones depend on the machine's mood, others are exact."""

    name: str
    unit: str
    meaning: str
    higher_is_better: bool = False
    noisy: bool = False
    per_target: bool = False
    known_untrained: bool = False  # the same for the untrained student: screened first


_TIMED = {"noisy": True, "per_target": True, "known_untrained": True}

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("wer", "fraction", "word error rate on dev, decoded from the exported file"),
        Metric("cer", "fraction", "character error rate on dev, decoded from the exported file"),
        Metric("latency_p50_ms", "ms", "median time from samples to text, one utterance", **_TIMED),
        Metric("latency_p95_ms", "ms", "95th percentile of the same", **_TIMED),
        Metric("latency_p99_ms", "ms", "99th percentile of the same", **_TIMED),
        Metric("rtf", "s/s", "processing time / audio time", **_TIMED),
        Metric(
            "throughput", "s/s", "audio time / processing time", higher_is_better=True, **_TIMED
        ),
        Metric("peak_memory_mb", "MB", "memory that loading and running the model adds", **_TIMED),
        Metric("size_mb", "MB", "10^6 bytes of the files that ship", known_untrained=True),
        Metric("macs", "MAC/s", "multiply-accumulates per second of audio", known_untrained=True),
        Metric("params", "", "parameters of the network", known_untrained=True),
        Metric("graph_p50_ms", "ms", "median time of the network alone", **_TIMED),
        Metric("graph_p95_ms", "ms", "95th percentile of the same", **_TIMED),
        Metric("features_p50_ms", "ms", "median time of the filter banks", **_TIMED),
        Metric("load_ms", "ms", "time to load the model", **_TIMED),
        Metric("word_precision", "fraction", "right words of those written", higher_is_better=True),
        Metric("word_recall", "fraction", "right words of those said", higher_is_better=True),
        Metric("word_f1", "fraction", "harmonic mean of both", higher_is_better=True),
        Metric("worse_share", "fraction", "utterances with more errors than the teacher makes"),
        Metric("empty_share", "fraction", "utterances for which nothing was written"),
    )
}


def metric_named(name: str) -> Metric:
    """The metric of that name; a target behind an @ is left to the space.

    Raises:
        ValueError: naming the nearest known one.
    """
    name = str(name)
    base = name.partition("@")[0]
    if base in METRICS and ("@" not in name or METRICS[base].per_target):
        return METRICS[base]
    near = difflib.get_close_matches(base, METRICS, 1, 0.4)
    hint = f'; did you mean "{near[0]}"?' if near else f" (known: {', '.join(METRICS)})"
    raise ValueError(f'"{name}" is no metric{hint}')
