"""Makes one model smaller step by step, and stops at the first step that costs too much.

Every step goes through the stages that a student of a search goes through, so that what is scored
and timed is the file that would ship, and an equal step is found done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from search.compress.brought import Brought
from search.compress.steps import Step
from search.errors import UsageFault
from search.executors.base import Executor
from search.executors.waiting import Told, result_of
from search.results import onnx_model
from search.study.settings import Place
from spaces.metrics import METRICS
from spaces.recipe import PARTS, Distil, Quantize, Training
from spaces.space import Data, Target, Tokens
from workers.data.corpus import Corpus
from workers.jobs import Compress, Export, Job, Measure, Prepare, Score, TeacherTargets
from workers.measure.bootstrap import difference_interval
from workers.results import (
    CompressResult,
    ExportResult,
    MeasureResult,
    PrepareResult,
    Reading,
    ScoreResult,
    StageResult,
    TeacherTargetsResult,
)
from workers.workspace import Workspace

HERE = "cpu"
TIMED = Target(max_s=5.0)  # enough to see what a step brings; a study measures for longer
_RESAMPLES = 2000
_AS_BROUGHT = "as brought"
_Result = TypeVar("_Result", bound=StageResult)


@dataclass(frozen=True)
class Loss:
    """Points of WER above the model as it was brought, as fractions, with the 95 % interval of the
    same utterances drawn anew."""

    value: float
    low: float
    high: float
    limit: float

    @property
    def is_broken(self) -> bool:
        return self.value > self.limit

    @property
    def is_told(self) -> bool:
        """Whether this audio tells it from its limit."""
        return not self.low <= self.limit < self.high


@dataclass(frozen=True)
class Stage:
    """The model after a step, as it would ship."""

    name: str
    model: str
    tokens: str
    network: str | None
    quantize: Quantize
    readings: tuple[Reading, ...]
    errors: tuple[int, ...]
    words: tuple[int, ...]
    loss: Loss | None = None  # of the model as it was brought

    def value(self, metric: str) -> float:
        """A figure of it.

        Raises:
            KeyError: when it was not taken.
        """
        for reading in self.readings:
            if reading.metric == metric:
                return reading.value
        raise KeyError(metric)


@dataclass(frozen=True)
class Outcome:
    """All stages that were reached; the last may have broken its limit."""

    stages: tuple[Stage, ...]

    @property
    def kept(self) -> Stage:
        """The smallest that held."""
        held = [s for s in self.stages if s.loss is None or not s.loss.is_broken]
        return min(held, key=lambda stage: stage.value("size_mb"))

    @property
    def broken(self) -> Stage | None:
        last = self.stages[-1]
        return last if last.loss is not None and last.loss.is_broken else None


@dataclass(frozen=True)
class Plan:
    """What is made smaller, by which steps, judged by which audio."""

    brought: Brought
    steps: tuple[Step, ...]
    data: Data
    training: Training
    threads: int
    host: str
    workspace: Workspace
    place: Place
    target_name: str = HERE
    target: Target = TIMED
    seed: int = 0


def check_steps(steps: Sequence[Step], is_network: bool, has_training_data: bool) -> None:
    """Each step can be taken.

    Args:
        is_network: a checkpoint is brought, not a graph.

    Raises:
        UsageFault: naming the one that cannot.
    """
    pruning = next((s for s in steps if s.is_pruning), None)
    if pruning is not None and not is_network:
        raise UsageFault(
            f'--steps: "{pruning.written}" needs a network to train again; a graph is none: '
            "bring a checkpoint (.safetensors), or leave the step out"
        )
    if pruning is not None and not has_training_data:
        raise UsageFault(
            f'--steps: "{pruning.written}" needs --train: a network whose units are taken out has '
            "to be trained again"
        )


def compress(
    plan: Plan, executor: Executor, tell: Told, on_stage: Callable[[Stage], None]
) -> Outcome:
    """Take the steps, which were checked, in turn until one breaks its limit.

    Raises:
        StudyFault: when a stage fails.
    """
    run = _Run(plan, executor, tell)
    stages = [run.as_brought()]
    on_stage(stages[0])
    for step in plan.steps:
        stages.append(run.after(step, stages[-1], stages[0]))
        on_stage(stages[-1])
        loss = stages[-1].loss
        if loss is not None and loss.is_broken:
            break
    return Outcome(tuple(stages))


class _Run:
    def __init__(self, plan: Plan, executor: Executor, tell: Told) -> None:
        self._plan, self._executor, self._tell = plan, executor, tell
        prepared = self._done(
            Prepare(
                data=plan.data,
                tokens=Tokens(),
                subsampling_factor=plan.brought.subsampling_factor,
            ),
            PrepareResult,
        )
        self._corpus = plan.brought.front_end.heard(prepared.corpus)
        written = Corpus(plan.workspace.corpus(prepared.corpus)).symbols
        if any(step.is_pruning for step in plan.steps) and written != plan.brought.symbols:
            raise UsageFault(
                f"--model: {plan.brought.name} writes other tokens than the characters of --train "
                f"({len(plan.brought.symbols)} and {len(written)}), so it cannot be trained again "
                "there after pruning; train on what it was trained on, or leave prune out"
            )

    def as_brought(self) -> Stage:
        brought = self._plan.brought
        return self._stage(_AS_BROUGHT, brought.checkpoint, Quantize())

    def after(self, step: Step, before: Stage, first: Stage) -> Stage:
        network, quantize = before.network, before.quantize
        if step.scheme is not None:
            quantize = Quantize.model_validate(dict.fromkeys(PARTS, step.scheme))
        else:
            assert network is not None
            network = self._pruned(network, step)
        stage = self._stage(step.written, network, quantize)
        return replace(stage, loss=_loss(first, stage, step.loss_limit))

    def _pruned(self, network: str, step: Step) -> str:
        plan = self._plan
        asked = TeacherTargets(
            corpus=self._corpus,
            threads=plan.threads,
            checkpoint=plan.brought.checkpoint,
            speeds=plan.data.speeds,
            subsampling_factor=plan.brought.subsampling_factor,
        )
        targets = self._done(plan.place.of(asked), TeacherTargetsResult)
        pruning = Compress(
            checkpoint=network,
            ratio=step.ratio,
            training=plan.training,
            distil=Distil(),
            soft_targets=targets.soft_targets,
            corpus=self._corpus,
            seed=plan.seed,
            threads=plan.threads,
        )
        return self._done(plan.place.of(pruning), CompressResult).checkpoint

    def _stage(self, name: str, network: str | None, quantize: Quantize) -> Stage:
        brought, corpus = self._plan.brought, self._corpus
        exported = self._done(
            Export(
                checkpoint=network,
                onnx=brought.onnx,
                tokens=brought.tokens,
                quantize=quantize,
                corpus=corpus,
            ),
            ExportResult,
        )
        model, tokens = onnx_model(exported.model), exported.tokens
        scored = self._done(
            Score(runtime="onnxruntime", model=model, tokens=tokens, corpus=corpus), ScoreResult
        )
        measured = self._done(
            Measure(
                target_name=self._plan.target_name,
                target=self._plan.target,
                host=self._plan.host,
                model=model,
                tokens=tokens,
                corpus=corpus,
                macs=exported.value("macs"),
            ),
            MeasureResult,
        )
        readings = (*exported.readings, *scored.readings, *measured.readings)
        return Stage(
            name=name,
            model=exported.model,
            tokens=tokens,
            network=network,
            quantize=quantize,
            readings=tuple(r for r in readings if r.metric in METRICS or r.metric == "unsteady"),
            errors=scored.errors,
            words=scored.words,
        )

    def _done(self, job: Job, kind: type[_Result]) -> _Result:
        result = result_of(job, self._executor, self._tell)
        assert isinstance(result, kind)
        return result


def _loss(first: Stage, stage: Stage, limit: float) -> Loss:
    before, after, words = (np.array(x) for x in (first.errors, stage.errors, stage.words))
    low, high = difference_interval(before, after, words, _RESAMPLES)
    return Loss(float((after.sum() - before.sum()) / max(1, words.sum())), low, high, limit)
