"""What is to be measured on targets that were added to a study: whose files, and where."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from search.results import how_to_make_anew
from search.study.ledger import Ledger
from search.study.measuring import Subject
from search.study.pipeline import student_subject
from spaces.backends import backend_info
from spaces.space import Space
from workers.jobs import Convert, Job, Measure, Score


@dataclass
class Work:
    """A subject, and the targets that it has still to be measured on; `space` has those and what
    shares a runtime with them."""

    subject: Subject
    wanted: set[str]
    space: Space

    def lost_with(self, job: Job) -> set[str]:
        """The targets for which a stage that failed was needed."""
        targets, runtimes = self.space.targets, self.space.runtimes()
        match job:
            case Measure():
                return {job.target_name}
            case Convert():
                return {n for n in self.wanted if targets[n].backend == job.backend}
            case Score():
                runtime = next(r for r in runtimes if r.label == job.runtime)
                return self.wanted & set(runtime.targets) or set(self.wanted)
            case _:
                return set(self.wanted)


class AddedWork:
    """By subject: trials by their number, the teacher as None.

    Args:
        space: the study's own with the added targets.
        targets: those to measure on.
        again: whether what was measured there is measured once more.
    """

    def __init__(
        self, space: Space, ledger: Ledger, targets: tuple[str, ...], *, again: bool
    ) -> None:
        self._space, self._ledger = space, ledger
        self._targets, self._again = targets, again
        self._work: dict[int | None, Work] = {}

    def __getitem__(self, number: int | None) -> Work:
        return self._work[number]

    def __contains__(self, number: object) -> bool:
        return number in self._work

    def left(self) -> Iterator[tuple[int | None, Work]]:
        """Who has still to be measured somewhere."""
        return ((number, work) for number, work in self._work.items() if work.wanted)

    def add_teacher(self, teacher: Subject) -> None:
        self._add(None, teacher, self._targets)

    def add_trial(self, number: int) -> bool:
        """Whether the files of a trial are there; what keeps it from a target is told."""
        ledger = self._ledger
        anew = [f"measure@{name}" for name in self._targets] if self._again else []
        ledger.take_up_ended(number, anew)
        student = student_subject(ledger.recipe(number), ledger.results(number))
        if student is None:
            anew_by = how_to_make_anew(ledger.study.name, number)
            ledger.event("trial", f"trial {number}: its exported files are lost; {anew_by}", number)
            return False
        self._add(number, student, self._runnable(number))
        return True

    def give_up(self, number: int | None, targets: Collection[str], reason: str) -> None:
        """A subject is not measured on these, which is told."""
        who = "the teacher" if number is None else f"trial {number}"
        on = ", ".join(sorted(targets))
        self._ledger.event("trial", f"{who}: not measured on {on}: {reason}", number)
        self._work[number].wanted -= set(targets)

    def _runnable(self, number: int) -> list[str]:
        """The targets that can run a student; why others cannot is told."""
        recipe, found = self._ledger.recipe(number), []
        for name in self._targets:
            info = backend_info(self._space.targets[name].backend)
            reason = info.refuses(recipe.student.family, recipe.quantize.formats)
            if reason is None:
                found.append(name)
            else:
                self._ledger.event("trial", f"trial {number}: not on {name}: {reason}", number)
        return found

    def _add(self, number: int | None, subject: Subject, wanted: Collection[str]) -> None:
        targets = self._space.targets
        shared = {(targets[n].backend, targets[n].precision) for n in wanted}
        kept = {n: t for n, t in targets.items() if (t.backend, t.precision) in shared}
        # ONNX Runtime's texts are what those of other runtimes are compared with
        kept |= {n: targets[n] for n in self._space.runtimes()[0].targets}
        ordered = {n: t for n, t in targets.items() if n in kept}
        space = self._space.model_copy(update={"targets": ordered})
        self._work[number] = Work(subject, set(wanted), space)
