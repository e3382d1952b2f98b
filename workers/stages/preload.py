"""What a process that runs stages needs, imported once in the server they are forked from."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search decides on Ctrl-C, also during imports
signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))

# What torch itself imports at the first step of an optimizer and at the first export: two seconds
# in every process that trains or exports.
import torch._dynamo  # noqa: E402
import torch.onnx  # noqa: E402
import torch.onnx.utils  # noqa: E402

from workers.backends import onnxruntime  # noqa: E402
from workers.compress import compact  # noqa: E402
from workers.stages import (  # noqa: E402
    check_teacher,
    compress,
    convert,
    export,
    extra,
    measure,
    prepare,
    qat,
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
    "compact",
    "compress",
    "convert",
    "export",
    "extra",
    "measure",
    "onnxruntime",
    "prepare",
    "qat",
    "rehearse",
    "run",
    "score",
    "screen",
    "supernet",
    "teacher_targets",
    "test",
    "torch",
    "train",
]
