"""What is done with finished trials once a search has come to its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from workers.jobs import Job
from workers.results import AnyResult

Planned = tuple[int | None, Job]  # a trial by its number, None the teacher


class Afterwards(Protocol):
    """One thing that is done then; a job of it that fails harms no trial."""

    def owns(self, job: Job) -> bool:
        """Whether a job is one of these."""
        ...

    def left(self) -> Sequence[Planned]:
        """The jobs that are still to be done."""
        ...

    def took(self, number: int | None, job: Job, result: AnyResult) -> None:
        """A job is done, its result in the record."""
        ...

    def give_up(self, number: int | None, job: Job, error: str) -> None:
        """Do without a job, for this run of the study."""
        ...


class InTurn:
    """Several of them, each begun when those before it are done."""

    def __init__(self, *parts: Afterwards) -> None:
        self._parts = parts

    def left(self) -> Sequence[Planned]:
        """Of the first that has something left."""
        for part in self._parts:
            if planned := part.left():
                return planned
        return ()

    def owner(self, job: Job) -> Afterwards | None:
        """Whose job it is; None of those that belong to the search itself."""
        return next((part for part in self._parts if part.owns(job)), None)
