"""Does an exported file compute what its network does?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from workers.backends.base import open_session
from workers.backends.windows import SILENCE
from workers.errors import ParityError
from workers.export.onnx import ExportedForm
from workers.students.base import Student

_TOLERANCE = 1e-3  # of log-probabilities in float32


def _in_whole_windows(features: np.ndarray, network: Student) -> np.ndarray:
    """With so much silence behind it that all before was heard with its look ahead."""
    assert network.chunks is not None
    rate = network.dims.contract.subsampling_factor
    chunk, ahead = network.chunks.chunk * rate, network.chunks.ahead * rate
    padded = np.full((-(-len(features) // chunk) * chunk + ahead, features.shape[1]), SILENCE)
    padded[: len(features)] = features
    return padded.astype(np.float32)


def check_parity(network: Student, path: Path, utterances: list[np.ndarray]) -> float:
    """Largest difference of log-probabilities between file and network on real features.

    Args:
        utterances: float32 [T, 80] each, of several lengths.

    Raises:
        ParityError: when they disagree.
    """
    form = ExportedForm(network).eval()
    session = open_session("onnxruntime", path)
    differences = [0.0]
    for features in utterances:
        if network.chunks is not None:
            features = _in_whole_windows(features, network)
        with torch.inference_mode():
            x = torch.from_numpy(np.array(features))[None]
            wanted, lengths = form(x, torch.tensor([len(features)]))
        got = session.run(np.ascontiguousarray(features))
        if network.chunks is not None:  # beyond, one hears silence and the other nothing
            n_frames = int(lengths[0]) - network.chunks.ahead
            got, wanted, lengths = got[:n_frames], wanted[:, :n_frames], torch.tensor([n_frames])
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
