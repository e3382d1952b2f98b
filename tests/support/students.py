"""One untrained student of each family, and files to time it with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spaces.families import Conformer, Dims, DsconvLstm, Recurrent, SeparableConv
from workers.checkpoint import save_network
from workers.data.features import SAMPLE_RATE_HZ, fbank
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx
from workers.students.base import build

SYMBOLS = ("<blk>", *"abcdefghijklmnopqrstuvwxyz", "▁")
SECONDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
STUDENTS: dict[str, Dims] = {
    "separable_conv": SeparableConv(channels=128, blocks=6, kernel=11, expand=2.0),
    "conformer": Conformer(channels=96, blocks=4, heads=4, head_size=24, feed_forward=384),
    "dsconv_lstm": DsconvLstm(channels=128, blocks=3, hidden=128),
    "recurrent": Recurrent(cell="gru", channels=128, hidden=160, layers=2),
}


@dataclass(frozen=True)
class Made:
    onnx: Path
    network: Path
    tokens: Path
    n_parameters: int


def make(dims: Dims, folder: Path) -> Made:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = build(dims, len(SYMBOLS)).eval()
    made = Made(
        folder / "float.onnx",
        folder / "network.safetensors",
        folder / "tokens.txt",
        sum(p.numel() for p in network.parameters()),
    )
    export_onnx(network, SYMBOLS, made.onnx)
    save_network(network, SYMBOLS, made.network, job="bench")
    write_tokens(SYMBOLS, made.tokens)
    return made


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells and falls at the pace of syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
    return (0.1 * swell * rng.standard_normal(len(t))).astype(np.float32)


def audio_in(folder: Path) -> tuple[str, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, seconds in enumerate(SECONDS):
        paths.append(str(folder / f"{i}.npy"))
        np.save(paths[-1], speech_like(seconds, i))
    return tuple(paths)


def calibration() -> list[np.ndarray]:
    return [fbank(speech_like(3.0, 100 + i)) for i in range(16)]
