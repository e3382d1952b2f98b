"""Of every student family, padding changes no output and a checkpoint gives the network back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from networks import DIMS, SYMBOLS, close, log_mels, output, shapes
from safetensors.torch import save_file
from torch import nn

from spaces.families import FAMILIES
from workers.checkpoint import load_network, save_network, save_tensors
from workers.compress.pruning.prune import prune
from workers.errors import TeacherFault
from workers.students.base import build


def test_every_family_is_tried_here() -> None:
    assert {type(dims).model_fields["family"].default for dims in DIMS.values()} == {
        family for family in FAMILIES if FAMILIES[family].is_trained
    }


# padding


def test_padding_never_changes_the_output_of_an_utterance(network: nn.Module) -> None:
    short, long = log_mels(101), log_mels(240, seed=1)
    alone = output(network, short)
    n_steps = int(alone.lengths[0])
    for padding in (0.0, -23.0259, 1000.0):
        padded = output(network, short, long, padding=padding)
        assert int(padded.lengths[0]) == n_steps == 26 * network.dims.written_per_frame
        assert close(padded.logits[:1, :n_steps], alone.logits)
        assert close(padded.hidden[:1, :26], alone.hidden)


def test_a_batch_says_of_every_utterance_what_it_says_of_it_alone(network: nn.Module) -> None:
    utterances = [log_mels(n, seed=n) for n in (99, 1, 160, 4, 97, 160, 5)]
    batch = output(network, *utterances)
    n_written = network.dims.written_per_frame
    assert batch.logits.shape == (7, 40 * n_written, len(SYMBOLS))
    for row, utterance in enumerate(utterances):
        alone = output(network, utterance)
        n_steps = int(alone.lengths[0])
        assert n_steps == -(-len(utterance) // 4) * n_written == int(batch.lengths[row])
        assert close(batch.logits[row : row + 1, :n_steps], alone.logits)


def test_only_a_network_in_training_speaks_halfway(network: nn.Module) -> None:
    training = copy.deepcopy(network).train()
    features = torch.from_numpy(log_mels(40))[None]
    said = training(features, torch.tensor([40]))
    assert said.logits.shape == (1, 10, len(SYMBOLS))
    if said.intermediate is not None:
        assert said.intermediate.shape == said.logits.shape
    assert output(network, log_mels(40)).intermediate is None


def test_equal_dims_give_equal_names_and_shapes(network: nn.Module) -> None:
    again = build(network.dims, len(SYMBOLS))
    assert shapes(again) == shapes(network)


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
    utterances = [log_mels(90), log_mels(41)]
    assert torch.equal(output(again, *utterances).logits, output(network, *utterances).logits)
    assert [p.name for p in tmp_path.iterdir()] == ["network.safetensors"]


def test_a_pruned_network_comes_back_from_its_checkpoint(
    network: nn.Module, tmp_path: Path
) -> None:
    pruned = prune(network, 0.5).eval()
    save_network(pruned, SYMBOLS, tmp_path / "pruned.safetensors")
    again, _, _ = load_network(tmp_path / "pruned.safetensors")
    assert again.dims == pruned.dims
    assert torch.equal(output(again, log_mels(60)).logits, output(pruned, log_mels(60)).logits)


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
