"""A small untrained student to calibrate a device with: always the same one."""

from __future__ import annotations

from pathlib import Path

import torch

from spaces.families import SeparableConv
from workers.checkpoint import save_network
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx
from workers.students.base import build

_SYMBOLS = ("<blk>", *"abcdefghijklmnopqrstuvwxyz", "▁")
MODEL, NETWORK, TOKENS = "model.onnx", "network.safetensors", "tokens.txt"


def write(request: dict[str, str]) -> None:
    """Write its ONNX file, checkpoint and tokens into `folder`; runs in a process of its own."""
    folder = Path(request["folder"])
    torch.manual_seed(0)
    network = build(SeparableConv(channels=96, blocks=4, kernel=9), len(_SYMBOLS))
    network.eval()
    export_onnx(network, _SYMBOLS, folder / MODEL)
    save_network(network, _SYMBOLS, folder / NETWORK, job="calibrate")
    write_tokens(_SYMBOLS, folder / TOKENS)
