"""A CTC model of Hugging Face as an ONNX file on raw samples; in a process of its own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workers.data.text import write_tokens
from workers.export.names import SAMPLES_MODEL, SAMPLES_TOKENS
from workers.export.onnx import OPSET
from workers.isolated_call import Request
from workers.teachers.huggingface import huggingface_ctc

_EXAMPLE_S = 2


class _Logits(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor) -> Tensor:
        logits: Tensor = self.network(samples).logits
        return logits


def write(request: Request) -> dict[str, bool]:
    """Write the model `name` and its tokens into `folder`.

    Returns:
        whether it hears samples as they were recorded, or of mean 0 and variance 1.

    Raises:
        TeacherFault: when it is no CTC model.
        MissingExtra: naming the extra.
    """
    folder = Path(request["folder"])
    model = huggingface_ctc(request["name"])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of shapes made constant; it runs over several lengths
        torch.onnx.export(
            _Logits(model.network).eval(),
            (torch.randn(1, _EXAMPLE_S * 16_000),),
            str(folder / SAMPLES_MODEL),
            dynamo=False,
            opset_version=OPSET,
            input_names=["samples"],
            output_names=["logits"],
            dynamic_axes={"samples": {1: "n"}, "logits": {1: "T"}},
        )
    write_tokens(model.symbols, folder / SAMPLES_TOKENS)
    return {"as_recorded": not model.normalises}
