"""What stages of earlier versions gave back, and what it is read as now."""

from __future__ import annotations

from typing import Any

from old_rows import A, B, C

from workers.results import (
    AnyResult,
    CompressResult,
    ConvertResult,
    Epoch,
    ExportResult,
    MeasureResult,
    Model,
    OperatorShare,
    PartSize,
    PrepareResult,
    Reading,
    ScoreResult,
    ScreenResult,
    SplitStats,
    TeacherTargetsResult,
    TrainResult,
)


def _old(
    artifacts: dict[str, str] | None = None,
    figures: tuple[dict[str, Any], ...] = (),
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "artifacts": artifacts or {},
        "figures": list(figures),
        "facts": facts or {},
        "reused": False,
        "cpu_s": 2.5,
    }


_TIMED = {"target": "", "metric": "latency_p95_ms", "value": 7.5, "samples": [7.1, 0.1 + 0.2]}
_READ = Reading(metric="latency_p95_ms", value=7.5, samples=(7.1, 0.1 + 0.2))
_SIZE = {"target": "cpu", "metric": "size_mb", "value": 0.1 + 0.2, "samples": None}
_SIZE_READ = Reading(target="cpu", metric="size_mb", value=0.1 + 0.2)
_SPLIT = {"utterances": 20, "hours": 0.5, "words": 99, "speakers": 3, "longest_s": 4.25}
_POINT = {"epoch": 1, "epochs": 2, "train_ctc": 0.1 + 0.2, "cpu_s": 9.0, "dev_wer": None}
_EPOCH = Epoch(epoch=1, epochs=2, train_ctc=0.1 + 0.2, cpu_s=9.0)
_LAST = {**_POINT, "epoch": 2, "dev_wer": 0.25}
_LAST_EPOCH = Epoch(epoch=2, epochs=2, train_ctc=0.1 + 0.2, cpu_s=9.0, dev_wer=0.25)
_MODEL = {"backend": "openvino", "main": "a.xml", "files": {"a.xml": A, "a.bin": B}}
# A stage as it was called, what it gave back, and what that is now.
Told = tuple[str, dict[str, Any], AnyResult]
TOLD: dict[str, Told] = {
    "prepare": (
        "prepare",
        _old(
            facts={"corpus": "abc", "splits": {"dev": _SPLIT}, "faults": ["größe"], "n_symbols": 9}
        ),
        PrepareResult(
            corpus="abc",
            splits={"dev": SplitStats(**_SPLIT)},
            faults=("größe",),
            n_symbols=9,
            cpu_s=2.5,
        ),
    ),
    "frames of a teacher": (
        "listen",
        _old(facts={"teacher": "heard-1", "kind": "frames"}),
        TeacherTargetsResult(soft_targets="heard-1", cpu_s=2.5),
    ),
    "transcripts of a teacher": (
        "listen",
        _old({"texts": A}, (_SIZE,), {"teacher": "t", "kind": "transcripts", "taught": "17 of 20"}),
        TeacherTargetsResult(
            soft_targets="t",
            target_kind="transcripts",
            n_pseudo_labels=17,
            n_utterances=20,
            texts=A,
            readings=(_SIZE_READ,),
            cpu_s=2.5,
        ),
    ),
    "screen": (
        "screen",
        _old(figures=(_SIZE, _TIMED), facts={"not_screened_on": {"pi5": "away"}}),
        ScreenResult(readings=(_SIZE_READ, _READ), not_screened_on={"pi5": "away"}, cpu_s=2.5),
    ),
    "screen of the first version": (
        "screen",
        _old(figures=(_SIZE,)),
        ScreenResult(readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "train": (
        "train",
        _old({"checkpoint": A, "trunk": B}, facts={"history": [_POINT, _LAST]}),
        TrainResult(checkpoint=A, history=(_EPOCH, _LAST_EPOCH), cpu_s=2.5),
    ),
    "compress": (
        "compress",
        _old({"checkpoint": B}, facts={"history": [_LAST]}),
        CompressResult(checkpoint=B, history=(_LAST_EPOCH,), cpu_s=2.5),
    ),
    "export": (
        "export",
        _old(
            {"model": A, "float": B, "tokens": C},
            (_SIZE,),
            {"parity": 1e-5, "sizes": [{"part": "encoder", "format": "int8", "bytes": 400}]},
        ),
        ExportResult(
            model=A,
            float32=B,
            tokens=C,
            parity=1e-5,
            sizes=(PartSize(part="encoder", format="int8", bytes=400),),
            readings=(_SIZE_READ,),
            cpu_s=2.5,
        ),
    ),
    "export of the first version": (
        "export",
        _old({"model": A, "tokens": C}, (_SIZE,), {"parity": 1e-5}),
        ExportResult(
            model=A, float32=None, tokens=C, parity=1e-5, readings=(_SIZE_READ,), cpu_s=2.5
        ),
    ),
    "convert": (
        "convert@openvino",
        _old({"a.xml": A, "a.bin": B}, (_SIZE,), {"model": _MODEL}),
        ConvertResult(model=Model(**_MODEL), readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "score": (
        "score@openvino",
        _old({"texts": A}, (_SIZE,), {"errors": [0, 1], "words": [4, 5]}),
        ScoreResult(texts=A, errors=(0, 1), words=(4, 5), readings=(_SIZE_READ,), cpu_s=2.5),
    ),
    "measure": (
        "measure@pi5",
        _old(
            figures=(_TIMED,),
            facts={
                "machine": {"processor": "größe", "cores": 4},
                "unsteady": ["too hot"],
                "profile": [{"name": "n", "kind": "MatMul", "time_ms": 0.5}],
                "utterances_s": [0.4, 0.7],
                "passes": [10, 11],
                "anchor_ms": [3.25],
            },
        ),
        MeasureResult(
            readings=(_READ,),
            machine={"processor": "größe", "cores": 4},
            unsteady=("too hot",),
            profile=(OperatorShare(name="n", kind="MatMul", time_ms=0.5),),
            utterances_s=(0.4, 0.7),
            passes=(10, 11),
            anchor_ms=(3.25,),
            cpu_s=2.5,
        ),
    ),
    "measure by a runtime without a profiler": (
        "measure@phone",
        _old(figures=(_TIMED,), facts={"machine": {}, "unsteady": [], "profile": None}),
        MeasureResult(readings=(_READ,), cpu_s=2.5),
    ),
    "measure of the first version": (
        "measure",
        _old({"texts": A}, (_TIMED,)),
        MeasureResult(readings=(_READ,), cpu_s=2.5),
    ),
    "a stage that was found done": (
        "train",
        {**_old({"checkpoint": A}, facts={"history": [_LAST]}), "reused": True, "cpu_s": 0.0},
        TrainResult(checkpoint=A, history=(_LAST_EPOCH,), reused=True),
    ),
}
