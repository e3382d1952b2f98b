"""What a process that runs stages needs, imported once in the server they are forked from."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search decides on Ctrl-C, also during imports
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))

from workers.stages import (  # noqa: E402
    check_teacher,
    compress,
    convert,
    export,
    extra,
    measure,
    prepare,
    rehearse,
    run,
    score,
    screen,
    supernet,
    teacher_targets,
    test,
    train,
)

__all__ = [
    "check_teacher",
    "compress",
    "convert",
    "export",
    "extra",
    "measure",
    "prepare",
    "rehearse",
    "run",
    "score",
    "screen",
    "supernet",
    "teacher_targets",
    "test",
    "train",
]
