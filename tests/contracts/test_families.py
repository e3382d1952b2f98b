"""What holds of every student family: padding, pruning, checkpoints, export, number formats."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spaces.families import FAMILIES, Conformer, Dims, DsconvLstm, Recurrent, SeparableConv
from spaces.recipe import Quantize
from workers.backends.base import open_session
from workers.checkpoint import load_network, save_network, save_tensors
from workers.compress.pruning.prune import entries, prune
from workers.compress.quantization.quantize import quantize
from workers.errors import ParityError, TeacherFault
from workers.export.onnx import export_onnx
from workers.export.parity import check_parity
from workers.students.base import Output, build

SYMBOLS = ("<blk>", "▁", *"abcdefghij")
WIDTH = 64
DIMS: dict[str, Dims] = {
    "separable_conv": SeparableConv(channels=WIDTH, blocks=2, kernel=5),
    "separable_conv, wide": SeparableConv(channels=WIDTH, blocks=2, kernel=5, expand=2),
    "conformer": Conformer(
        channels=WIDTH, blocks=2, heads=4, head_size=16, feed_forward=2 * WIDTH, kernel=5
    ),
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
LENGTHS = (150, 233, 401)


def _features(n_frames: int, seed: int = 0) -> np.ndarray:
    """float32 [n_frames, 80] with the range and the slow change of log-mels."""
    noise = np.random.default_rng(seed).standard_normal((n_frames + 5, 80))
    slow = np.mean([noise[i : i + n_frames] for i in range(6)], axis=0) * 2.4
    return (slow * 3 - 6).astype(np.float32)


def _lively(dims: Dims, seed: int = 0) -> nn.Module:
    """An untrained network that has seen data: every symbol is the best on some frames."""
    torch.manual_seed(seed)
    network = build(dims, len(SYMBOLS))
    for name, parameter in network.named_parameters():
        if "weight_ih" in name:  # fresh recurrent layers say nearly the same of every frame
            parameter.data *= 4
    seen = torch.from_numpy(np.stack([_features(240, i) for i in range(4)]))
    lengths = torch.full((4,), 240)
    network.frontend.mean.copy_(seen.mean((0, 1)))
    network.frontend.inv_std.copy_(1 / seen.std((0, 1)))
    with torch.no_grad():
        for _ in range(20):  # the statistics of batch norms settle
            network.train()(network.frontend.normalise(seen), lengths)
        logits = network.eval()(network.frontend.normalise(seen), lengths).logits
        network.head.bias -= logits.mean((0, 1))
    return network


@torch.inference_mode()
def _output(network: nn.Module, *utterances: np.ndarray, padding: float = 0.0) -> Output:
    """What a network says of utterances in one batch, filled up to the longest."""
    lengths = torch.tensor([len(u) for u in utterances])
    batch = torch.full((len(utterances), int(lengths.max()), 80), padding)
    for row, utterance in enumerate(utterances):
        batch[row, : len(utterance)] = torch.from_numpy(utterance)
    return network(network.frontend.normalise(batch), lengths)


def _close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=tolerance)


@dataclass(frozen=True)
class Exported:
    network: nn.Module
    path: Path
    best: np.ndarray  # int [all frames]: the best symbol by the float32 file


@pytest.fixture(scope="module", params=DIMS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return _lively(DIMS[request.param])


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp("exported") / "float.onnx"
    export_onnx(network, SYMBOLS, path)
    return Exported(network, path, _best(path))


def _best(model: Path) -> np.ndarray:
    session = open_session("onnxruntime", model)
    return np.concatenate([session.run(_features(n, seed=n)).argmax(-1) for n in LENGTHS])


def test_every_family_is_tried_here() -> None:
    assert {type(dims).model_fields["family"].default for dims in DIMS.values()} == set(FAMILIES)


# padding


def test_padding_never_changes_the_output_of_an_utterance(network: nn.Module) -> None:
    short, long = _features(101), _features(240, seed=1)
    alone = _output(network, short)
    n_steps = int(alone.lengths[0])
    for padding in (0.0, -23.0259, 1000.0):
        padded = _output(network, short, long, padding=padding)
        assert int(padded.lengths[0]) == n_steps == 26
        assert _close(padded.logits[:1, :n_steps], alone.logits)
        assert _close(padded.hidden[:1, :n_steps], alone.hidden)


def test_a_batch_says_of_every_utterance_what_it_says_of_it_alone(network: nn.Module) -> None:
    utterances = [_features(n, seed=n) for n in (99, 1, 160, 4, 97, 160, 5)]
    batch = _output(network, *utterances)
    assert batch.logits.shape == (7, 40, len(SYMBOLS))
    for row, utterance in enumerate(utterances):
        alone = _output(network, utterance)
        n_steps = int(alone.lengths[0])
        assert n_steps == -(-len(utterance) // 4) == int(batch.lengths[row])
        assert _close(batch.logits[row : row + 1, :n_steps], alone.logits)


def test_only_a_network_in_training_speaks_halfway(network: nn.Module) -> None:
    training = copy.deepcopy(network).train()
    features = torch.from_numpy(_features(40))[None]
    said = training(features, torch.tensor([40]))
    assert said.logits.shape == (1, 10, len(SYMBOLS))
    if said.intermediate is not None:
        assert said.intermediate.shape == said.logits.shape
    assert _output(network, _features(40)).intermediate is None


def test_equal_dims_give_equal_names_and_shapes(network: nn.Module) -> None:
    again = build(network.dims, len(SYMBOLS))
    assert _shapes(again) == _shapes(network)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


# pruning


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_a_pruned_network_is_built_like_any_of_its_dims(network: nn.Module, ratio: float) -> None:
    pruned = prune(network, ratio)
    wanted = network.dims.pruned(ratio)
    assert pruned.dims == wanted
    assert wanted.channels == max(8, round(WIDTH * (1 - ratio) / 8) * 8)
    assert _shapes(pruned) == _shapes(build(wanted, len(SYMBOLS)))
    assert torch.isfinite(_output(pruned.eval(), _features(50)).logits).all()


def test_the_file_of_a_pruned_network_is_smaller(exported: Exported, tmp_path: Path) -> None:
    pruned = prune(exported.network, 0.5).eval()
    export_onnx(pruned, SYMBOLS, tmp_path / "pruned.onnx")
    assert (tmp_path / "pruned.onnx").stat().st_size < 0.6 * exported.path.stat().st_size
    check_parity(pruned, tmp_path / "pruned.onnx", [_features(n) for n in (50, 121)])


def test_pruning_leaves_its_parent_as_it_was(network: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    prune(network, 0.5)
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_pruning_nothing_keeps_every_output(network: nn.Module) -> None:
    same = prune(network, 0.0).eval()
    assert same.dims == network.dims
    assert torch.equal(_output(same, _features(77)).logits, _output(network, _features(77)).logits)


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
    same = {"family", "blocks", "kernel", "layers", "cell", "bidirectional", "head_size", "dropout"}
    assert all(kept[k] == v for k, v in dims.model_dump().items() if k in same)


# Layer norms see every channel, so of a conformer with 8 channels, which all stay, the heads and
# the feed-forward units are tried.
TO_PRUNE = {
    **{name: dims for name, dims in DIMS.items() if name != "conformer"},
    "conformer": Conformer(channels=8, blocks=2, heads=4, head_size=4, feed_forward=32, kernel=3),
}


@pytest.mark.parametrize("name", TO_PRUNE)
def test_units_that_do_nothing_are_the_ones_removed(name: str) -> None:
    network = _lively(TO_PRUNE[name], seed=3)
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
        whole = _output(network, _features(n_frames)).logits
        assert _close(_output(pruned, _features(n_frames)).logits, whole)


# checkpoints


def test_a_network_comes_back_from_its_checkpoint(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    save_network(network, SYMBOLS, path, job="train", epochs=3)
    again, symbols, header = load_network(path)
    assert symbols == SYMBOLS
    assert again.dims == network.dims
    assert not again.training
    assert (header["job"], header["epochs"]) == ("train", 3)
    assert header["dims"] == network.dims.model_dump(mode="json")
    utterances = [_features(90), _features(41)]
    assert torch.equal(_output(again, *utterances).logits, _output(network, *utterances).logits)
    assert [p.name for p in tmp_path.iterdir()] == ["network.safetensors"]


def test_a_pruned_network_comes_back_from_its_checkpoint(
    network: nn.Module, tmp_path: Path
) -> None:
    pruned = prune(network, 0.5).eval()
    save_network(pruned, SYMBOLS, tmp_path / "pruned.safetensors")
    again, _, _ = load_network(tmp_path / "pruned.safetensors")
    assert again.dims == pruned.dims
    assert torch.equal(_output(again, _features(60)).logits, _output(pruned, _features(60)).logits)


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    with pytest.raises(TeacherFault, match=r"network\.safetensors: no such checkpoint$"):
        load_network(path)
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    refused = r"network\.safetensors: is not a safetensors checkpoint"
    with pytest.raises(TeacherFault, match=refused):
        load_network(path)
    weights = {"weight": torch.zeros(3)}
    save_file(weights, path)
    with pytest.raises(TeacherFault, match="is not a checkpoint written by this program"):
        load_network(path)


def test_a_checkpoint_of_another_program_is_refused_as_that(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})  # as transformers writes
    with pytest.raises(TeacherFault, match="is not a checkpoint written by this program"):
        load_network(path)


def test_a_checkpoint_whose_parts_disagree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    save_network(build(DIMS["gru"], len(SYMBOLS)), SYMBOLS, path)
    _, _, header = load_network(path)
    for change in ({"symbols": ["<blk>"]}, {"dims": {"family": "gru"}}, {"dims": None}):
        save_tensors(build(DIMS["gru"], len(SYMBOLS)).state_dict(), path, {**header, **change})
        with pytest.raises(TeacherFault, match="its tensors do not fit its header"):
            load_network(path)


# export


def test_an_exported_file_says_what_its_network_says(exported: Exported) -> None:
    utterances = [_features(n, seed=n) for n in (1, 2, 3, 4, 5, 17, 120, 121, 300, 1203)]
    assert check_parity(exported.network, exported.path, utterances) < 1e-4


def test_an_exported_file_says_it_of_a_padded_batch_in_any_order(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    lengths = [60, 201, 1, 137]
    batch = np.full((4, 201, 80), -23.0259, np.float32)
    for row, n_frames in enumerate(lengths):
        batch[row, :n_frames] = _features(n_frames, seed=n_frames)
    log_probs, n_steps = session.run(None, {"x": batch, "x_lens": np.array(lengths, np.int64)})
    assert n_steps.tolist() == [15, 51, 1, 35]
    assert n_steps.dtype == np.int64
    alone = open_session("onnxruntime", exported.path)
    for row, n_frames in enumerate(lengths):
        wanted = alone.run(_features(n_frames, seed=n_frames))
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
        "subsampling_factor": "4",
    }
    assert [i.name for i in model.graph.input] == ["x", "x_lens"]
    assert [o.name for o in model.graph.output] == ["log_probs", "log_probs_lens"]


def test_an_export_leaves_its_network_as_it_was(network: nn.Module, tmp_path: Path) -> None:
    before = _output(network, _features(70)).logits
    export_onnx(network, SYMBOLS, tmp_path / "again.onnx")
    assert torch.equal(_output(network, _features(70)).logits, before)


def test_a_file_of_another_network_is_noticed(exported: Exported) -> None:
    other = copy.deepcopy(exported.network)
    with torch.no_grad():
        other.head.bias[3] += 0.5
    with pytest.raises(ParityError, match=r"float\.onnx: differs from its network by"):
        check_parity(other, exported.path, [_features(80)])
    larger = _lively(DIMS["gru"])
    larger.head = nn.Linear(WIDTH, 5)
    with pytest.raises(ParityError, match=r"float\.onnx: shape \(20, 12\) instead of \(20, 5\)"):
        check_parity(larger, exported.path, [_features(80)])


def test_a_network_that_says_nan_has_no_parity(tmp_path: Path) -> None:
    broken = _lively(DIMS["separable_conv"])
    with torch.no_grad():
        broken.head.weight[3] = torch.nan
    export_onnx(broken, SYMBOLS, tmp_path / "broken.onnx")
    with pytest.raises(ParityError):
        check_parity(broken, tmp_path / "broken.onnx", [_features(80)])


# number formats

# The share of frames whose best symbol stays. By chance it would be about 0.15: the frames of an
# untrained network are close calls, so that a trained one keeps far more.
AGREEMENT = {"fp16": 0.98, "int8_dynamic": 0.9, "int8_static": 0.9, "int4": 0.75}
MIXED = {
    "fp16, int8_dynamic, fp32": Quantize(frontend="fp16", encoder="int8_dynamic", head="fp32"),
    "int8_static, int4, fp16": Quantize(frontend="int8_static", encoder="int4", head="fp16"),
}
CALIBRATION = [_features(200, seed=50 + i) for i in range(8)]


def _whole(scheme: str) -> Quantize:
    return Quantize(frontend=scheme, encoder=scheme, head=scheme)


def test_an_untrained_network_here_says_every_symbol(exported: Exported) -> None:
    shares = np.bincount(exported.best, minlength=len(SYMBOLS)) / len(exported.best)
    assert (shares > 0).all()
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
    assert np.mean(_best(target) == exported.best) > 0.85


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
        log_probs = session.run(_features(n_frames))
        assert log_probs.dtype == np.float32
        assert log_probs.shape == (-(-n_frames // 4), len(SYMBOLS))
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
    check_parity(exported.network, tmp_path / "same.onnx", [_features(80)])
    np.testing.assert_array_equal(_best(tmp_path / "same.onnx"), exported.best)


@pytest.mark.parametrize("network", ["separable_conv"], indirect=True)
def test_static_ranges_need_audio(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^int8_static needs calibration audio$"):
        quantize(exported.path, tmp_path / "none.onnx", _whole("int8_static"), [])
    assert list(tmp_path.iterdir()) == []
