"""Of every student family, the exported file says what its network says, with fewer bits too."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from networks import DIMS, SYMBOLS, WIDTH, lively, log_mels, output
from torch import nn

from spaces.recipe import Quantize
from workers.backends.base import open_session
from workers.compress.compact import compact
from workers.compress.pruning.prune import prune
from workers.compress.quantization.quantize import quantize
from workers.errors import ParityError
from workers.export.onnx import export_onnx
from workers.export.parity import check_parity

LENGTHS = (150, 233, 401)


@dataclass(frozen=True)
class Exported:
    network: nn.Module
    path: Path
    best: np.ndarray  # int [all frames]: the best symbol by the float32 file


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("exported") / "float.onnx"
    export_onnx(network, SYMBOLS, path)
    return Exported(network, path, _best(path))


def _best(model: Path) -> np.ndarray:
    session = open_session("onnxruntime", model)
    return np.concatenate([session.run(log_mels(n, seed=n)).argmax(-1) for n in LENGTHS])


# export


def test_the_file_of_a_pruned_network_is_smaller(exported: Exported, tmp_path: Path) -> None:
    pruned = prune(exported.network, 0.5).eval()
    export_onnx(pruned, SYMBOLS, tmp_path / "pruned.onnx")
    assert (tmp_path / "pruned.onnx").stat().st_size < 0.6 * exported.path.stat().st_size
    check_parity(pruned, tmp_path / "pruned.onnx", [log_mels(n) for n in (50, 121)])


def test_an_exported_file_says_what_its_network_says(exported: Exported) -> None:
    utterances = [log_mels(n, seed=n) for n in (1, 2, 3, 4, 5, 17, 120, 121, 300, 1203)]
    assert check_parity(exported.network, exported.path, utterances) < 1e-4


def test_an_exported_file_says_it_of_a_padded_batch_in_any_order(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    lengths = [60, 201, 1, 137]
    batch = np.full((4, 201, 80), -23.0259, np.float32)
    for row, n_frames in enumerate(lengths):
        batch[row, :n_frames] = log_mels(n_frames, seed=n_frames)
    log_probs, n_steps = session.run(None, {"x": batch, "x_lens": np.array(lengths, np.int64)})
    n_written = exported.network.dims.written_per_frame
    assert n_steps.tolist() == [n_written * n for n in (15, 51, 1, 35)]
    assert n_steps.dtype == np.int64
    alone = open_session("onnxruntime", exported.path)
    for row, n_frames in enumerate(lengths):
        wanted = alone.run(log_mels(n_frames, seed=n_frames))
        np.testing.assert_allclose(log_probs[row, : n_steps[row]], wanted, atol=1e-4)
    np.testing.assert_allclose(np.exp(log_probs[1]).sum(-1), 1.0, atol=1e-4)


def test_an_exported_file_says_what_it_is(exported: Exported) -> None:
    model = onnx.load(exported.path)
    assert {p.key: p.value for p in model.metadata_props} == {
        "model_type": "zipformer2_ctc",
        "version": "1",
        "model_author": "compression-search",
        "comment": exported.network.dims.family,
        "vocab_size": str(len(SYMBOLS)),
        "subsampling_factor": str(4 // exported.network.dims.written_per_frame),
    }
    assert [i.name for i in model.graph.input] == ["x", "x_lens"]
    assert [o.name for o in model.graph.output] == ["log_probs", "log_probs_lens"]


def test_an_export_leaves_its_network_as_it_was(network: nn.Module, tmp_path: Path) -> None:
    before = output(network, log_mels(70)).logits
    export_onnx(network, SYMBOLS, tmp_path / "again.onnx")
    assert torch.equal(output(network, log_mels(70)).logits, before)


def test_a_file_of_another_network_is_noticed(exported: Exported) -> None:
    other = copy.deepcopy(exported.network)
    with torch.no_grad():
        other.head.bias[3] += 0.5
    with pytest.raises(ParityError, match=r"float\.onnx: differs from its network by"):
        check_parity(other, exported.path, [log_mels(80)])
    larger = lively(DIMS["gru"])
    larger.head = nn.Linear(WIDTH, 5)
    n_steps = 20 * exported.network.dims.written_per_frame
    differs = rf"float\.onnx: shape \({n_steps}, 12\) instead of \(20, 5\)"
    with pytest.raises(ParityError, match=differs):
        check_parity(larger, exported.path, [log_mels(80)])


def test_a_network_that_says_nan_has_no_parity(tmp_path: Path) -> None:
    broken = lively(DIMS["separable_conv"])
    with torch.no_grad():
        broken.head.weight[3] = torch.nan
    export_onnx(broken, SYMBOLS, tmp_path / "broken.onnx")
    with pytest.raises(ParityError):
        check_parity(broken, tmp_path / "broken.onnx", [log_mels(80)])


# number formats


# The share of frames whose best symbol stays. By chance it would be about 0.15: the frames of an
# untrained network are close calls, so that a trained one keeps far more.
AGREEMENT = {"fp16": 0.98, "int8_dynamic": 0.9, "int8_static": 0.9, "int4": 0.75}
MIXED = {
    "fp16, int8_dynamic, fp32": Quantize(frontend="fp16", encoder="int8_dynamic", head="fp32"),
    "int8_static, int4, fp16": Quantize(frontend="int8_static", encoder="int4", head="fp16"),
}
CALIBRATION = [log_mels(200, seed=50 + i) for i in range(8)]


def _whole(scheme: str) -> Quantize:
    return Quantize(frontend=scheme, encoder=scheme, head=scheme)


def test_an_untrained_network_here_says_every_symbol(exported: Exported) -> None:
    said, symbols = exported.best, range(len(SYMBOLS))
    if exported.network.dims.written_per_frame > 1:  # the blanks between tokens are no choice
        said, symbols = said[said != 0], symbols[1:]
    shares = np.bincount(said, minlength=len(SYMBOLS))[list(symbols)] / len(said)
    assert np.mean(shares > 0) > (0.99 if symbols[0] == 0 else 0.8)
    assert shares.max() < 0.35


@pytest.mark.parametrize("scheme", AGREEMENT)
def test_a_quantized_file_is_smaller_and_agrees(
    exported: Exported, scheme: str, tmp_path: Path
) -> None:
    target = tmp_path / "small.onnx"
    quantize(exported.path, target, _whole(scheme), CALIBRATION)
    assert target.stat().st_size < exported.path.stat().st_size
    assert np.mean(_best(target) == exported.best) > AGREEMENT[scheme]


@pytest.mark.parametrize("name", MIXED)
def test_parts_may_have_formats_of_their_own(exported: Exported, name: str, tmp_path: Path) -> None:
    target = tmp_path / "mixed.onnx"
    quantize(exported.path, target, MIXED[name], CALIBRATION)
    assert target.stat().st_size < exported.path.stat().st_size
    # where a token is full at another frame, two places differ
    wanted = 0.85 if exported.network.dims.written_per_frame == 1 else 0.7
    assert np.mean(_best(target) == exported.best) > wanted


@pytest.mark.parametrize("scheme", AGREEMENT)
def test_a_quantized_file_takes_batches_and_says_what_it_is(
    exported: Exported, scheme: str, tmp_path: Path
) -> None:
    target = tmp_path / "small.onnx"
    quantize(exported.path, target, _whole(scheme), CALIBRATION)
    before, after = onnx.load(exported.path), onnx.load(target)
    assert {p.key: p.value for p in after.metadata_props} == {
        p.key: p.value for p in before.metadata_props
    }
    session = open_session("onnxruntime", target)
    for n_frames in (1, 6, 500):
        log_probs = session.run(log_mels(n_frames))
        assert log_probs.dtype == np.float32
        n_steps = -(-n_frames // 4) * exported.network.dims.written_per_frame
        assert log_probs.shape == (n_steps, len(SYMBOLS))
        np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1.0, atol=1e-2)


@pytest.mark.parametrize("network", ["separable_conv, wide", "conformer", "lstm"], indirect=True)
def test_fewer_bits_make_smaller_files(exported: Exported, tmp_path: Path) -> None:
    sizes = []
    for scheme in ("fp32", "fp16", "int8_static", "int4"):
        target = tmp_path / f"{scheme}.onnx"
        quantize(exported.path, target, _whole(scheme), CALIBRATION)
        sizes.append(target.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4


@pytest.mark.parametrize("network", ["separable_conv"], indirect=True)
def test_full_precision_changes_nothing(exported: Exported, tmp_path: Path) -> None:
    quantize(exported.path, tmp_path / "same.onnx", Quantize(), [])
    check_parity(exported.network, tmp_path / "same.onnx", [log_mels(80)])
    np.testing.assert_array_equal(_best(tmp_path / "same.onnx"), exported.best)


@pytest.mark.parametrize("network", ["separable_conv"], indirect=True)
def test_static_ranges_need_audio(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^int8_static needs calibration audio$"):
        quantize(exported.path, tmp_path / "none.onnx", _whole("int8_static"), [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["fp32", *AGREEMENT])
def test_what_ships_is_smaller_than_what_was_made_and_says_the_same(
    exported: Exported, scheme: str, tmp_path: Path
) -> None:
    made, ships = tmp_path / "made.onnx", tmp_path / "ships.onnx"
    quantize(exported.path, made, _whole(scheme), CALIBRATION)
    shutil.copyfile(made, ships)
    compact(ships)
    assert ships.stat().st_size < made.stat().st_size - 5000
    before, after = (open_session("onnxruntime", path) for path in (made, ships))
    for n_frames in (1, 6, 233):
        wanted = before.run(log_mels(n_frames))
        np.testing.assert_array_equal(after.run(log_mels(n_frames)), wanted)
    models = [onnx.load(path) for path in (made, ships)]
    told = [{p.key: p.value for p in model.metadata_props} for model in models]
    assert told[0] == told[1]
    around = ("Constant", "QuantizeLinear", "DequantizeLinear")
    nodes = [{n.name for n in model.graph.node if n.op_type not in around} for model in models]
    assert nodes[0] == nodes[1]
