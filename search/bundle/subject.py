"""Whose package it is: a trial's, or the teacher's that its students are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.errors import UsageFault
from search.results import TrialResults, how_to_make_anew, model_of
from spaces.axes import Value
from spaces.families import is_trained
from spaces.front_end import FrontEnd
from spaces.recipe import Recipe
from spaces.space import Space
from spaces.streaming import Streaming
from storage.records import Study, Trial
from storage.store import Store
from workers.results import Model

TEACHER = "teacher"


@dataclass(frozen=True)
class Subject:
    """What is packed. `recipe` is None for a network that was brought along."""

    name: str  # as its measurements are stored: a trial's number, or "teacher"
    title: str
    who: str
    how_to_make_anew: str  # where its files are lost
    recipe: Mapping[str, Any] | None
    metrics: Mapping[str, float]
    results: TrialResults
    is_trained: bool = True  # here, on the data of the study
    imported: Mapping[str, str] = field(default_factory=dict)  # of a teacher: files by role
    values: Mapping[str, Value] | None = None  # of a trial: what it chose of the axes

    @property
    def is_teacher(self) -> bool:
        return self.name == TEACHER

    @property
    def front_end(self) -> FrontEnd:
        return FrontEnd.of_recipe(self.recipe)

    @property
    def streaming(self) -> Streaming | None:
        """How it hears live speech; None of what hears whole utterances."""
        if self.recipe is None or not self.is_trained:
            return None
        return Recipe.model_validate(self.recipe).student.streaming

    @property
    def subsampling_factor(self) -> int | None:
        """Frames in per frame out; None where the file alone knows."""
        if self.recipe is None or not self.is_trained:
            return None
        student = Recipe.model_validate(self.recipe).student
        return student.contract.subsampling_factor // student.written_per_frame

    def model(self, space: Space, target: str) -> tuple[Model, str]:
        """Its files for a target, and the digest of its tokens.

        Raises:
            UsageFault: when there are none.
        """
        try:
            return model_of(space, target, self.results, self.imported)
        except UsageFault as fault:
            raise UsageFault(f"{self.who}: {fault}") from fault


def of_trial(store: Store, study: Study, trial: Trial) -> Subject:
    """A student.

    Raises:
        UsageFault: when it was not measured.
    """
    if not trial.state.is_measured:
        raise UsageFault(
            f"trial {trial.number} is {trial.state.replace('_', ' ')}"
            + (f" ({trial.reason})" if trial.reason else "")
            + f"; only a measured one can be exported: `search front {study.name}` lists the best"
        )
    results = TrialResults.of(store.stage_runs.of(study.id, trial.number))
    return Subject(
        name=str(trial.number),
        title=trial.label,
        who=f"trial {trial.number}",
        how_to_make_anew=how_to_make_anew(study.name, trial.number),
        recipe=trial.recipe,
        metrics=trial.metrics,
        results=results,
        is_trained=is_trained(str(trial.values["family"])),
        values=trial.values,
    )


def of_teacher(store: Store, study: Study, space: Space) -> Subject:
    """The teacher as an ONNX file.

    Raises:
        UsageFault: for one that runs in torch only, or was not measured.
    """
    source = space.teacher
    if not source.has_file:
        raise UsageFault(
            f"the teacher ({source.source()}) has no file that takes what students take, so "
            "there is none of it to export; choose a student: "
            f"`search front {study.name}` lists the best"
        )
    if not study.teacher_metrics:
        raise UsageFault(
            "the teacher is not measured yet, and only then it can be exported: "
            f"`search status {study.name}` tells how far it is"
        )
    recipe = None
    if source.train is not None:
        made = Recipe(student=source.train.student, training=source.train.training)
        recipe = made.model_dump(mode="json")
    results = TrialResults.of(store.stage_runs.of(study.id, None))
    return Subject(
        name=TEACHER,
        title=source.source().capitalize() if recipe else "Teacher",
        who="the teacher",
        how_to_make_anew="launching the study again makes them anew",
        recipe=recipe,
        metrics=study.teacher_metrics,
        results=results,
        imported=study.imported or {},
    )
