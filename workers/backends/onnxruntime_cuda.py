"""ONNX Runtime with its CUDA provider. Written after its documentation; it never ran on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from workers.backends.base import Settings
from workers.backends.onnxruntime import OnnxSession, open_with, prepare
from workers.errors import UserFault

__all__ = ["CUDA", "open_on_gpu", "open_session", "prepare", "version"]

CUDA = (
    "CUDAExecutionProvider",
    {
        "cudnn_conv_algo_search": "HEURISTIC",  # else it tries all of them for every new length
        "use_tf32": "0",  # fp32 is to mean fp32
    },
)


def open_session(model: Path, settings: Settings) -> OnnxSession:
    """Load a file of the contract on the first GPU.

    Features and log-probabilities are copied there and back with every run, as a caller who has
    the one and wants the other must: binding them to the device would hide the copies only.

    Raises:
        UserFault: when the file is not such a model, or CUDA cannot be used.
    """
    return open_on_gpu(model, settings, [CUDA])


def open_on_gpu(
    model: Path, settings: Settings, providers: list[tuple[str, dict[str, Any]]]
) -> OnnxSession:
    """Load a file with the first of some providers, which is to be used or to fail.

    Raises:
        UserFault: when it is not in this build of ONNX Runtime, or cannot be used.
    """
    wanted = providers[0][0]
    if wanted not in ort.get_available_providers():
        raise UserFault(
            f"{model}: ONNX Runtime is installed here without {wanted}; onnxruntime-gpu has it"
        )
    import torch  # noqa: F401  brings the CUDA libraries that came with it into the process

    opened = open_with(model, settings, providers)
    # It goes on with the CPU when a provider fails: on loading, and on a run unless told not to.
    session = opened._session
    if session.get_providers()[0] != wanted:
        raise UserFault(f"{model}: ONNX Runtime cannot use {wanted} here: is there an NVIDIA GPU?")
    session.disable_fallback()
    return opened


def version() -> str:
    return f"onnxruntime-gpu {ort.__version__}"
