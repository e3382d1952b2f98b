"""Of every student family, weights that were rounded in training are those that ship, layers that
suffer are found, and evening channels out changes nothing that is said."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from networks import SYMBOLS, log_mels
from onnx import numpy_helper
from torch import nn

from spaces.recipe import Quantize
from workers.backends.base import open_session
from workers.compress.quantization.equalise import equalise
from workers.compress.quantization.quantize import quantize
from workers.compress.quantization.rounding import (
    rounded_to_int4,
    rounded_to_int8,
    rounded_to_uint8,
    rounding_of,
)
from workers.export.onnx import export_onnx
from workers.export.sensitivity import sensitivities
from workers.train.quantization import Rounded

CALIBRATION = [log_mels(120 + 10 * i, seed=50 + i) for i in range(6)]
LENGTHS = (150, 233)


def _whole(scheme: str, **changes: object) -> Quantize:
    parts = dict.fromkeys(("frontend", "encoder", "head"), scheme)
    return Quantize.model_validate({**parts, **changes})


def _said(path: Path) -> np.ndarray:
    session = open_session("onnxruntime", path)
    return np.concatenate([session.run(log_mels(n, seed=n)) for n in LENGTHS])


@pytest.fixture(scope="module")
def floating(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rounded") / "float.onnx"
    trained = copy.deepcopy(network)
    for module in trained.modules():
        if isinstance(module, nn.LayerNorm):  # alike, they would be written once
            module.weight.data.mul_(1 + 0.2 * torch.randn(module.weight.shape))
            module.bias.data.add_(0.1 * torch.randn(module.bias.shape))
    export_onnx(trained, SYMBOLS, path)
    return path


def test_four_bits_change_nothing_that_was_rounded_to_them(
    network: nn.Module, tmp_path: Path
) -> None:
    rounded_network = copy.deepcopy(network)
    formats = dict.fromkeys(("frontend", "encoder", "head"), "int4")
    rounded = Rounded(rounded_network, rounding_of(rounded_network, formats))
    rounded.settle(rounded_network)
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    export_onnx(rounded_network.eval(), SYMBOLS, before)
    quantize(before, after, _whole("int4"), [])
    wanted, got = _said(before), _said(after)
    agreed = np.mean(wanted.argmax(-1) == got.argmax(-1))
    assert agreed > (0.98 if network.dims.written_per_frame == 1 else 0.9)


def test_gradients_pass_what_is_rounded(network: nn.Module) -> None:
    network = copy.deepcopy(network).train()
    formats = dict.fromkeys(("frontend", "encoder", "head"), "int8_static")
    rounded = Rounded(network, rounding_of(network, formats))
    features = torch.from_numpy(log_mels(60))[None]
    given = (features, torch.tensor([60]))
    said = torch.func.functional_call(network, rounded.tensors(network), given)
    said.logits.square().mean().backward()
    named = dict(network.named_parameters())
    for name in rounded.tensors(network):
        only_after = name.startswith(("halfway", "embed", "decoder", "predictor"))
        if name.startswith("head") and network.dims.written_per_frame > 1:
            continue  # of tokens, which need targets
        assert only_after or named[name].grad is not None, name


def test_evening_channels_out_changes_nothing_that_is_said(floating: Path, tmp_path: Path) -> None:
    even = tmp_path / "even.onnx"
    shutil.copyfile(floating, even)
    n_places = equalise(even, CALIBRATION)
    kinds = {node.op_type for node in onnx.load(str(floating)).graph.node}
    assert n_places > 0 or "LayerNormalization" not in kinds
    np.testing.assert_allclose(_said(even), _said(floating), atol=2e-3)


def test_layers_that_suffer_most_come_first_and_help_when_they_are_kept(
    floating: Path, tmp_path: Path
) -> None:
    scheme = _whole("int4")
    layers = sensitivities(floating, scheme, CALIBRATION)
    told = [layer.divergence for layer in layers]
    assert told == sorted(told, reverse=True)
    assert len(layers) >= 3
    losses = []
    for n_kept in (0, len(layers) // 2):
        target = tmp_path / f"{n_kept}.onnx"
        quantize(floating, target, scheme, [], [layer.name for layer in layers[:n_kept]])
        wanted, got = _said(floating), _said(target)
        losses.append(float((np.exp(wanted) * (wanted - got)).sum(-1).mean()))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("network", ["separable_conv, wide", "conformer"], indirect=True)
@pytest.mark.parametrize("ranges", ["entropy", "percentile"])
def test_ranges_may_be_taken_otherwise(floating: Path, ranges: str, tmp_path: Path) -> None:
    targets = [tmp_path / "usual.onnx", tmp_path / "other.onnx"]
    quantize(floating, targets[0], _whole("int8_static"), CALIBRATION)
    quantize(floating, targets[1], _whole("int8_static", calibration=ranges), CALIBRATION)
    usual, other = map(_said, targets)
    assert not np.array_equal(usual, other)
    assert np.mean(other.argmax(-1) == _said(floating).argmax(-1)) > 0.8


@pytest.mark.parametrize("network", ["separable_conv"], indirect=True)
def test_eight_bit_weights_are_those_that_were_rounded(network: nn.Module, tmp_path: Path) -> None:
    formats = dict.fromkeys(("frontend", "encoder", "head"), "int8_static")
    rounded_network = copy.deepcopy(network)
    Rounded(rounded_network, rounding_of(rounded_network, formats)).settle(rounded_network)
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    export_onnx(rounded_network.eval(), SYMBOLS, before)
    quantize(before, after, _whole("int8_static"), CALIBRATION)
    made = {i.name: numpy_helper.to_array(i) for i in onnx.load(str(after)).graph.initializer}
    n_compared = 0
    for weight in onnx.load(str(before)).graph.initializer:
        values, scale = (made.get(f"{weight.name}_{what}") for what in ("quantized", "scale"))
        if values is None or scale is None or values.ndim < 2:  # a long scale is stored in half
            continue
        last = scale.reshape(-1, *[1] * (values.ndim - 1)) if values.ndim > 2 else scale
        wanted = numpy_helper.to_array(weight)
        np.testing.assert_allclose(values * last, wanted, rtol=1e-3, atol=1e-6)
        n_compared += 1
    assert n_compared > 0


def test_rounding_keeps_what_is_on_its_grid() -> None:
    weight = torch.randn(6, 70)
    for rounded in (rounded_to_int8, rounded_to_int4):
        once = rounded(weight)
        assert torch.allclose(rounded(once), once, atol=1e-6)
        assert not torch.equal(once, weight)
    assert len(rounded_to_uint8(torch.randn(3, 500)).unique()) <= 256
    assert torch.equal(rounded_to_uint8(torch.zeros(4)), torch.zeros(4))
