"""TensorRT through ONNX Runtime. Written after its documentation; it never ran on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorrt  # also brings its libraries into the process, where ONNX Runtime finds them

from workers.backends.base import OperatorTime, Settings
from workers.backends.onnxruntime import OnnxSession, prepare
from workers.backends.onnxruntime_cuda import CUDA, open_on_gpu
from workers.backends.onnxruntime_cuda import version as onnxruntime_version
from workers.data.features import N_MELS
from workers.errors import UserFault

__all__ = ["open_session", "prepare", "version"]

# An engine is built for a range of lengths and is best at one: frames of 10 ms.
_SHORTEST, _TYPICAL, _LONGEST = 1, 500, 6000


class TensorrtSession:
    """A session of ONNX Runtime over an engine, which ends at a length."""

    def __init__(self, model: Path, session: OnnxSession) -> None:
        self._model, self._session = model, session

    def run(self, features: np.ndarray) -> np.ndarray:
        if len(features) > _LONGEST:
            raise UserFault(
                f"{self._model}: an utterance of {len(features)} frames is longer than its "
                f"engine is built for, {_LONGEST}"
            )
        return self._session.run(features)

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """By ONNX Runtime's profiler, to which an engine is one operator."""
        return self._session.profile(features, runs)

    def close(self) -> None:
        self._session.close()


def open_session(model: Path, settings: Settings) -> TensorrtSession:
    """Load a file of the contract; the first time its engine is built, which takes minutes.

    Raises:
        UserFault: when the file is not such a model, or TensorRT cannot be used.
    """
    provider = ("TensorrtExecutionProvider", _options(model, settings))
    # CUDA takes what TensorRT has no operator for.
    return TensorrtSession(model, open_on_gpu(model, settings, [provider, CUDA]))


def _options(model: Path, settings: Settings) -> dict[str, Any]:
    quantized = model.is_file() and b"QuantizeLinear" in model.read_bytes()
    engines = str(model.with_suffix(".engines"))
    return {
        "trt_fp16_enable": settings.precision == "fp16",
        "trt_bf16_enable": settings.precision == "bf16",
        "trt_int8_enable": quantized,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": engines,
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": engines,
        "trt_profile_min_shapes": _shapes(_SHORTEST),
        "trt_profile_opt_shapes": _shapes(_TYPICAL),
        "trt_profile_max_shapes": _shapes(_LONGEST),
    }


def _shapes(n_frames: int) -> str:
    return f"x:1x{n_frames}x{N_MELS},x_lens:1"


def version() -> str:
    return f"TensorRT {tensorrt.__version__} in {onnxruntime_version()}"
