"""Every family that hears live speech says the same window by window as it does in one go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import DIMS, SYMBOLS, lively, log_mels, output
from pydantic import ValidationError
from torch import nn

from spaces.families import FAMILIES, Dims
from spaces.recipe import PARTS, Quantize
from spaces.streaming import Streaming
from workers.backends.base import Settings, Source, open_session
from workers.backends.windows import SILENCE, whole
from workers.compress.quantization.quantize import quantize
from workers.errors import UserFault
from workers.export.parity import check_parity
from workers.export.streaming import export_streaming
from workers.students.chunks import Chunks
from workers.train.dynamic_chunks import dynamic_chunks, with_silent_end

WAYS = (Streaming(chunk_ms=160), Streaming(chunk_ms=320, look_ahead_ms=80))


def _live(dims: Dims, way: Streaming) -> Dims | None:
    try:
        return type(dims).model_validate({**dims.model_dump(), "streaming": way})
    except ValidationError:
        return None


LIVE = {
    f"{name}, {way.label()}": dims
    for name, given in DIMS.items()
    for way in WAYS
    if (dims := _live(given, way)) is not None
}


@pytest.fixture(scope="module", params=LIVE)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return lively(LIVE[request.param])


@pytest.fixture(scope="module")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "float.onnx"
    export_streaming(network, SYMBOLS, path)
    return path


def test_families_that_cannot_hear_live_speech_say_so() -> None:
    can = {name for name, dims in FAMILIES.items() if dims.streams}
    assert can == {dims.family for dims in LIVE.values()}
    with pytest.raises(ValidationError, match="paraformer hears whole utterances only"):
        FAMILIES["paraformer"](streaming=Streaming())
    with pytest.raises(ValidationError, match="bidirectional is false"):
        FAMILIES["recurrent"](streaming=Streaming(), bidirectional=True)
    with pytest.raises(ValidationError, match="attended is 1"):
        FAMILIES["conformer"](streaming=Streaming(), attended=0.5)
    with pytest.raises(ValidationError, match="at 16 kHz"):
        FAMILIES["dense"](streaming=Streaming(), front_end={"sample_rate_hz": 8000})


def test_fed_window_by_window_the_file_says_what_its_network_says(
    network: nn.Module, exported: Path
) -> None:
    utterances = [log_mels(n, seed=n) for n in (1, 5, 31, 128, 300, 1203)]
    assert check_parity(network, exported, utterances) < 1e-3


def test_streams_heard_together_are_heard_as_if_alone(exported: Path) -> None:
    session = open_session("onnxruntime", exported)
    windows, utterances = session.windows, [log_mels(200, seed=i) for i in range(3)]
    alone = [whole(windows, session.step, u) for u in utterances]
    states, together = [windows.first] * 3, []
    for each in zip(*map(windows.of, utterances), strict=True):
        log_probs, state = session.step(np.stack(each), windows.stacked(states))
        states = windows.apart(state, 3)
        together.append(log_probs)
    np.testing.assert_allclose(np.concatenate(together, 1), np.stack(alone), atol=1e-4)


def test_what_comes_later_changes_nothing(network: nn.Module) -> None:
    way = network.dims.streaming
    heard = log_mels(240)
    other = heard.copy()
    n_same = 3 * way.chunk_frames  # frames that are written
    other[4 * (n_same + way.ahead_frames) :] += 5.0
    first, second = (output(network, u).logits[0, :n_same] for u in (heard, other))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert not np.allclose(output(network, heard).logits[0], output(network, other).logits[0])


def test_what_was_before_is_heard(network: nn.Module) -> None:
    other = log_mels(240)
    other[:100] += 5.0
    after = slice(26, 30)
    first, second = (output(network, u).logits[0, after] for u in (log_mels(240), other))
    assert (first - second).abs().max() > 1e-4


def test_padding_changes_nothing(network: nn.Module) -> None:
    alone = output(network, log_mels(150)).logits[0]
    beside = output(network, log_mels(150), log_mels(401), padding=3.0)
    assert int(beside.lengths[0]) == len(alone)
    np.testing.assert_allclose(alone, beside.logits[0, : len(alone)], atol=1e-4)


def test_in_one_chunk_it_hears_as_who_hears_utterances_whole(network: nn.Module) -> None:
    shipped, heard = network.chunks, log_mels(160)
    try:
        network.chunks = None
        as_a_whole = output(network, heard).logits
        network.chunks = Chunks(40, 0)
        in_one = output(network, heard).logits
    finally:
        network.chunks = shipped
    np.testing.assert_allclose(as_a_whole, in_one, atol=1e-4)


def test_every_weight_learns_however_it_is_heard(network: nn.Module) -> None:
    torch.manual_seed(3)
    features = network.normalise(torch.from_numpy(np.stack([log_mels(200, i) for i in range(2)])))
    network.train().zero_grad()
    heard = set()
    for _ in range(12):
        with dynamic_chunks(network):
            heard.add(network.chunks)
            network(features, torch.tensor([200, 131])).logits.square().mean().backward()
    assert network.chunks == Chunks.of(network.dims.streaming)
    assert {None, network.chunks} < heard, "whole, as shipped, and otherwise"
    unread = ("halfway", "attention.key.bias")  # a bias of all keys changes no softmax
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None or name.startswith(unread), name
        if parameter.grad is not None:
            assert bool(torch.isfinite(parameter.grad).all()), name
    network.eval().zero_grad()


def test_silence_after_an_utterance_is_heard_in_training(network: nn.Module) -> None:
    torch.manual_seed(1)
    features = network.normalise(torch.from_numpy(np.stack([log_mels(60), log_mels(60, 1)])))
    longer, lengths = with_silent_end(network, features, torch.tensor([60, 41]))
    n_more = longer.shape[1] - 60
    assert n_more > 0 and n_more % 4 == 0
    assert lengths.tolist() == [60 + n_more, 41 + n_more]
    assert torch.equal(longer[0, :60], features[0]) and torch.equal(
        longer[1, :41], features[1, :41]
    )
    silent = network.normalise(torch.full((80,), SILENCE))
    assert torch.allclose(longer[1, 41:], silent.expand(n_more + 19, 80))


@pytest.mark.parametrize("scheme", ["fp16", "int8", "int4"])
def test_in_fewer_bits_it_says_nearly_the_same(scheme: str, exported: Path, tmp_path: Path) -> None:
    quantize(exported, tmp_path / "q.onnx", Quantize(**dict.fromkeys(PARTS, scheme)), [])
    assert (tmp_path / "q.onnx").stat().st_size < exported.stat().st_size
    best = [
        open_session("onnxruntime", path).run(log_mels(400)).argmax(-1)
        for path in (exported, tmp_path / "q.onnx")
    ]
    assert np.mean(best[0] == best[1]) > (0.6 if scheme == "int4" else 0.85)


def test_openvino_says_the_same_window_by_window(
    network: nn.Module, exported: Path, tmp_path: Path
) -> None:
    openvino = pytest.importorskip(
        "workers.backends.openvino",
        reason="the extra openvino is not installed",
        exc_type=ImportError,
    )
    main, *_ = openvino.prepare(Source(exported), tmp_path)
    session = openvino.open_session(tmp_path / main, Settings())
    ours = open_session("onnxruntime", exported)
    assert (session.windows.window, session.windows.shift) == (
        ours.windows.window,
        ours.windows.shift,
    )
    np.testing.assert_allclose(session.run(log_mels(300)), ours.run(log_mels(300)), atol=2e-3)


def test_after_an_utterance_silence_is_heard(exported: Path) -> None:
    session = open_session("onnxruntime", exported)
    n = len(session.run(log_mels(100)))
    assert n >= (100 + 40) / 4, "words that are written late have time"
    assert pytest.approx(-15.94, abs=0.01) == SILENCE


def test_a_file_that_carries_no_state_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(str(exported))
    del model.graph.output[3:]
    onnx.save(model, str(tmp_path / "broken.onnx"))
    with pytest.raises(UserFault, match="no model for live speech"):
        open_session("onnxruntime", tmp_path / "broken.onnx")
