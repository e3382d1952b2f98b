"""Exports a student to ONNX in the contract of sherpa-onnx's zipformer CTC recognizer.

Inputs x float32 [N, T, mels] and x_lens int64 [N]; outputs log_probs float32 [N, T', V] and
log_probs_lens int64 [N]. Normalisation is in the graph.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.students.base import Student
from workers.students.blocks.fold import fold_norms

OPSET = 17


class ExportedForm(nn.Module):
    """A student as the contract wants it: raw log-mels in, log-probabilities out."""

    def __init__(self, network: Student) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.normalise(x)
        output = self.network(features, x_lens)
        return F.log_softmax(output.logits, -1), output.lengths


def export_onnx(network: Student, symbols: tuple[str, ...], path: Path) -> None:
    """Write a float32 ONNX file of a network in evaluation mode that hears whole utterances."""
    form = ExportedForm(fold_norms(network)).eval()
    example = torch.randn(2, 120, network.dims.front_end.mels), torch.tensor([120, 90])
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns of shapes made constant; parity over several lengths is the check.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            form,
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
            "comment": network.dims.family,
            "vocab_size": str(len(symbols)),
            "subsampling_factor": str(
                network.dims.contract.subsampling_factor // network.dims.written_per_frame
            ),
        },
    )
    onnx.save(model, str(path))
