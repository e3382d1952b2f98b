"""Of every student family, pruning removes whole units, those that matter least, and only those."""

from __future__ import annotations

import pytest
import torch
from networks import DIMS, SYMBOLS, WIDTH, close, lively, log_mels, output, shapes
from torch import nn

from spaces.families import Conformer, Dims, DsconvLstm, Recurrent, SeparableConv
from workers.compress.pruning.prune import prune
from workers.students.base import build
from workers.students.narrow import entries


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_a_pruned_network_is_built_like_any_of_its_dims(network: nn.Module, ratio: float) -> None:
    pruned = prune(network, ratio)
    wanted = network.dims.pruned(ratio)
    assert pruned.dims == wanted
    assert wanted.channels == max(8, round(WIDTH * (1 - ratio) / 8) * 8)
    assert shapes(pruned) == shapes(build(wanted, len(SYMBOLS)))
    assert torch.isfinite(output(pruned.eval(), log_mels(50)).logits).all()


def test_pruning_leaves_its_parent_as_it_was(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prune(network, 0.5)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_pruning_nothing_keeps_every_output(network: nn.Module) -> None:
    same = prune(network, 0.0).eval()
    assert same.dims == network.dims
    assert torch.equal(output(same, log_mels(77)).logits, output(network, log_mels(77)).logits)


@pytest.mark.parametrize(
    "dims",
    [
        SeparableConv(channels=100),
        Conformer(channels=20, feed_forward=100, heads=3),
        DsconvLstm(channels=36, hidden=50),
        Recurrent(channels=9, hidden=12),
    ],
    ids=lambda dims: dims.family,
)
def test_pruning_nothing_keeps_widths_of_any_size(dims: Dims) -> None:
    assert dims.pruned(0.0) == dims


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.3, 0.5, 0.7, 0.94])
@pytest.mark.parametrize("name", DIMS)
def test_pruning_more_never_leaves_more(name: str, ratio: float) -> None:
    dims, more = DIMS[name], min(0.94, ratio + 0.2)
    kept, fewer = dims.pruned(ratio).model_dump(), dims.pruned(more).model_dump()
    for width in ("channels", "hidden", "feed_forward", "heads"):
        if width in kept:
            assert 1 <= fewer[width] <= kept[width] <= dims.model_dump()[width]
    same = {
        "family",
        "blocks",
        "kernel",
        "context",
        "slower",
        "decoders",
        "repeats",
        "squeeze",
        "layers",
        "cell",
        "bidirectional",
        "head_size",
        "dropout",
    }
    assert all(kept[k] == v for k, v in dims.model_dump().items() if k in same)


# Layer norms see every channel, so of attention's families with 8 channels, which all stay, the
# heads and the feed-forward units are tried.
NARROW = {"channels": 8, "blocks": 2, "heads": 4, "head_size": 4, "feed_forward": 32, "kernel": 3}
TO_PRUNE = {
    name: type(dims)(**NARROW) if isinstance(dims, Conformer) else dims
    for name, dims in DIMS.items()
}


@pytest.mark.parametrize("name", TO_PRUNE)
def test_units_that_do_nothing_are_the_ones_removed(name: str) -> None:
    network = lively(TO_PRUNE[name], seed=3)
    wanted = build(network.dims.pruned(0.5), len(SYMBOLS)).groups()
    state, n_removed = network.state_dict(), 0
    for group, target in zip(network.groups(), wanted, strict=True):
        useless = torch.randperm(group.size)[: group.size - target.size]
        n_removed += len(useless)
        for piece in group.slices:
            state[piece.tensor].index_fill_(piece.axis, entries(piece, group.size, useless), 0.0)
    assert n_removed > 0
    network.load_state_dict(state)
    pruned = prune(network, 0.5).eval()
    for n_frames in (40, 101):
        whole = output(network, log_mels(n_frames)).logits
        assert close(output(pruned, log_mels(n_frames)).logits, whole)
