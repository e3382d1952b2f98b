"""Students with and without a technique: trained, compressed, exported and scored as trials are.

Every stage is one of a search's own, in a process of its own, and is found done the next time: a
run that was cut off goes on.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from search.results import onnx_model
from spaces.families import Dims
from spaces.recipe import Distil, Prune, Quantize, Training
from spaces.space import Data, Tokens
from storage.artifacts import ArtifactStore
from workers.jobs import Compress, Export, Job, Prepare, Qat, Score, TeacherTargets, Train
from workers.measure.bootstrap import difference_interval, rate_interval
from workers.results import (
    AnyResult,
    CompressResult,
    ExportResult,
    PrepareResult,
    QatResult,
    ScoreResult,
    TeacherTargetsResult,
    TrainResult,
)
from workers.stages.run import run_stage
from workers.workspace import Workspace

SEEDS = (0, 1, 2)
_DRAWS = 2000
_QAT_RATE = 0.25
_ALONE, _WHOLE, _FLOAT = Distil(weight=0.0), Prune(), Quantize()


@dataclass(frozen=True)
class Technique:
    """A student and what is done to it; `more_epochs` it is trained further as it is, for as long
    as others are trained with something done to them."""

    student: Dims
    training: Training
    distil: Distil = _ALONE
    prune: Prune = _WHOLE
    quantize: Quantize = _FLOAT
    more_epochs: int = 0


@dataclass(frozen=True)
class Made:
    """What came of it with one seed."""

    errors: np.ndarray
    words: np.ndarray
    model: str
    size_mb: float
    params: float
    cpu_s: float


@dataclass(frozen=True)
class Outcome:
    """What came of it with every seed; errors are the mean over the seeds, by utterance."""

    made: tuple[Made, ...]

    @property
    def errors(self) -> np.ndarray:
        return np.mean([one.errors for one in self.made], axis=0)

    @property
    def words(self) -> np.ndarray:
        return self.made[0].words

    @property
    def wer(self) -> float:
        return float(self.errors.sum() / self.words.sum())

    @property
    def cpu_s(self) -> float:
        return float(np.mean([one.cpu_s for one in self.made]))

    def wer_told(self) -> str:
        low, high = rate_interval(self.errors, self.words, _DRAWS)
        return f"{self.wer:.2%} ({low:.2%} to {high:.2%})"

    def against(self, other: Outcome) -> str:
        """Points to another, of the same utterances."""
        low, high = difference_interval(other.errors, self.errors, self.words, _DRAWS)
        points = 100 * (self.wer - other.wer)
        return f"{points:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"

    def each_told(self) -> str:
        """The WER of every seed."""
        return ", ".join(f"{one.errors.sum() / one.words.sum():.2%}" for one in self.made)


def _processes() -> ProcessPoolExecutor:
    """A new process for every stage, forked from one that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workers.stages.preload"])
    return ProcessPoolExecutor(2, context, max_tasks_per_child=1)


