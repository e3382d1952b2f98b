"""Errors of the store.

StorageError
├── NoSuchStudy        a study name that the store does not hold
├── NoSuchTrial        a trial number that the study does not hold
├── LeaseLost          another coordinator has taken the study
├── StudyChanged       the space differs from the one the study was started with
├── StoreUnreachable   the database or the artifacts cannot be opened
└── ArtifactError      a stored file is missing or not what its digest says
"""

from __future__ import annotations


class StorageError(Exception):
    """Something is wrong with the store or with what was asked of it."""


class NoSuchStudy(StorageError):
    """The store holds no study of that name."""


class NoSuchTrial(StorageError):
    """The study holds no trial of that number."""


class LeaseLost(StorageError):
    """Another coordinator has taken the study over."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'study "{name}" was taken over by another coordinator while this one gave no sign of '
            "life; nothing more is written from here"
        )


class StudyChanged(StorageError):
    """The space differs from the one the study was started with."""


class StoreUnreachable(StorageError):
    """The database or the artifacts cannot be opened."""


class ArtifactError(StorageError):
    """A stored file is missing or damaged."""
