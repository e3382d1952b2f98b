"""What the stages of a trial, or of the study's teacher, have given back so far."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from search.errors import UsageFault
from search.sessions import of_both_sessions
from spaces.space import Space
from storage.records import StageRun
from workers.results import (
    RESULT,
    AnyResult,
    CompressResult,
    ConvertResult,
    ExportResult,
    ExtraResult,
    MeasureResult,
    Model,
    PrepareResult,
    QatResult,
    Reading,
    RungResult,
    ScoreResult,
    ScoreTestResult,
    ScreenResult,
    StageResult,
    SupernetResult,
    TeacherTargetsResult,
    TrainResult,
    Unavailable,
)

# Stages of which there is one for each runtime, target, family or end, and the field that holds
# them.
_SEVERAL = {
    "screen": "ends",
    "train": "rungs",
    "supernet": "supernets",
    "extra": "extra",
    "convert": "converted",
    "score": "scored",
    "test": "tested",
    "measure": "measured",
    "confirm": "confirmed",
}


@dataclass(frozen=True)
class TrialResults:
    """Results by stage; those of runtimes and targets by backend, runtime label and target, those
    of the ends of a space by what they are, those of rungs by their share of the epochs; supernets
    by family."""

    prepare: PrepareResult | None = None
    teacher_targets: TeacherTargetsResult | None = None
    screen: ScreenResult | None = None
    ends: Mapping[str, ScreenResult | Unavailable] = field(default_factory=dict)
    train: TrainResult | None = None
    rungs: Mapping[str, RungResult] = field(default_factory=dict)
    supernets: Mapping[str, SupernetResult] = field(default_factory=dict)
    compress: CompressResult | None = None
    qat: QatResult | None = None
    export: ExportResult | None = None
    extra: Mapping[str, ExtraResult] = field(default_factory=dict)
    converted: Mapping[str, ConvertResult | Unavailable] = field(default_factory=dict)
    scored: Mapping[str, ScoreResult | Unavailable] = field(default_factory=dict)
    tested: Mapping[str, ScoreTestResult] = field(default_factory=dict)
    measured: Mapping[str, MeasureResult | Unavailable] = field(default_factory=dict)
    confirmed: Mapping[str, MeasureResult] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Iterable[StageRun]) -> TrialResults:
        """From the record; what failed, or can no longer be read, is not there."""
        results = cls()
        for run in runs:
            result = read_result(run)
            if result is not None:
                results = results.having(run.stage, result)
        return results

    def having(self, name: str, result: AnyResult) -> TrialResults:
        """With one result more, by the name of its job."""
        stage, _, which = name.partition("@")
        changed: dict[str, Any] = {stage: result}
        if stage in _SEVERAL and which:
            changed = {_SEVERAL[stage]: {**getattr(self, _SEVERAL[stage]), which: result}}
        if stage == "measure":  # what confirmed an earlier measurement says nothing of a new one
            changed["confirmed"] = {k: v for k, v in self.confirmed.items() if k != which}
        return replace(self, **changed)

    @property
    def by_stage(self) -> dict[str, AnyResult]:
        """All there are, by the names of their jobs."""
        single = {f.name for f in fields(self)} - set(_SEVERAL.values())
        found = {name: getattr(self, name) for name in single}
        for stage, held in _SEVERAL.items():
            found |= {f"{stage}@{which}": r for which, r in getattr(self, held).items()}
        return {name: result for name, result in found.items() if result is not None}

    def lost(self, has_artifact: Callable[[str], bool]) -> list[str]:
        """The stages whose files are no longer there, all or some."""
        return sorted(n for n, r in self.by_stage.items() if not all(map(has_artifact, r.digests)))

    @property
    def is_empty(self) -> bool:
        return not self.by_stage

    @property
    def checkpoint(self) -> str | None:
        """Of the network that is exported."""
        last = self.qat or self.compress or self.train
        return None if last is None else last.checkpoint

    def score(self, label: str) -> ScoreResult | None:
        """The score by a runtime, where there is one."""
        found = self.scored.get(label)
        return found if isinstance(found, ScoreResult) else None

    def measure(self, target: str) -> MeasureResult | None:
        found = self.measured.get(target)
        return found if isinstance(found, MeasureResult) else None


def read_result(run: StageRun) -> AnyResult | None:
    """The result of a stage run; None where it failed or no version of ours reads it any more."""
    if run.state == "failed":
        return None
    try:
        return RESULT.validate_python(run.result)
    except ValidationError:
        return None


def readings_of(space: Space, results: TrialResults) -> list[Reading]:
    """All readings of a subject; what was scored by a runtime holds for each of its targets."""
    readings: list[Reading] = []
    if results.export is not None:  # a file of ONNX Runtime has a size on its targets alone
        readings += [r for r in results.export.readings if r.metric != "size_mb"]
        sizes = [r for r in results.export.readings if r.metric == "size_mb"]
        for name in space.runtimes()[0].targets or ("",):
            readings += [r.model_copy(update={"target": name}) for r in sizes]
    for extra in results.extra.values():
        readings += extra.readings
    if results.teacher_targets is not None:
        readings += results.teacher_targets.readings
    for runtime in space.runtimes():
        of_runtime = (results.converted.get(runtime.backend), results.scored.get(runtime.label))
        for result in of_runtime:
            readings += _on(result, runtime.targets or ("",))
    for name in space.targets:
        first, second = results.measured.get(name), results.confirmed.get(name)
        if isinstance(first, MeasureResult) and second is not None:
            first = of_both_sessions(first, second)
        readings += _on(first, (name,))
    return readings


def readings_of_test(space: Space, results: TrialResults) -> list[Reading]:
    """What the test set says of a subject; apart from `readings_of`, by which it is judged."""
    readings: list[Reading] = []
    for runtime in space.runtimes():
        readings += _on(results.tested.get(runtime.label), runtime.targets or ("",))
    return readings


def _on(result: StageResult | None, targets: tuple[str, ...]) -> list[Reading]:
    if result is None:
        return []
    return [r.model_copy(update={"target": name}) for name in targets for r in result.readings]


def model_of(
    space: Space,
    target: str | None,
    results: TrialResults,
    imported: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Model, str]:
    """What was measured on a target, and the digest of its tokens; the file for ONNX Runtime
    where no target is named.

    Args:
        imported: files of a teacher that was brought along, by role.

    Raises:
        UsageFault: when there is not such a model.
    """
    backend = "onnxruntime" if target is None else space.targets[target].backend
    made = results.export
    onnx = imported.get("model") if made is None else made.model
    tokens = imported.get("tokens") if made is None else made.tokens
    if onnx is None or tokens is None:
        raise UsageFault("it has no exported file")
    converted = results.converted.get(backend)
    if backend == "onnxruntime":
        model = onnx_model(onnx, {} if made is None else made.beside)
    elif isinstance(converted, ConvertResult):
        model = converted.model
    else:
        raise UsageFault(f"it was never converted for {backend}")
    return model, tokens


def how_to_make_anew(study: str, number: int) -> str:
    """The command for a trial whose files are lost."""
    return f"`search retry {number} --study {shlex.quote(study)}` makes them anew"


def onnx_model(digest: str, beside: Mapping[str, str] = MappingProxyType({})) -> Model:
    """A file in ONNX Runtime's form, and what ships with it, by name."""
    files = {"model.onnx": digest, **beside}
    return Model(backend="onnxruntime", main="model.onnx", files=files)
