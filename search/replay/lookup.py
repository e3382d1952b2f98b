"""What a recorded table answers to a job; the nearest recipe answers where the very one is not
there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from search.replay.dev_view import DevView
from search.replay.table import Recorded, RecordedTable, RecordedTrial
from search.results import TrialResults
from search.strategy.weight_sharing import training_of_slice
from spaces.families import StudentDims
from spaces.recipe import Distil, LossWeight, Prune, Quantize, Training
from spaces.space import Space
from workers.errors import WorkError
from workers.jobs import (
    Compress,
    Convert,
    Export,
    Extra,
    Job,
    Measure,
    Prepare,
    Qat,
    Score,
    Screen,
    Supernet,
    TeacherTargets,
    Train,
    name_of,
)
from workers.results import ConvertResult, Model, RungResult, TrainResult

Traits = Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """A recorded result; `is_exact` if the table holds what was asked for."""

    recorded: Recorded
    is_exact: bool = True


@dataclass(frozen=True)
class _Subject:
    """What was exported, scored and measured: a trial, or the study's teacher."""

    stages: Mapping[str, Recorded]
    results: TrialResults
    quantize: Quantize


class Lookup:
    """Answers jobs from a table.

    Args:
        dev: places of the utterances of dev that the search sees; all by default. With fewer its
            scores are as noisy as those of a small dev set, and the WER over all utterances is
            told beside them as `TRUE_WER`.
    """

    def __init__(self, table: RecordedTable, dev: Sequence[int] | None = None) -> None:
        self._table = table
        self._view = None if dev is None else DevView.of(table, dev)
        self._teacher = table.space.teacher.train
        space = table.space
        self._trained = {t.number: _trained_traits(space, t) for t in table.trials}
        self._spans = _spans(self._trained.values())
        self._by_network: dict[str, list[RecordedTrial]] = {}
        self._by_file: dict[str, list[_Subject]] = {}  # what is scored and measured
        self._by_float32: dict[str, list[_Subject]] = {}  # what other runtimes' forms are made of
        of_study = table.study_results
        self._teacher_network = of_study.checkpoint or table.origin.imported.get("checkpoint")
        teacher = _Subject(table.study_stages, of_study, Quantize())
        self._take(teacher, table.origin.imported.get("model"))
        for trial in table.trials:
            results = trial.results
            self._take(_Subject(trial.stages, results, trial.recipe.quantize))
            made = (results.train, results.compress, results.qat)
            for network in {each.checkpoint for each in made if each}:
                self._by_network.setdefault(network, []).append(trial)

    def _take(self, subject: _Subject, model: str | None = None) -> None:
        """Remember the files of a subject."""
        results = subject.results
        converted = [c for c in results.converted.values() if isinstance(c, ConvertResult)]
        files = {_file(c.model) for c in converted} | ({model} if model else set())
        if results.export is not None:
            files.add(results.export.model)
            self._by_float32.setdefault(str(results.export.float32), []).append(subject)
        elif model is not None:
            self._by_float32.setdefault(model, []).append(subject)
        for file in files:
            self._by_file.setdefault(file, []).append(subject)

    def answer(self, job: Job) -> Answer:
        """The result of a job.

        Raises:
            WorkError: when nothing in the table comes near.
        """
        found = self._answer(job)
        if self._view is None:
            return found
        result = self._view.seen(found.recorded.result)
        return replace(found, recorded=replace(found.recorded, result=result))

    def _answer(self, job: Job) -> Answer:
        stage = name_of(job)
        match job:
            case Prepare() | TeacherTargets() | Supernet():
                return self._of_study(stage)
            case Train() if self._is_teacher(job):
                return self._of_study(stage)
            case Export() if job.checkpoint == self._teacher_network:
                return self._of_study(stage)
            case Screen():
                return self._screened(job)
            case Train():
                return self._trained_until(job)
            case Compress():
                return self._compressed(job)
            case Qat():
                return self._rounded(job)
            case Export():
                return self._exported(job)
            case Convert():
                made = self._by_float32.get(job.onnx, [])
                return _first(stage, [s for s in made if s.quantize == job.quantize])
            case Score() | Measure() | Extra():
                return _first(stage, self._by_file.get(_file(job.model), []))
            case _:
                raise WorkError(f"a table answers no {stage}")

    def _of_study(self, stage: str) -> Answer:
        recorded = self._table.study_stages.get(stage)
        if recorded is None:
            raise WorkError(f"the table has no {stage} of the study")
        return Answer(recorded)

    def _is_teacher(self, job: Train) -> bool:
        teacher = self._teacher
        return teacher is not None and (job.student, job.training) == (
            teacher.student,
            teacher.training,
        )

    def _trained_until(self, job: Train) -> Answer:
        """A training; to a rung, the nearest that was recorded, for its share of the cost."""
        wanted = _network_traits(job.student, job.training, job.distil, job.losses)
        whole = self._nearest("train", wanted, lambda t: self._trained[t.number])
        if job.until is None:
            return whole
        share, result = job.until, whole.recorded.result
        assert isinstance(result, TrainResult)
        if not result.rungs:
            raise WorkError("the table was recorded without rungs")
        score = min(result.rungs, key=lambda r: abs(r.epoch / r.epochs - share))
        done = score.epoch / score.epochs
        rung = RungResult(score=score, cpu_s=result.cpu_s * done)
        return Answer(Recorded(rung, whole.recorded.duration_s * done), whole.is_exact)

    def _screened(self, job: Screen) -> Answer:
        """By the student as it is when it is pruned."""
        wanted = {**_student_traits(job.student), **_format_traits(job.quantize)}
        return self._nearest("screen", wanted, _screened_traits_of)

    def _compressed(self, job: Compress) -> Answer:
        """Of the network that was trained, if it was pruned; else of the nearest that was."""
        asked = Prune(
            ratio=job.ratio,
            rule=job.rule,
            rounds=job.rounds or 1,
            scope=job.scope or "module",
        )
        wanted = {**_prune_traits(asked), **self._traits_of_network(job.checkpoint)}
        return self._nearest("compress", wanted, self._pruned_traits)

    def _pruned_traits(self, trial: RecordedTrial) -> Traits:
        return {**_prune_traits(trial.recipe.prune), **self._trained[trial.number]}

    def _rounded(self, job: Qat) -> Answer:
        """Of the nearest network that was trained for such a format."""
        wanted = {**_format_traits(job.quantize), **self._traits_of_network(job.checkpoint)}
        return self._nearest("qat", wanted, self._rounded_traits)

    def _rounded_traits(self, trial: RecordedTrial) -> Traits:
        return {**_format_traits(trial.recipe.quantize), **self._trained[trial.number]}

    def _traits_of_network(self, checkpoint: str) -> Traits:
        owners = self._by_network.get(checkpoint, [])
        return self._trained[owners[0].number] if owners else {}

    def _exported(self, job: Export) -> Answer:
        """Of this network, in the nearest of the formats in which it was exported; of one that was
        only exported pruned, as it was then."""
        owners = self._by_network.get(job.checkpoint or "", [])
        wanted = {"is_final": True, **_format_traits(job.quantize)}
        return self._nearest(
            "export",
            wanted,
            lambda t: {
                "is_final": t.results.checkpoint == job.checkpoint,
                **_format_traits(t.recipe.quantize),
            },
            owners,
        )

    def _nearest(
        self,
        stage: str,
        wanted: Traits,
        traits_of: Callable[[RecordedTrial], Traits],
        among: Iterable[RecordedTrial] | None = None,
    ) -> Answer:
        trials = self._table.trials if among is None else among
        able = [t for t in trials if stage in t.stages]
        distances = [_distance(wanted, traits_of(t), self._spans) for t in able]
        if not distances or math.isinf(min(distances)):
            raise WorkError(f"the table has no {stage} of anything like it")
        least = min(distances)
        return Answer(able[distances.index(least)].stages[stage], least == 0)


