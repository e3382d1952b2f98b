"""What a process that runs stages needs, imported once in the server they are forked from."""

from workers.stages import (
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
    teacher_targets,
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
    "teacher_targets",
    "train",
]
