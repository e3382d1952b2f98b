"""LiteRT (TensorFlow Lite) with XNNPACK: a graph for each of a few lengths, over the same weights.

XNNPACK wants shapes that stay as they are. An utterance is padded to the next length, and the
network is told how much of it counts; each length is a signature of the one file.
"""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from workers.backends.base import OperatorTime, Settings, Source
from workers.data.features import N_MELS
from workers.errors import UserFault

_SIGNATURE = "frames_"


class LitertSession:
    """One interpreter with a runner for each length."""

    def __init__(self, model: Path, interpreter: Interpreter) -> None:
        names = [n for n in interpreter.get_signature_list() if n.startswith(_SIGNATURE)]
        if not names:
            raise ValueError("it has no signature for utterances")
        lengths = sorted(int(name.removeprefix(_SIGNATURE)) for name in names)
        self._runners: dict[int, Any] = {
            length: interpreter.get_signature_runner(f"{_SIGNATURE}{length}") for length in lengths
        }
        self._model, self._interpreter = model, interpreter

    def run(self, features: np.ndarray) -> np.ndarray:
        n_frames = len(features)
        length = next((n for n in self._runners if n >= n_frames), None)
        if length is None:
            raise UserFault(
                f"{self._model}: an utterance of {n_frames} frames is longer than the longest "
                f"that it was prepared for, {max(self._runners)}"
            )
        padded = np.zeros((1, length, N_MELS), np.float32)
        padded[0, :n_frames] = features
        outputs = self._runners[length](x=padded, x_lens=np.array([n_frames], np.int32))
        log_probs: np.ndarray = next(iter(outputs.values()))[0, : -(-n_frames // 4)]
        return log_probs

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:  # noqa: ARG002
        """None: LiteRT's profiler is not to be had from Python."""
        return None

    def close(self) -> None:
        self._runners.clear()
        self._interpreter = None


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """`model.tflite`, for each of `source.lengths` in turn (some 4 to 9 s each).

    Raises:
        UserFault: without a network to convert, or without lengths.
    """
    if source.network is None or not source.lengths:
        raise UserFault("LiteRT is prepared from a checkpoint, for utterances of given lengths")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    target = folder / "model.tflite"
    _converted(source.network, source.lengths).export(str(target))
    if source.format != "fp32":
        target.write_bytes(_quantized(target, source.format))
    _strip(target)
    return (target.name,)


def _converted(checkpoint: Path, lengths: tuple[int, ...]) -> Any:
    import litert_torch
    import torch
    from torch.nn import functional as F

    from workers.checkpoint import load_network
    from workers.students.base import Student
    from workers.students.blocks.fold import fold_norms

    class WholeStudent(torch.nn.Module):
        """Log-probabilities float32 [1, T', V] of raw log-mels, as in the ONNX file."""

        def __init__(self, network: Student) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor, x_lens: torch.Tensor) -> torch.Tensor:
            features = self.network.normalise(x)
            return F.log_softmax(self.network(features, x_lens).logits, -1)

    student = WholeStudent(fold_norms(load_network(checkpoint)[0])).eval()
    converter = litert_torch.Converter()
    for length in lengths:
        example = {
            "x": torch.zeros(1, length, N_MELS),
            "x_lens": torch.tensor([length], dtype=torch.int32),
        }
        converter.add_signature(f"{_SIGNATURE}{length}", student, sample_kwargs=example)
    return converter.convert()


def _quantized(model: Path, number_format: str) -> bytes:
    """Weights in 8 bits, those of matrix products in 4 for int4, activations as they come;
    or weights in fp16, computed in float32."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer, kinds = Quantizer(str(model)), qtyping.TFLOperationName
    if number_format == "fp16":
        half = qtyping.TensorQuantizationConfig(16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        quantizer.update_quantization_recipe(
            ".*", kinds.ALL_SUPPORTED, config, AlgorithmName.FLOAT_CASTING
        )
    else:
        quantizer.add_dynamic_config(".*", kinds.ALL_SUPPORTED, num_bits=8)
        if number_format == "int4":
            quantizer.add_dynamic_config(".*", kinds.FULLY_CONNECTED, num_bits=4)
    return bytes(quantizer.quantize().quantized_model)


def _strip(model: Path) -> None:
    """Leave out the names of tensors, which are a fifth of a quantized file and more."""
    from ai_edge_litert.tools import flatbuffer_utils

    content = flatbuffer_utils.read_model(str(model))
    signatures = content.signatureDefs
    flatbuffer_utils.strip_strings(content)  # the signatures as well
    content.signatureDefs = signatures
    flatbuffer_utils.write_model(content, str(model))


def open_session(model: Path, settings: Settings) -> LitertSession:
    """Load a file that `prepare` wrote.

    Raises:
        UserFault: when it is none.
    """
    if not model.is_file():
        raise UserFault(f"{model}: no such model")
    try:
        interpreter = Interpreter(str(model), num_threads=settings.threads)
        return LitertSession(model, interpreter)
    except (ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise UserFault(f"{model}: LiteRT cannot load it ({reason})") from error


def version() -> str:
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"
