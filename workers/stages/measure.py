"""Measure: latency, memory and throughput of the file that ships, on one target."""

from __future__ import annotations

import numpy as np

from workers.jobs import Measure
from workers.measure.latency import Latency
from workers.measure.readings import differing_share, timed_readings
from workers.measure.timed_audio import TimedModel, request_for, timed_utterances
from workers.models import fetch_model
from workers.results import MeasureResult, OperatorShare, Reading
from workers.stages.context import StageContext
from workers.targets.reach import measure_on

_ANCHOR_SLOWER = 1.10


def run(job: Measure, context: StageContext) -> MeasureResult:
    """Take the samples and say whether they can be trusted.

    Raises:
        DeviceUnreachable: when the device cannot be reached now.
        DeviceRefused: when it will not.
    """
    corpus = context.corpus(job.corpus)
    artifacts, folder = context.artifacts, context.folder
    tokens = context.tokens(job.tokens, corpus)
    main = fetch_model(job.model, artifacts, folder / "model")
    models = [TimedModel(job.model.backend, main, tokens, corpus.front_end)]
    if job.baseline is not None and job.baseline_tokens is not None:
        baseline = fetch_model(job.baseline, artifacts, folder / "baseline")
        theirs = artifacts.fetch(job.baseline_tokens, folder / "baseline" / "tokens.txt")
        models.append(TimedModel(job.baseline.backend, baseline, theirs))
    request = request_for(job.target, corpus, models)
    timed, *others = measure_on(job.target, request, context.workspace.locks)
    readings = timed_readings(timed, "", job.macs, job.target.stream_limit_ms)
    readings += [_regression(timed, other) for other in others]
    reasons = _reasons(timed, job.calibrated_anchor_ms)
    readings.append(Reading(metric="unsteady", value=float(bool(reasons))))
    here = context.read_texts(job.texts)
    last = timed.samples[-1]
    if here is not None and last.texts:
        numbers = [corpus.dev.index(u) for u in timed_utterances(corpus)]
        there = [corpus.normalise(t) for t in last.texts]
        differing = differing_share(there, [here[i] for i in numbers])
        readings.append(Reading(metric="text_diff_share", value=differing))
    profile = timed.profile
    return MeasureResult(
        readings=tuple(readings),
        machine=last.machine,
        unsteady=tuple(reasons),
        profile=None if profile is None else tuple(map(OperatorShare.model_validate, profile)),
        utterances_s=timed.audio_s,
        passes=tuple(len(s.model_ms) for s in timed.samples),
        anchor_ms=tuple(s.anchor_ms for s in timed.samples if s.anchor_cpu_ms),
    )


def _regression(timed: Latency, baseline: Latency) -> Reading:
    """CPU time over the baseline's, both run in turn in the same processes."""
    ratios = tuple(
        ours.anchor_ratio / theirs.anchor_ratio
        for ours, theirs in zip(timed.samples, baseline.samples, strict=True)
    )
    return Reading(metric="regression", value=float(np.median(ratios)), samples=ratios)


def _reasons(timed: Latency, calibrated_ms: float | None) -> list[str]:
    """Why the times are not to be trusted; empty where they are."""
    reasons = list(timed.unsteady)
    if calibrated_ms is not None and timed.samples[0].anchor_cpu_ms:
        slower = float(np.median([s.anchor_ms for s in timed.samples])) / calibrated_ms
        if slower > _ANCHOR_SLOWER:
            reasons.append(f"the anchor takes {slower:.2f} times what it took when calibrated")
    return reasons