@dataclass(frozen=True)
class Workshop:
    """Where students are made."""

    home: Path
    data: Data
    teacher: Path
    _pool: ProcessPoolExecutor = field(default_factory=_processes)

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(
            artifacts=str(self.home / "artifacts"),
            cache=self.home / "cache",
            work=self.home / "work",
            locks=self.home / "locks",
        )

    @cached_property
    def artifacts(self) -> ArtifactStore:
        return ArtifactStore(self.workspace.artifacts)

    @cached_property
    def corpus(self) -> str:
        job = Prepare(data=self.data, tokens=Tokens(), subsampling_factor=4)
        prepared = self.done(job)
        assert isinstance(prepared, PrepareResult)
        return prepared.corpus

    @cached_property
    def teacher_network(self) -> str:
        return self.artifacts.put(self.teacher)

    @cached_property
    def taught(self) -> TeacherTargetsResult:
        job = TeacherTargets(
            corpus=self.corpus,
            checkpoint=self.teacher_network,
            speeds=self.data.speeds,
            subsampling_factor=4,
            hidden=True,
            halfway=True,
        )
        result = self.done(job)
        assert isinstance(result, TeacherTargetsResult)
        return result

    def outcomes(self, techniques: dict[str, Technique]) -> dict[str, Outcome]:
        """Of each by its name, two at a time; told as they are done."""
        soft_targets = self.taught.soft_targets  # before anything is asked at once
        del soft_targets
        pairs = [(name, seed) for name in techniques for seed in SEEDS]
        with ThreadPoolExecutor(2) as threads:
            made = threads.map(lambda pair: self._told(*pair, techniques[pair[0]]), pairs)
            by_pair = dict(zip(pairs, made, strict=True))
        return {n: Outcome(tuple(by_pair[n, seed] for seed in SEEDS)) for n in techniques}

    @cached_property
    def teacher_as_it_is(self) -> Outcome:
        """The teacher in float32; nothing is trained for it."""
        exported = self.done(
            Export(checkpoint=self.teacher_network, quantize=_FLOAT, corpus=self.corpus)
        )
        assert isinstance(exported, ExportResult)
        return Outcome((self._scored(exported, 0.0),))

    def _told(self, name: str, seed: int, technique: Technique) -> Made:
        made = self.make(technique, seed)
        wer = made.errors.sum() / made.words.sum()
        print(f"{name}, seed {seed}: {wer:.2%}, {made.cpu_s:.0f} CPU s", flush=True)
        return made

    def make(self, technique: Technique, seed: int) -> Made:
        """Through all its stages."""
        distil, soft = technique.distil, self.taught.soft_targets
        usual = {
            "distil": distil,
            "soft_targets": soft if distil.weight else None,
            "corpus": self.corpus,
            "seed": seed,
            "threads": 1,
        }
        training = technique.training
        parent = self.teacher_network if training.start == "teacher" else None
        jobs: list[Job] = [
            Train(student=technique.student, training=training, parent=parent, **usual)
        ]
        trained = self.done(jobs[-1])
        assert isinstance(trained, TrainResult)
        network, again = trained.checkpoint, training.model_copy(update={"start": "nothing"})
        prune = technique.prune
        if prune.ratio or technique.more_epochs:
            epochs = technique.more_epochs or prune.epochs
            jobs.append(
                Compress(
                    checkpoint=network,
                    ratio=prune.ratio,
                    rule=prune.rule,
                    rounds=prune.rounds if prune.rounds > 1 else None,
                    scope=None if prune.scope == "module" else prune.scope,
                    training=again.model_copy(update={"epochs": epochs}),
                    **usual,
                )
            )
            pruned = self.done(jobs[-1])
            assert isinstance(pruned, CompressResult)
            network = pruned.checkpoint
        if technique.quantize.qat_epochs:
            gentle = {
                "epochs": technique.quantize.qat_epochs,
                "learning_rate": training.learning_rate * _QAT_RATE,
            }
            jobs.append(
                Qat(
                    checkpoint=network,
                    quantize=technique.quantize,
                    training=again.model_copy(update=gentle),
                    **usual,
                )
            )
            rounded = self.done(jobs[-1])
            assert isinstance(rounded, QatResult)
            network = rounded.checkpoint
        exported = self.done(
            Export(checkpoint=network, quantize=technique.quantize, corpus=self.corpus)
        )
        assert isinstance(exported, ExportResult)
        return self._scored(exported, sum(map(self._cpu_s, jobs)))

    def _scored(self, exported: ExportResult, cpu_s: float) -> Made:
        model = onnx_model(exported.model)
        scored = self.done(Score(runtime="cpu", model=model, corpus=self.corpus))
        assert isinstance(scored, ScoreResult)
        size, params = (exported.value(metric) or 0.0 for metric in ("size_mb", "params"))
        errors, words = np.array(scored.errors), np.array(scored.words)
        return Made(errors, words, exported.model, size, params, cpu_s)

    def done(self, job: Job) -> AnyResult:
        return self._pool.submit(run_stage, job, self.workspace).result()

    def _cpu_s(self, job: Job) -> float:
        """What a stage cost when it was done."""
        result = json.loads(self.workspace.stage_result(job).read_text())
        return float(result["cpu_s"])

    def files(self, outcomes: Iterable[Outcome], folder: Path) -> list[Path]:
        """The file of the first seed of each."""
        folder.mkdir(parents=True, exist_ok=True)
        return [
            self.artifacts.fetch(o.made[0].model, folder / f"{o.made[0].model[:16]}.onnx")
            for o in outcomes
        ]