def _first(stage: str, subjects: Iterable[_Subject]) -> Answer:
    """What a stage gave back for a file that all of these share."""
    for subject in subjects:
        if stage in subject.stages:
            return Answer(subject.stages[stage])
    raise WorkError(f"the table has no {stage} of this file")


def _student_traits(student: StudentDims) -> Traits:
    return {f"student.{k}": v for k, v in student.model_dump().items()}


def _format_traits(quantize: Quantize) -> Traits:
    return {f"quantize.{k}": v for k, v in quantize.model_dump().items()}


def _network_traits(
    student: StudentDims, training: Training, distil: Distil, losses: tuple[LossWeight, ...]
) -> Traits:
    traits = {**_student_traits(student)}
    traits |= {f"training.{k}": v for k, v in training.model_dump().items()}
    traits |= {f"distil.{k}": v for k, v in distil.model_dump().items() if distil.weight > 0}
    return {**traits, **{f"losses.{loss.name}": loss.weight for loss in losses}}


def _trained_traits(space: Space, trial: RecordedTrial) -> Traits:
    """As it was trained: from a slice it was trained otherwise than its recipe says."""
    recipe, result = trial.recipe, trial.results.train
    training = recipe.training
    if result is not None and result.sliced_share is not None:
        training = training_of_slice(space, training)
    return _network_traits(recipe.student, training, recipe.distil, recipe.losses)


def _screened_traits_of(trial: RecordedTrial) -> Traits:
    student = trial.recipe.student.pruned(trial.recipe.prune.ratio)
    return {**_student_traits(student), **_format_traits(trial.recipe.quantize)}


def _spans(traits: Iterable[Traits]) -> dict[str, float]:
    """How far the numbers of each trait lie apart in the table, on a logarithmic scale."""
    values: dict[str, list[float]] = {}
    for each in traits:
        for name, value in each.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append(math.log1p(value))
    return {name: max(logs) - min(logs) for name, logs in values.items()}


def _distance(a: Traits, b: Traits, spans: Mapping[str, float]) -> float:
    """0 where they are equal; infinite between families."""
    if a.get("student.family") != b.get("student.family"):
        return math.inf
    return sum(_apart(a.get(name), b.get(name), spans.get(name, 0.0)) for name in {*a, *b})


def _apart(a: object, b: object, span: float) -> float:
    if a == b:
        return 0.0
    if isinstance(a, int | float) and isinstance(b, int | float) and span > 0:
        return abs(math.log1p(a) - math.log1p(b)) / span
    return 1.0


def _file(model: Model) -> str:
    """Digest of the file that is loaded."""
    return model.files[model.main]


def _prune_traits(prune: Prune) -> Traits:
    return {f"prune.{name}": getattr(prune, name) for name in ("ratio", "rule", "rounds", "scope")}
