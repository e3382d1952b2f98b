"""Of every student family, units of all groups may compete, be gated while it is trained, and be
begun with; what is left is a network like any other."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from networks import DIMS, SYMBOLS, close, lively, log_mels, output
from torch import nn

from spaces.families import Conformer, Recurrent
from spaces.front_end import FrontEnd
from workers.checkpoint import load_network, save_network
from workers.compress.pruning.gates import gate_name
from workers.compress.pruning.part import best_part, why_no_part
from workers.compress.pruning.prune import prune, prune_competing, scores_of
from workers.compress.pruning.widths import n_parameters
from workers.export.onnx import export_onnx
from workers.export.parity import check_parity
from workers.students.base import build
from workers.students.narrow import keep_units
from workers.train.evidence.gates import Gates


@pytest.fixture(scope="module")
def competed(network: nn.Module) -> nn.Module:
    return prune_competing(network, network.dims.pruned(0.5), scores_of(network, "l1")).eval()


def test_as_many_parameters_go_as_if_every_group_lost_its_share(
    network: nn.Module, competed: nn.Module
) -> None:
    limit = sum(p.numel() for p in build(network.dims.pruned(0.5), len(SYMBOLS)).parameters())
    left = sum(p.numel() for p in competed.parameters())
    assert 0.75 * limit < left <= limit
    assert competed.dims.widths == tuple(group.size for group in competed.sized_groups())
    assert left == n_parameters(competed, competed.dims.widths)


def test_it_comes_back_from_its_checkpoint_and_is_exported(
    competed: nn.Module, tmp_path: Path
) -> None:
    save_network(competed, SYMBOLS, tmp_path / "competed.safetensors")
    again, _, _ = load_network(tmp_path / "competed.safetensors")
    assert again.dims == competed.dims
    wanted = output(competed, log_mels(90), log_mels(41)).logits
    assert torch.equal(output(again, log_mels(90), log_mels(41)).logits, wanted)
    export_onnx(again, SYMBOLS, tmp_path / "competed.onnx")
    check_parity(again, tmp_path / "competed.onnx", [log_mels(n) for n in (9, 120)])


def test_it_may_be_pruned_again_from_everywhere_or_alike(competed: nn.Module) -> None:
    wanted, scores = competed.dims.pruned(0.4), scores_of(competed, "l1")
    before = sum(p.numel() for p in competed.parameters())
    for further in (prune_competing(competed, wanted, scores), prune(competed, 0.4)):
        pairs = zip(further.dims.widths, competed.dims.widths, strict=True)
        assert all(after <= width for after, width in pairs)
        assert sum(p.numel() for p in further.parameters()) < 0.8 * before
        assert torch.isfinite(output(further.eval(), log_mels(50)).logits).all()


def test_costs_decide_which_units_go(network: nn.Module) -> None:
    groups = network.sized_groups()
    wanted, scores = network.dims.pruned(0.3), [torch.ones(g.size) for g in groups]
    dear = [100.0 if i == len(groups) - 1 else 1.0 for i in range(len(groups))]
    made = prune_competing(network, wanted, scores, dear)
    assert made.dims.widths[-1] < groups[-1].size


@pytest.mark.parametrize("name", DIMS)
def test_a_closed_gate_is_a_unit_removed(name: str) -> None:
    dims = DIMS[name]
    network = lively(dims, seed=5)
    gates = Gates(network, tuple(1.0 for _ in network.sized_groups()))
    groups = network.sized_groups()
    # what a layer norm hears changes with every unit of the stream, which gates leave written
    with_norms = isinstance(dims, Conformer)
    kept = []
    for i, group in enumerate(groups):
        odds = torch.full((group.size,), 50.0)
        if not (with_norms and i == 1):
            odds[torch.randperm(group.size)[: group.size // 2]] = -50.0
        gates.parameters[gate_name(group)].data.copy_(odds)
        kept.append((odds > 0).nonzero().flatten())
    gated, narrow = copy.deepcopy(network), copy.deepcopy(network)
    told = gates.settle(gated)
    keep_units(narrow, groups, kept)
    for group in groups:
        assert torch.equal(told[gate_name(group)] > 0, gates.parameters[gate_name(group)] > 0)
    wanted = output(gated.eval(), log_mels(80)).logits
    assert close(output(narrow.eval(), log_mels(80)).logits, wanted, 1e-4)


def test_gates_get_a_gradient_and_are_charged_for_what_is_open(network: nn.Module) -> None:
    network = copy.deepcopy(network).train()
    gates = Gates(network, tuple(0.5 for _ in network.sized_groups()))
    features = torch.from_numpy(log_mels(60))[None]
    said = torch.func.functional_call(
        network, gates.tensors(network), (features, torch.tensor([60]))
    )
    (said.logits.square().mean() + gates.loss()).backward()
    assert all(
        odds.grad is not None and odds.grad.abs().sum() > 0 for odds in gates.parameters.values()
    )
    assert float(gates.loss().detach()) > 0.2  # nearly all are open at first


def test_a_student_begins_as_the_best_part_of_a_larger_network(network: nn.Module) -> None:
    dims = network.dims.pruned(0.4)
    student, share = best_part(network, dims)
    assert student.dims == dims
    assert share == 1
    same, whole = best_part(network, network.dims)
    assert whole == 1
    wanted = output(network, log_mels(70)).logits
    assert torch.equal(output(same.eval(), log_mels(70)).logits, wanted)


def test_what_is_no_part_is_told_with_the_reason(network: nn.Module, competed: nn.Module) -> None:
    dims = network.dims
    assert why_no_part(dims, dims) is None
    assert why_no_part(dims.pruned(0.5), dims) is None
    wider = dims.model_copy(update={"channels": 2 * dims.channels})
    assert "the student is wider (channels 128 of 64)" in str(why_no_part(wider, dims))
    assert "not of one width" in str(why_no_part(dims, competed.dims))
    heard = dims.model_copy(update={"front_end": FrontEnd(40, 10.0, 16_000)})
    assert why_no_part(heard, dims) == "it hears otherwise"
    other = Recurrent() if dims.family != "recurrent" else Conformer()
    assert why_no_part(other, dims) == f"it is a {dims.family}"
