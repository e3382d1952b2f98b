"""A small network of every family, that has seen data, and what it says."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from spaces.families import (
    Citrinet,
    Conformer,
    Dense,
    Dims,
    DsconvLstm,
    Paraformer,
    Recurrent,
    SeparableConv,
    Wav2Letter,
    Zipformer,
)
from workers.students.base import Output, build

SYMBOLS = ("<blk>", "▁", *"abcdefghij")
WIDTH = 64
DIMS: dict[str, Dims] = {
    "separable_conv": SeparableConv(channels=WIDTH, blocks=2, kernel=5),
    "separable_conv, wide": SeparableConv(channels=WIDTH, blocks=2, kernel=5, expand=2),
    "conformer": Conformer(
        channels=WIDTH, blocks=2, heads=4, head_size=16, feed_forward=2 * WIDTH, kernel=5
    ),
    "conformer, few attended": Conformer(
        channels=WIDTH, blocks=2, heads=4, head_size=16, feed_forward=WIDTH, attended=0.4
    ),
    "zipformer": Zipformer(
        channels=WIDTH, blocks=4, heads=2, head_size=16, feed_forward=WIDTH, kernel=5
    ),
    "paraformer": Paraformer(
        channels=WIDTH, blocks=2, heads=4, head_size=16, feed_forward=2 * WIDTH, kernel=5
    ),
    "citrinet": Citrinet(channels=WIDTH, blocks=2, kernel=5),
    "wav2letter": Wav2Letter(channels=WIDTH, blocks=2, kernel=5),
    "dense": Dense(channels=WIDTH, blocks=2, context=21),
    "dsconv_lstm": DsconvLstm(channels=WIDTH, blocks=1, kernel=5, hidden=WIDTH, layers=2),
    "dsconv_lstm, both ways": DsconvLstm(
        channels=WIDTH, blocks=1, kernel=5, hidden=WIDTH, bidirectional=True
    ),
    "gru": Recurrent(cell="gru", channels=WIDTH, hidden=WIDTH, layers=2),
    "lstm": Recurrent(cell="lstm", channels=WIDTH, hidden=WIDTH, layers=2),
    "gru, both ways": Recurrent(
        cell="gru", channels=WIDTH, hidden=WIDTH, layers=2, bidirectional=True
    ),
    "lstm, both ways": Recurrent(
        cell="lstm", channels=WIDTH, hidden=WIDTH, layers=2, bidirectional=True
    ),
}


def log_mels(n_frames: int, seed: int = 0) -> np.ndarray:
    """float32 [n_frames, 80] with the range and the slow change of log-mels."""
    noise = np.random.default_rng(seed).standard_normal((n_frames + 5, 80))
    slow = np.mean([noise[i : i + n_frames] for i in range(6)], axis=0) * 2.4
    return (slow * 3 - 6).astype(np.float32)


def lively(dims: Dims, seed: int = 0) -> nn.Module:
    """An untrained network that has seen data: every symbol is the best on some frames."""
    torch.manual_seed(seed)
    network = build(dims, len(SYMBOLS))
    for name, parameter in network.named_parameters():
        if "weight_ih" in name:  # fresh recurrent layers say nearly the same of every frame
            parameter.data *= 4
    seen = torch.from_numpy(np.stack([log_mels(240, i) for i in range(4)]))
    lengths = torch.full((4,), 240)
    network.frontend.mean.copy_(seen.mean((0, 1)))
    network.frontend.inv_std.copy_(1 / seen.std((0, 1)))
    with torch.no_grad():
        for _ in range(20):  # the statistics of batch norms settle
            network.train()(network.frontend.normalise(seen), lengths)
        logits = network.eval()(network.frontend.normalise(seen), lengths).logits
        said = logits.flatten(0, 1)
        if dims.written_per_frame > 1:  # the blanks between tokens are no choice
            said = said[said.argmax(-1) != 0]
        network.head.bias -= said.mean(0)
    return network


@torch.inference_mode()
def output(network: nn.Module, *utterances: np.ndarray, padding: float = 0.0) -> Output:
    """What a network says of utterances in one batch, filled up to the longest."""
    lengths = torch.tensor([len(u) for u in utterances])
    batch = torch.full((len(utterances), int(lengths.max()), 80), padding)
    for row, utterance in enumerate(utterances):
        batch[row, : len(utterance)] = torch.from_numpy(utterance)
    return network(network.frontend.normalise(batch), lengths)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=tolerance)


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}
