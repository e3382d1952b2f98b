"""Exports a student to ONNX in the contract of sherpa-onnx's zipformer CTC recognizer.

Inputs x float32 [N, T, 80] and x_lens int64 [N]; outputs log_probs float32 [N, T', V] and
log_probs_lens int64 [N]. Normalisation is in the graph.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.backends.base import open_session
from workers.data.prepare import SUBSAMPLING
from workers.errors import ParityError
from workers.students.layers import fold_norms

OPSET = 17
_TOLERANCE = 1e-3  # of log-probabilities in float32


class Contract(nn.Module):
    """A student as the contract wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.frontend.normalise(x)  # type: ignore[union-attr,operator]
        output = self.network(features, x_lens)
        return F.log_softmax(output.logits, -1), output.lengths


def export_onnx(network: nn.Module, symbols: tuple[str, ...], path: Path) -> None:
    """Write a float32 ONNX file of a network in evaluation mode."""
    contract = Contract(fold_norms(network)).eval()
    example = torch.randn(2, 120, 80), torch.tensor([120, 90])
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns of shapes made constant; parity over several lengths is the check.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            contract,
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["x", "x_lens"],
            output_names=["log_probs", "log_probs_lens"],
            dynamic_axes={
                "x": {0: "N", 1: "T"},
                "x_lens": {0: "N"},
                "log_probs": {0: "N", 1: "T_out"},
                "log_probs_lens": {0: "N"},
            },
        )
    model = onnx.load(str(path))
    onnx.helper.set_model_props(
        model,
        {
            "model_type": "zipformer2_ctc",
            "version": "1",
            "model_author": "compression-search",
            "comment": str(network.dims.family),  # type: ignore[union-attr]
            "vocab_size": str(len(symbols)),
            "subsampling_factor": str(SUBSAMPLING),
        },
    )
    onnx.save(model, str(path))


def check_parity(network: nn.Module, path: Path, utterances: list[np.ndarray]) -> float:
    """Largest difference of log-probabilities between file and network on real features.

    Args:
        utterances: float32 [T, 80] each, of several lengths.

    Raises:
        ParityError: when they disagree.
    """
    contract = Contract(network).eval()
    session = open_session("onnxruntime", path)
    differences = [0.0]
    for features in utterances:
        with torch.inference_mode():
            x = torch.from_numpy(np.array(features))[None]
            wanted, lengths = contract(x, torch.tensor([len(features)]))
        got = session.run(np.ascontiguousarray(features))
        if got.shape != tuple(wanted.shape[1:]) or len(got) != int(lengths[0]):
            raise ParityError(
                f"{path.name}: shape {got.shape} instead of {tuple(wanted.shape[1:])}"
            )
        differences.append(float(np.abs(got - wanted[0].numpy()).max()))
    worst = float(np.max(differences))  # NaN if any is, and then no parity
    if not worst <= _TOLERANCE:
        raise ParityError(
            f"{path.name}: differs from its network by {worst:.2e} in log-probability"
        )
    return worst
