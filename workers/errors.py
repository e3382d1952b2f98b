"""Errors of the work on a trial.

WorkError
├── UserFault            the user's input cannot be used; the text says what to do (exit code 2)
│   ├── DataFault        one audio file or transcript
│   ├── DataRefused      a corpus with more faults than allowed; lists them
│   ├── TeacherFault     a teacher that cannot be loaded or used
│   ├── BundleFault      a folder that is not a bundle
│   ├── Diverged         a training whose weights are no numbers any more
│   ├── DeviceRefused    a device that will not do what it is asked: wrong token, no such backend
│   └── MissingExtra     an optional package is needed; names the extra
├── LostInput            something that an earlier stage made is gone or damaged; it is made again
├── Killed               a process was ended from outside, mostly for want of memory
├── DeviceUnreachable           a device cannot be reached now; asking again later may help
└── ParityError          an exported file disagrees with its network
"""

from __future__ import annotations

KILLED = "its process was ended by "


class WorkError(Exception):
    """Some work could not be done."""


class UserFault(WorkError):
    """The user's input cannot be used."""


class DataFault(UserFault):
    """One audio file or transcript cannot be used."""


class DataRefused(UserFault):
    """A corpus has more faults than its space allows."""


class TeacherFault(UserFault):
    """A teacher cannot be loaded or used."""


class BundleFault(UserFault):
    """A folder is not a bundle, or is damaged."""


class Diverged(UserFault):
    """A training ended in weights that are no numbers; another attempt would end so too."""


class MissingExtra(UserFault):
    """An optional package is needed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra: pip install "compression-search[{extra}]"')


class DeviceRefused(UserFault):
    """A device will not do what it is asked, now or later."""


class LostInput(WorkError):
    """What an earlier stage made is gone or damaged; made again, the work can go on."""


class Killed(WorkError):
    """A process was ended from outside, as the kernel ends what takes its last memory."""

    def __init__(self, by: str) -> None:
        super().__init__(f"{KILLED}{by} (out of memory?)")


class DeviceUnreachable(WorkError):
    """A device cannot be reached now."""


class ParityError(WorkError):
    """An exported file disagrees with the network it was exported from."""
