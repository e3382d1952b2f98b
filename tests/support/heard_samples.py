"""A network of ours as an ONNX model on raw samples, as wav2vec 2.0 and HuBERT are exported: the
filter bank is part of the graph, its windows and Fourier transform one convolution."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spaces.front_end import USUAL
from workers.data.features_numpy import _mel_banks, _povey  # the very same numbers
from workers.students.base import Student
from workers.students.blocks.fold import fold_norms

_WINDOW, _SHIFT, _FFT = 400, 160, 512
_BEFORE = (_WINDOW - _SHIFT) // 2


class OnSamples(nn.Module):
    """Samples [1, n] to log-probabilities [1, T', V]."""

    def __init__(self, network: Student) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("basis", torch.from_numpy(_basis())[:, None])
        self.register_buffer("banks", torch.from_numpy(_mel_banks(USUAL)))

    def forward(self, samples: Tensor) -> Tensor:
        padded = F.pad(samples[:, None], (_BEFORE, _WINDOW), mode="reflect")
        spectrum = F.conv1d(padded, self.basis, stride=_SHIFT)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = (real**2 + imaginary**2).transpose(1, 2)
        features = torch.log(torch.clamp(power @ self.banks, min=torch.finfo(torch.float32).eps))
        n_frames = (samples.shape[1] + _SHIFT // 2) // _SHIFT
        features = self.network.normalise(features[:, :n_frames])
        lengths = torch.full((1,), features.shape[1])
        return F.log_softmax(self.network(features, lengths).logits, -1)


def _basis() -> np.ndarray:
    """float32 [2 * 256, 400]: mean off, pre-emphasis, window and Fourier transform in one."""
    eye = np.eye(_WINDOW)
    centred = eye - 1 / _WINDOW
    before = np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
    windowed = (centred - 0.97 * before) * _povey(_WINDOW)
    spectrum = np.fft.rfft(windowed, _FFT)[:, : _FFT // 2]
    return np.concatenate([spectrum.real, spectrum.imag], axis=1).T.astype(np.float32)


def write_on_samples(network: Student, path: Path) -> None:
    """The model of a network in evaluation mode."""
    model = OnSamples(fold_norms(network)).eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.randn(1, 32_000) * 0.1,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["samples"],
            output_names=["log_probs"],
            dynamic_axes={"samples": {0: "N", 1: "n"}, "log_probs": {0: "N", 1: "T"}},
        )
