"""Whose fault an error is, and how it is said."""

from __future__ import annotations

import errno

from search.errors import StudyFault, UsageFault
from spaces.errors import SpaceError
from storage.errors import ArtifactError, StorageError
from workers.errors import UserFault

# What a path that the user gave can be; a full disk or a broken pipe is nobody's mistake.
_WRONG_PATH = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def is_users(error: Exception) -> bool:
    if isinstance(error, StudyFault):
        return error.is_user_fault
    if isinstance(error, ArtifactError):
        return False
    if isinstance(error, OSError):
        return error.filename is not None and error.errno in _WRONG_PATH
    return isinstance(error, UsageFault | SpaceError | StorageError | UserFault)


def message_of(error: Exception) -> str:
    if isinstance(error, StudyFault) and error.log and not error.is_user_fault:
        return f"{error}\nlast lines of its log:\n{error.log}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    known = isinstance(error, UsageFault | SpaceError | StorageError | UserFault | StudyFault)
    return str(error) if known else f"{type(error).__name__}: {error}"
