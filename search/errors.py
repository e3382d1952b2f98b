"""Errors of the search and its commands.

SearchError              exit code 1
├── UsageFault           the user's mistake: exit code 2
└── StudyFault           a study cannot go on; it knows whose mistake that is
    └── EnvironmentFault  this host cannot go on now; nothing is lost
"""

from __future__ import annotations


class SearchError(Exception):
    """The search cannot go on."""


class UsageFault(SearchError):
    """What was asked for cannot be done as asked; the text says what to do."""


class StudyFault(SearchError):
    """The study itself cannot go on; `is_user_fault` tells whose mistake it is."""

    def __init__(self, message: str, is_user_fault: bool, log: str | None = None) -> None:
        super().__init__(message)
        self.is_user_fault, self.log = is_user_fault, log


class EnvironmentFault(StudyFault):
    """Disk, memory or files of this host are to blame, no recipe: the study goes on later."""

    def __init__(self, message: str, log: str | None = None) -> None:
        super().__init__(message, is_user_fault=False, log=log)
