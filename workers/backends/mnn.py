"""MNN, from the ONNX file."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# The converter itself: the mere import of MNN.tools lets pip install a client that reports its use.
import _tools
import MNN
import numpy as np
import onnx

from workers.backends.base import OperatorTime, Settings, Source
from workers.errors import UserFault

_INPUTS, _OUTPUTS = ["x", "x_lens"], ["log_probs"]
# A recurrent layer stays one operator, or becomes a loop: three times slower, but only its matrix
# products can be stored in 8 and 4 bits.
_ONE_OPERATOR = "--useOriginRNNImpl"
_FLAGS = {
    "fp32": [_ONE_OPERATOR],
    "fp16": [_ONE_OPERATOR, "--fp16"],
    "int8": ["--weightQuantBits", "8"],
    "int4": ["--weightQuantBits", "4", "--weightQuantBlock", "32"],
}


class MnnSession:
    """One module; shapes may change from call to call."""

    def __init__(self, model: Path, settings: Settings) -> None:
        self._model = model
        self._config = {"backend": "CPU", "numThread": settings.threads, "precision": "high"}
        # What is asked of the loader itself is not heeded: it ran four threads for one.
        runtime = MNN.nn.create_runtime_manager((self._config,))
        self._module = MNN.nn.load_module_from_file(
            str(model), _INPUTS, _OUTPUTS, runtime_manager=runtime, shape_mutable=True
        )

    def run(self, features: np.ndarray) -> np.ndarray:
        n_frames = len(features)
        x = MNN.expr.const(features, [1, *features.shape], MNN.expr.NCHW, MNN.expr.float)
        lengths = MNN.expr.const(np.array([n_frames], np.int32), [1], MNN.expr.NCHW, MNN.expr.int)
        log_probs: np.ndarray = self._module.forward([x, lengths])[0].read()
        return log_probs[0].copy()

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """By callbacks around every operator; None for models with loops, which have none."""
        interpreter = MNN.Interpreter(str(self._model))
        session = interpreter.createSession(self._config)
        values = (features[None], np.array([len(features)], np.int32))
        kinds = (MNN.Halide_Type_Float, MNN.Halide_Type_Int)
        tensors = [interpreter.getSessionInput(session, name) for name in _INPUTS]
        for tensor, value in zip(tensors, values, strict=True):
            interpreter.resizeTensor(tensor, value.shape)
        interpreter.resizeSession(session)
        for tensor, value, kind in zip(tensors, values, kinds, strict=True):
            tensor.copyFrom(MNN.Tensor(value.shape, kind, value, MNN.Tensor_DimensionType_Caffe))
        return _operator_times(interpreter, session, runs)

    def close(self) -> None:
        self._module = None


def _operator_times(interpreter: Any, session: Any, runs: int) -> list[OperatorTime] | None:
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    began = [0.0]

    def before(_tensors: object, _operator: Any) -> bool:
        began[0] = time.perf_counter()
        return True

    def after(_tensors: object, operator: Any) -> bool:
        duration = time.perf_counter() - began[0]
        spent[operator.getName(), operator.getType()].append(duration * 1000)
        return True

    for _ in range(runs + 1):
        interpreter.runSessionWithCallBackInfo(session, before, after)
    times = [OperatorTime(name, kind, sum(each[1:]) / runs) for (name, kind), each in spent.items()]
    return sorted(times, key=lambda t: -t.time_ms) or None


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """Convert the ONNX file, its weights in half floats or in 8 or 4 bits as the recipe says."""
    target = folder / "model.mnn"
    with TemporaryDirectory() as temporary:
        single = Path(temporary) / "model.onnx"
        onnx.save(_for_one_utterance(onnx.load(str(source.onnx))), str(single))
        files = ["--modelFile", str(single), "--MNNModel", str(target)]
        _tools.mnnconvert(
            ["mnnconvert", "-f", "ONNX", *files, "--bizCode", "MNN"] + _FLAGS[source.format]
        )
    if not target.is_file():  # what the converter returns is true also when it failed
        raise UserFault(f"{source.onnx}: MNN cannot convert it")
    return (target.name,)


def _for_one_utterance(model: onnx.ModelProto) -> onnx.ModelProto:
    """Recurrent layers without lengths, which MNN has not: one utterance has no padding."""
    place = 4  # of sequence_lens among the inputs of LSTM and GRU
    for node in model.graph.node:
        if node.op_type in ("LSTM", "GRU") and len(node.input) > place:
            node.input[place] = ""
    return model


def open_session(model: Path, settings: Settings) -> MnnSession:
    """Load a converted file.

    Raises:
        UserFault: when MNN cannot load it.
    """
    try:
        return MnnSession(model, settings)
    except SystemError as error:
        raise UserFault(f"{model}: MNN cannot load it") from error


def version() -> str:
    return f"MNN {MNN.version()}"
