"""Whose fault an error is, and how it is said."""

from __future__ import annotations

from pydantic import ValidationError

from search.coordinator import StudyFault
from search.errors import UsageFault
from spaces.errors import SpaceError
from storage.errors import ArtifactError, StorageError
from workers.errors import UserFault


def is_users(error: Exception) -> bool:
    if isinstance(error, StudyFault):
        return error.is_user_fault
    if isinstance(error, ArtifactError):
        return False
    return isinstance(
        error, UsageFault | SpaceError | StorageError | UserFault | ValidationError | OSError
    )


def said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return "; ".join(faults)
    if isinstance(error, StudyFault) and error.log and not error.is_user_fault:
        return f"{error}\nlast lines of its log:\n{error.log}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    known = isinstance(error, UsageFault | SpaceError | StorageError | UserFault | StudyFault)
    return str(error) if known else f"{type(error).__name__}: {error}"
