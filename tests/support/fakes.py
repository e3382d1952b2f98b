"""A stand-in for the work of a trial: figures follow from the recipe, nothing is trained."""

from __future__ import annotations

from collections import Counter

from spaces.load import parse_space
from workers.jobs import Job, key_of
from workers.results import (
    AnyResult,
    CompressResult,
    ConvertResult,
    ExportResult,
    ExtraResult,
    MeasureResult,
    Model,
    PrepareResult,
    Reading,
    RungResult,
    RungScore,
    ScoreResult,
    ScoreTestResult,
    ScreenResult,
    SupernetResult,
    TeacherTargetsResult,
    TrainResult,
)

SPACE = """
name: fake
data: {synthetic: {}}
teacher: {train: {}}
students:
  separable_conv:
    channels: {int: [32, 256], step: 8}
    blocks: {int: [2, 8]}
  conformer:
    channels: {int: [32, 128], step: 8}
    blocks: {int: [2, 6]}
prune: {ratio: [0.0, 0.4]}
quantize: {scheme: [fp32, int8_dynamic]}
distil: {weight: [0.0, 0.5], temperature: {float: [1, 4]}}
search: {trials: 14, parallel: 2, seed: 3}
"""


def space(text: str = SPACE):
    return parse_space(text, "fake.yaml")


def _rung(whole):
    errors = int(whole[:2], 16) % 4

    def score(share):
        return RungScore(
            epoch=round(100 * share), epochs=100, errors=(errors,) * 64, wer=errors / 5, cpu_s=1.0
        )

    return score


class Work:
    """Does jobs as a pure function of their content; `done` counts each key."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.jobs: list[Job] = []

    def __call__(self, job: Job) -> AnyResult:
        self.done[key_of(job)] += 1
        self.jobs.append(job)
        return getattr(self, f"_{job.stage}")(job)

    def _prepare(self, job):
        spoken = job.data.synthetic
        has_test = job.data.test or (spoken and spoken.test_utterances)
        return PrepareResult(corpus="corpus-1", test_corpus="test-1" if has_test else None)

    def _screen(self, job):
        return ScreenResult(readings=self._sizes(job.student, job.quantize.encoder))

    def _train(self, job):
        """At a rung a student makes up to three errors in each of 64 groups of five words."""
        whole = key_of(job.whole)
        if job.until is None:
            return TrainResult(checkpoint=whole, rungs=tuple(map(_rung(whole), job.rungs)))
        return RungResult(score=_rung(whole)(job.until))

    def _supernet(self, job):
        return SupernetResult(checkpoint=key_of(job))

    def _compress(self, job):
        return CompressResult(checkpoint=key_of(job))

    def _export(self, job):
        bits = 4 if job.quantize.encoder == "fp32" else 1
        size_mb = (int(job.checkpoint[:4], 16) % 1000 + 500) / 500 * bits
        key = key_of(job)
        readings = (Reading(metric="size_mb", value=size_mb), *self._counts(job.checkpoint))
        return ExportResult(model=key, float32=key, tokens="t", readings=readings)

    def _extra(self, job):
        return ExtraResult(notes=(job.name,))

    def _convert(self, job):
        model = Model(backend=job.backend, main="main", files={"main": key_of(job)})
        size = Reading(metric="size_mb", value=int(key_of(job)[:4], 16) / 1000)
        return ConvertResult(model=model, readings=(size,))

    def _score(self, job):
        value = int(job.model.files[job.model.main][:6], 16) / 0xFFFFFF
        return ScoreResult(
            texts="texts", readings=(Reading(metric="wer", value=0.1 + 0.4 * value),)
        )

    def _test(self, job):
        wer = 0.2 + 0.4 * int(job.model.files[job.model.main][:6], 16) / 0xFFFFFF
        readings = (
            Reading(metric="test_wer", value=wer),
            Reading(metric="test_wer_low", value=wer - 0.05),
            Reading(metric="test_wer_high", value=wer + 0.05),
            Reading(metric="test_cer", value=wer / 3),
        )
        return ScoreTestResult(readings=readings, errors=(1, 2), words=(4, 6))

    def _measure(self, job):
        timed = 1 + 9 * int(job.model.files[job.model.main][6:10], 16) / 0xFFFF
        return MeasureResult(
            readings=(
                *(Reading(metric=f"latency_p{q}_ms", value=timed) for q in (50, 95, 99)),
                Reading(metric="rtf", value=timed / 1000),
            ),
        )

    def _teacher_targets(self, job):
        return TeacherTargetsResult(soft_targets="teacher-1")

    def _counts(self, digest):
        macs = float(int(digest[4:10], 16))
        return (Reading(metric="macs", value=macs), Reading(metric="params", value=macs / 100))

    def _sizes(self, dims, scheme):
        size_mb = dims.channels * dims.blocks / 100 * (4 if scheme == "fp32" else 1)
        return (
            Reading(metric="size_mb", value=size_mb),
            Reading(metric="macs", value=size_mb * 1e6),
            Reading(metric="params", value=size_mb * 1e5),
            Reading(target="cpu", metric="latency_p95_ms", value=0.1),
        )
