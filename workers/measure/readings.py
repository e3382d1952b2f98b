"""Measured values as readings, by metric name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from workers.data.corpus import Corpus
from workers.measure.accuracy import accuracy
from workers.measure.latency import Latency
from workers.results import Reading

_SAMPLED = {  # metrics that keep their raw samples: [passes][utterances], flat
    "latency_p50_ms": "end_to_end_ms",
    "graph_p50_ms": "model_ms",
    "graph_cpu_ms": "graph_cpu_ms",
}


def timed_readings(
    timed: Latency, target: str, macs: float | None = None, stream_limit_ms: float = 300.0
) -> list[Reading]:
    """What was timed on a target, with raw samples where a metric sums them up."""
    readings = []
    figures = timed.summary(macs, stream_limit_ms)
    for metric, ends in timed.intervals(figures).items():
        for end, value in zip(("low", "high"), ends, strict=True):
            readings.append(Reading(target=target, metric=f"{metric}_{end}", value=value))
    for metric, value in figures.items():
        samples = None
        if metric in _SAMPLED:
            samples = tuple(timed.pooled(_SAMPLED[metric]).round(5).ravel().tolist())
        elif metric == "anchor_ratio":
            samples = tuple(s.anchor_ratio for s in timed.samples)
        readings.append(Reading(target=target, metric=metric, value=value, samples=samples))
    return readings


def accuracy_readings(
    corpus: Corpus, texts: Sequence[str], teacher_texts: Sequence[str] | None
) -> list[Reading]:
    """Errors of what was written of dev."""
    scored = accuracy([u.text for u in corpus.dev], texts, teacher_texts)
    return [
        Reading(metric=metric, value=float(value))
        for metric, value in asdict(scored).items()
        if value is not None
    ]


def differing_share(texts: Sequence[str], others: Sequence[str]) -> float:
    """Share of texts that are not the same."""
    return float(np.mean([a != b for a, b in zip(texts, others, strict=True)]))
