"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from workers.errors import UserFault

ort.set_default_logger_severity(3)


class OnnxSession:
    """One session; inputs by order, as sherpa-onnx takes them."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs = [i.name for i in session.get_inputs()]
        self._output = session.get_outputs()[0].name

    def run(self, features: np.ndarray) -> np.ndarray:
        feed = {
            self._inputs[0]: features[None],
            self._inputs[1]: np.array([len(features)], np.int64),
        }
        log_probs: np.ndarray = self._session.run([self._output], feed)[0][0]
        return log_probs


def open_session(model: Path, threads: int) -> OnnxSession:
    """Load a file of the contract: features and lengths in, log-probabilities out.

    Raises:
        UserFault: when the file is no such model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _graph_level(model)
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise UserFault(f"{model}: ONNX Runtime cannot load it ({reason})") from error
    _check_contract(model, session)
    return OnnxSession(session)


def _graph_level(model: Path) -> ort.GraphOptimizationLevel:
    """Full optimisation, but not for fp16 recurrent nets, which crash there (1.24 to 1.31)."""
    content = model.read_bytes() if model.is_file() else b""
    if (b"LSTM" in content or b"GRU" in content) and _is_fp16_recurrent(content):
        return ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def _is_fp16_recurrent(content: bytes) -> bool:
    import onnx

    try:
        graph = onnx.load_from_string(content).graph
    except Exception:  # no model at all: the session says so
        return False
    half = {i.name for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    return any(n.op_type in ("LSTM", "GRU") and half.intersection(n.input) for n in graph.node)


def _check_contract(model: Path, session: ort.InferenceSession) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    form = [(i.type, len(i.shape)) for i in inputs]
    if form != [("tensor(float)", 3), ("tensor(int64)", 1)]:
        raise UserFault(
            f"{model}: takes {[(i.name, i.type, i.shape) for i in inputs]}; the contract is "
            "float features [N, T, 80] and int64 lengths [N]"
        )
    n_mels = inputs[0].shape[2]
    if isinstance(n_mels, int) and n_mels != 80:
        raise UserFault(f"{model}: takes {n_mels} mel bins; the contract is 80")
    if outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 3:
        raise UserFault(f"{model}: its first output is not float log-probabilities [N, T', V]")
