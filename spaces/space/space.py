"""A whole space: what may be tried, on which data, for which targets, under which budgets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from spaces.axes import Axis, Choice
from spaces.extensions import LOSSES, STAGES
from spaces.families import FAMILIES, StudentContract, is_trained
from spaces.gates import Gates
from spaces.metrics import LIVE_METRICS, MetricRef
from spaces.recipe import PARTS, Quantize
from spaces.record import Record
from spaces.space.budgets import Budget, parse_budgets
from spaces.space.data import Data, Tokens
from spaces.space.forbid import Rule, parse_rule
from spaces.space.names import AxisField, Name, each_once
from spaces.space.search import Search
from spaces.space.sections import (
    DecodeAxes,
    DistilAxes,
    FrontEndAxes,
    PruneAxes,
    QuantizeAxes,
    StreamingAxes,
    TrainingAxes,
)
from spaces.space.targets import Runtime, Target, check_target_names
from spaces.space.teacher import TeacherSource

DEFAULT_TARGET = "cpu"
DEFAULT_OBJECTIVES = tuple(map(MetricRef, ("wer", "latency_p95_ms", "size_mb")))


class Space(Record):
    """A whole space file."""

    name: Name
    description: str = ""
    data: Data
    tokens: Tokens = Tokens()
    teacher: TeacherSource
    students: dict[str, dict[str, AxisField]] = Field(min_length=1)
    task: Literal["offline", "streaming", "both"] = "offline"
    front_end: FrontEndAxes = FrontEndAxes()
    streaming: StreamingAxes = StreamingAxes()
    training: TrainingAxes = TrainingAxes()
    distil: DistilAxes = DistilAxes()
    prune: PruneAxes = PruneAxes()
    quantize: QuantizeAxes = QuantizeAxes()
    decode: DecodeAxes = DecodeAxes()
    losses: dict[str, AxisField] = Field(default_factory=dict)
    stages: tuple[str, ...] = ()
    forbid: tuple[Annotated[Rule, BeforeValidator(parse_rule)], ...] = ()
    targets: dict[str, Target] = Field(
        default_factory=lambda: {DEFAULT_TARGET: Target()}, min_length=1
    )
    objectives: tuple[MetricRef, ...] = Field(DEFAULT_OBJECTIVES, min_length=1)
    budgets: Annotated[tuple[Budget, ...], BeforeValidator(parse_budgets)] = ()
    gate: Gates = Gates()
    search: Search = Search()

    @field_validator("targets")
    @classmethod
    def _target_names(cls, targets: dict[str, Target]) -> dict[str, Target]:
        return check_target_names(targets)

    _each_once = field_validator("objectives")(each_once)

    @field_validator("losses")
    @classmethod
    def _known_losses(cls, losses: dict[str, AxisField]) -> dict[str, AxisField]:
        for name in losses:
            if name not in LOSSES:
                raise ValueError(f"{name}: is not a loss; {LOSSES.hint(name)}")
        return losses

    @field_validator("stages")
    @classmethod
    def _known_stages(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        for name in stages:
            if name not in STAGES:
                raise ValueError(f"{name}: is not a stage; {STAGES.hint(name)}")
        return stages

    @property
    def first_target(self) -> str:
        """The target whose figures go by their plain names."""
        return next(iter(self.targets))

    @property
    def trained_families(self) -> tuple[str, ...]:
        """Those whose students are trained; the teacher's own graph is not."""
        return tuple(filter(is_trained, self.students))

    @property
    def contract(self) -> StudentContract:
        """What all its students have in common; `spaces.checks` sees to that."""
        return FAMILIES[next(iter(self.students))].contract

    def budget_on(self, metric: str) -> Budget | None:
        return next((b for b in self.budgets if b.metric == metric), None)

    def unmeasurable(self) -> dict[MetricRef, str]:
        """Objectives and budgets on figures that nobody will tell, each with the reason."""
        out = {}
        for metric in (*self.objectives, *(b.metric for b in self.budgets)):
            # one that is not there is another fault
            target = self.targets.get(metric.target or self.first_target)
            reason = None if target is None else self._why_unmeasurable(metric, target)
            if reason is not None:
                out[metric] = reason
        return out

    def _why_unmeasurable(self, metric: MetricRef, target: Target) -> str | None:
        if target.metrics is not None and metric.known.noisy and metric.name not in target.metrics:
            return (
                "a phone by adb tells graph_p50_ms and graph_p95_ms only; use those, or "
                "`search agent serve` on the phone"
            )
        if metric.name == "regression" and self.gate.regression is None:
            return "needs gate.regression, which names the baseline"
        if metric.name in ("long_wer", "long_excess") and self.gate.long_audio is None:
            return "needs gate.long_audio, which measures it"
        if metric.name in LIVE_METRICS and self.task == "offline":
            return "is of students that hear live speech: `task: streaming`"
        is_usual = target.filter_bank == "kaldi"
        is_here = target.backend == "onnxruntime" and not target.is_remote and is_usual
        if metric.name == "text_diff_share" and is_here:
            return "is against ONNX Runtime here, which is what this target is"
        return None

    def runtimes(self) -> tuple[Runtime, ...]:
        """The different runtimes of the targets, ONNX Runtime first, there or not."""
        names: dict[tuple[str, str], list[str]] = {("onnxruntime", "fp32"): []}
        for name, target in self.targets.items():
            names.setdefault((target.backend, target.precision), []).append(name)
        return tuple(Runtime(*key, tuple(found)) for key, found in names.items())

    def needs_teacher_value(self) -> tuple[MetricRef, ...]:
        return tuple(b.metric for b in self.budgets if b.relative_to_teacher)

    def axes_of(self, family: str) -> dict[str, Axis]:
        """Every axis open to one family, by its dotted name, in a fixed order."""
        axes: dict[str, Axis] = {f"{family}.{k}": a for k, a in self.students[family].items()}
        if is_trained(family):
            heard = self.front_end.varied()
            axes |= {f"front_end.{name}": axis for name, axis in heard.items()}
            axes |= self._streaming_axes(family)
        for section in ("training", "distil", "prune") if is_trained(family) else ():
            axes |= self._section_axes(section)
        if not self._may_begin_as_teacher(family):
            axes.pop("training.start", None)
        if is_trained(family):
            axes |= {f"losses.{name}": axis for name, axis in self.losses.items()}
        parts = [part for part in PARTS if getattr(self.quantize, part) is not None]
        for name in parts if len(parts) == len(PARTS) else ("scheme", *parts):
            axis = getattr(self.quantize, name)
            if axis is not None:
                axes[f"quantize.{name}"] = axis
        if self.decode != DecodeAxes():
            fields = DecodeAxes.model_fields
            axes |= {f"decode.{name}": getattr(self.decode, name) for name in fields}
        later = Quantize.later if is_trained(family) else Quantize.later - {"qat_epochs"}
        return axes | self._section_axes("quantize", later)

    def _streaming_axes(self, family: str) -> dict[str, Axis]:
        """How students of a family hear live speech; a chunk of 0 ms is a whole utterance."""
        if self.task == "offline" or not FAMILIES[family].streams:
            return {}
        chunk, ahead = self.streaming.chunk_ms, self.streaming.look_ahead_ms
        if self.task == "both":
            chunk = Choice((0, *chunk.values_in_order()))
        return {"streaming.chunk_ms": chunk, "streaming.look_ahead_ms": ahead}

    def _may_begin_as_teacher(self, family: str) -> bool:
        """Whether a teacher may have parts of this family; of a checkpoint its file tells."""
        trained = self.teacher.train
        if trained is None:
            return self.teacher.checkpoint is not None
        return trained.student.family == family

    def _section_axes(self, section: str, names: Collection[str] | None = None) -> dict[str, Axis]:
        """Those of a section by their dotted names; of what later versions added, what is not left
        as it was."""
        part = getattr(self, section)
        every = type(part).model_fields
        wanted = every if names is None else [name for name in every if name in names]
        return {
            f"{section}.{name}": getattr(part, name)
            for name in wanted
            if name not in part.later or getattr(part, name) != every[name].default
        }
