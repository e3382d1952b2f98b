"""Of every student family, a slice of a larger network is a network of its own dimensions, whose
parameters are the larger one's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import DIMS, SYMBOLS, close, lively, log_mels, output, shapes
from torch import nn

from spaces.axes import Value
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
from workers.checkpoint import load_supernet, save_network, save_supernet
from workers.students.base import Output, Targets, build
from workers.students.slicing import NetworkSlice, slice_of
from workers.students.supernet import Supernet

BOTH_WAYS = {"layers": 2, "bidirectional": True}
# A large network, and students of its family with what must not come from it: nothing, or parts of
# tensors' names.
CASES: dict[str, tuple[Dims, dict[str, Value], tuple[str, ...]]] = {
    "separable_conv": (
        SeparableConv(channels=64, blocks=3, kernel=9),
        {"channels": 40, "blocks": 2, "kernel": 5},
        (),
    ),
    "separable_conv, wide": (
        SeparableConv(channels=64, blocks=3, kernel=7, expand=2),
        {"channels": 24, "expand": 1.5},
        (),
    ),
    "separable_conv, not wide": (
        SeparableConv(channels=64, blocks=2, kernel=7, expand=2),
        {"channels": 24, "expand": 1},
        ("encoder.0.pointwise", "encoder.1.pointwise"),
    ),
    "conformer": (
        Conformer(channels=48, blocks=3, heads=4, head_size=16, feed_forward=96, kernel=7),
        {"channels": 24, "blocks": 1, "heads": 2, "head_size": 8, "feed_forward": 40, "kernel": 3},
        (),
    ),
    "conformer, few attended": (
        Conformer(channels=48, blocks=2, heads=2, feed_forward=64, kernel=3, attended=0.5),
        {"channels": 24, "feed_forward": 32},
        (),
    ),
    "zipformer": (
        Zipformer(channels=48, blocks=4, heads=2, feed_forward=64, kernel=7),
        {"channels": 24, "blocks": 3, "feed_forward": 40},
        (),
    ),
    "paraformer": (
        Paraformer(channels=48, blocks=2, heads=2, feed_forward=64, kernel=7, decoders=2),
        {"channels": 24, "blocks": 1, "feed_forward": 40, "decoders": 1},
        (),
    ),
    "citrinet": (
        Citrinet(channels=48, blocks=3, repeats=2, kernel=7),
        {"channels": 32, "blocks": 2, "kernel": 5},
        (),
    ),
    "wav2letter": (
        Wav2Letter(channels=48, blocks=3, kernel=7),
        {"channels": 32, "kernel": 5},
        (),
    ),
    "dense": (Dense(channels=48, blocks=2), {"channels": 32, "context": 21}, ()),
    "dsconv_lstm": (
        DsconvLstm(channels=48, blocks=3, kernel=7, hidden=40, layers=2),
        {"channels": 32, "blocks": 1, "kernel": 5, "hidden": 24},
        (),
    ),
    "dsconv_lstm, fewer layers": (
        DsconvLstm(channels=48, blocks=2, kernel=5, hidden=40, **BOTH_WAYS),
        {"hidden": 16, "layers": 1},
        ("head.weight",),
    ),
    "gru": (Recurrent(channels=40, hidden=48, layers=2), {"channels": 24, "hidden": 16}, ()),
    "lstm, both ways": (
        Recurrent(cell="lstm", channels=40, hidden=48, **BOTH_WAYS),
        {"channels": 24, "hidden": 16},
        (),
    ),
    "lstm, one way": (
        Recurrent(cell="lstm", channels=40, hidden=48, **BOTH_WAYS),
        {"hidden": 16, "bidirectional": False},
        ("layers.1.rnn.weight_ih", "head.weight"),
    ),
    "another cell": (
        Recurrent(cell="lstm", channels=40, hidden=48, layers=1),
        {"cell": "gru", "hidden": 32},
        ("layers.0.rnn",),
    ),
}


def _with(dims: Dims, changes: Mapping[str, Value]) -> Dims:
    return dims.model_copy(update=dict(changes))


def _said(part: nn.Module | NetworkSlice, *utterances: np.ndarray) -> Output:
    network = part.network if isinstance(part, NetworkSlice) else part
    lengths = torch.tensor([len(u) for u in utterances])
    batch = torch.zeros((len(utterances), int(lengths.max()), 80))
    for row, utterance in enumerate(utterances):
        batch[row, : len(utterance)] = torch.from_numpy(utterance)
    return part(network.frontend.normalise(batch), lengths)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks as small as these gain nothing from more
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Dims, tuple[str, ...]]:
    dims, changes, foreign = CASES[request.param]
    return copy.deepcopy(_lively(request.param)), _with(dims, changes), foreign


@cache
def _lively(name: str) -> nn.Module:
    return lively(CASES[name][0])


def test_a_materialised_slice_says_what_the_slice_says_of_the_shared_parameters(case) -> None:
    large, dims, _ = case
    utterances = [log_mels(90), log_mels(41, seed=1)]
    found = slice_of(large, dims)
    viewed = _said(found, *utterances).logits.detach()
    student = found.materialised()
    assert shapes(student) == shapes(build(dims, len(SYMBOLS)))
    assert close(output(student, *utterances).logits, viewed)


def test_a_slice_says_and_learns_the_same_in_training(case) -> None:
    large, dims, _ = case
    utterances = [log_mels(90), log_mels(41, seed=1)]
    large, dims = large.train(), dims.model_copy(update={"dropout": 0.0})
    found = slice_of(large, dims)
    student = slice_of(large, dims).materialised().train()
    for part in (found, student):
        _said(part, *utterances).logits.square().mean().backward()
    assert close(_said(found, *utterances).logits, _said(student, *utterances).logits)
    alone = dict(student.named_parameters())
    reached = {n: p.grad for n, p in large.named_parameters() if p.grad is not None}
    assert {name for name in found.shared if name in alone and alone[name].grad is not None} == set(
        reached
    )
    for name, gradient in reached.items():  # what a slice has not is left alone
        assert torch.isclose(gradient.norm(), alone[name].grad.norm(), rtol=1e-4)


def test_what_lies_in_other_groups_is_not_shared(case) -> None:
    large, dims, foreign = case
    found = slice_of(large, dims)
    names = [name for name, _ in found.network.named_parameters()]
    own = {name for name in names if name not in found.shared}
    assert own == {name for name in names if any(part in name for part in foreign)}
    sizes = {name: p.numel() for name, p in found.network.named_parameters()}
    n_own = sum(sizes[name] for name in own)
    assert found.share == pytest.approx(1 - n_own / sum(sizes.values()))
    assert 0 < found.share < 1 if foreign else found.share == 1


@pytest.mark.parametrize("name", DIMS)
def test_the_slice_of_all_dimensions_is_the_network_itself(name: str) -> None:
    network = lively(DIMS[name])
    found = slice_of(network, network.dims)
    own = dict(network.named_parameters())
    assert all(found.shared[name] is parameter for name, parameter in own.items())
    same = found.materialised()
    assert all(
        torch.equal(tensor, network.state_dict()[name])
        for name, tensor in same.state_dict().items()
    )
    assert torch.equal(output(same, log_mels(77)).logits, output(network, log_mels(77)).logits)


def test_cutting_leaves_the_large_network_and_random_numbers_as_they_were(case) -> None:
    large, dims, _ = case
    before = copy.deepcopy(large.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    student = slice_of(large, dims).materialised().train()
    assert torch.equal(torch.rand(3), expected)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
        _said(slice_of(large.train(), dims), log_mels(60))
    assert all(torch.equal(before[name], tensor) for name, tensor in large.state_dict().items())


def test_a_slice_keeps_the_first_units_of_every_gate_and_the_centre_of_kernels() -> None:
    large = lively(DsconvLstm(channels=32, blocks=1, kernel=9, hidden=16, layers=1))
    student = slice_of(large, DsconvLstm(channels=24, blocks=1, kernel=5, hidden=8)).materialised()
    gates = large.recurrent.layers[0].rnn.weight_hh_l0.view(4, 16, 16)[:, :8, :8].reshape(32, 8)
    assert torch.equal(student.recurrent.layers[0].rnn.weight_hh_l0, gates)
    kernel = large.encoder[0].depthwise.conv.weight[:24, :, :, 2:7]
    assert torch.equal(student.encoder[0].depthwise.conv.weight, kernel)


def test_a_slice_keeps_the_first_entries_of_every_head() -> None:
    large = lively(Conformer(channels=32, blocks=1, heads=3, head_size=8, feed_forward=32))
    dims = Conformer(channels=32, blocks=1, heads=2, head_size=4, feed_forward=32)
    rows = large.encoder[0].attention.query.weight.view(3, 8, 32)[:2, :4].reshape(8, 32)
    student = slice_of(large, dims).materialised()
    assert torch.equal(student.encoder[0].attention.query.weight, rows)


# supernets

CHOICES: dict[str, tuple[Dims, dict[str, tuple[Value, ...]]]] = {
    "separable_conv": (
        SeparableConv(channels=48, blocks=3, kernel=7, expand=2),
        {"channels": (16, 32, 48), "blocks": (2, 3), "kernel": (5, 7), "expand": (1.0, 2.0)},
    ),
    "conformer": (
        Conformer(channels=32, blocks=2, heads=3, head_size=8, feed_forward=48, kernel=7),
        {"channels": (16, 32), "blocks": (1, 2), "heads": (2, 3), "kernel": (3, 7)},
    ),
    "zipformer": (
        Zipformer(channels=32, blocks=4, heads=2, head_size=8, feed_forward=48, kernel=7),
        {"channels": (16, 32), "blocks": (1, 4), "heads": (1, 2), "slower": (2, 4)},
    ),
    "paraformer": (
        Paraformer(channels=32, blocks=2, heads=2, head_size=8, feed_forward=48, kernel=7),
        {"channels": (16, 32), "attended": (0.5, 1.0)},
    ),
    "citrinet": (
        Citrinet(channels=32, blocks=2, kernel=7),
        {"channels": (16, 32), "repeats": (1, 2), "blocks": (1, 2)},
    ),
    "wav2letter": (
        Wav2Letter(channels=32, blocks=3, kernel=7),
        {"channels": (16, 32), "blocks": (2, 3)},
    ),
    "dense": (Dense(channels=32, blocks=3), {"channels": (16, 32), "blocks": (1, 3)}),
    "dsconv_lstm": (
        DsconvLstm(channels=32, blocks=2, kernel=5, hidden=32, **BOTH_WAYS),
        {"hidden": (16, 32), "layers": (1, 2), "bidirectional": (False, True)},
    ),
    "recurrent": (
        Recurrent(cell="gru", channels=32, hidden=32, **BOTH_WAYS),
        {"cell": ("gru", "lstm"), "layers": (1, 2), "bidirectional": (False, True)},
    ),
}


@pytest.fixture(scope="module", params=CHOICES)
def supernet(request: pytest.FixtureRequest) -> Supernet:
    torch.manual_seed(0)
    return Supernet(*CHOICES[request.param], len(SYMBOLS))


def test_a_supernet_holds_the_whole_of_each_of_its_students(supernet: Supernet) -> None:
    rng = np.random.default_rng(0)
    for dims in (supernet.smallest, supernet.dims, *(supernet.random(rng) for _ in range(12))):
        assert supernet.slice(dims).share == 1


def test_students_built_alike_share_what_the_largest_cannot_give_them() -> None:
    largest, choices = CHOICES["separable_conv"]
    supernet = Supernet(largest, choices, len(SYMBOLS))
    narrow = largest.model_copy(update={"channels": 16, "expand": 1.0})
    wide = largest.model_copy(update={"expand": 1.0})
    first, second = supernet.slice(narrow).materialised(), supernet.slice(wide).materialised()
    weight = second.encoder[1].pointwise.linear.weight
    assert torch.equal(first.encoder[1].pointwise.linear.weight, weight[:16, :16])


def test_gradients_of_every_student_reach_the_supernet(supernet: Supernet) -> None:
    supernet.train()
    supernet.zero_grad()
    rng = np.random.default_rng(1)
    features = torch.from_numpy(log_mels(60))[None]
    told = (Targets(torch.tensor([2, 3, 1]), torch.tensor([3])),) if supernet.reads_targets else ()
    for dims in (supernet.dims, *(supernet.random(rng) for _ in range(24))):
        said = supernet.slice(dims)(features, torch.tensor([60]), *told)
        every = (said.logits, said.intermediate, said.own_loss)
        parts = [part for part in every if part is not None]
        sum(part.square().mean() for part in parts).backward()
    without = [name for name, p in supernet.named_parameters() if p.grad is None]
    assert without == []


def test_a_supernet_comes_back_from_its_checkpoint(supernet: Supernet, tmp_path: Path) -> None:
    path = tmp_path / "supernet.safetensors"
    save_supernet(supernet, SYMBOLS, path)
    again, symbols = load_supernet(path)
    assert symbols == SYMBOLS
    rng = np.random.default_rng(2)
    for dims in (supernet.smallest, supernet.random(rng)):
        before, after = (s.slice(dims).materialised().eval() for s in (supernet, again))
        assert torch.equal(output(after, log_mels(50)).logits, output(before, log_mels(50)).logits)


def test_what_is_no_supernet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "supernet.safetensors"
    with pytest.raises(ValueError, match=r"supernet\.safetensors: is not a supernet"):
        load_supernet(path)
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    with pytest.raises(ValueError, match="is not a supernet of this program"):
        load_supernet(path)
    save_network(build(DIMS["gru"], len(SYMBOLS)), SYMBOLS, path)
    with pytest.raises(ValueError, match="its header names another format"):
        load_supernet(path)
