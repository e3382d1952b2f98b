"""A backend loads an exported student and says log-probabilities of an utterance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)

from spaces.families import SeparableConv
from workers.backends.base import BACKENDS, Session, open_session
from workers.errors import UserFault
from workers.export.onnx import export_onnx
from workers.students.base import build

SYMBOLS = ("<blk>", "a", "b")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = build(SeparableConv(channels=8, blocks=1, kernel=3), len(SYMBOLS)).eval()
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(network, SYMBOLS, path)
    return path


@pytest.fixture(params=BACKENDS)
def session(request: pytest.FixtureRequest, exported: Path) -> Session:
    return open_session(request.param, exported, threads=1)


def _features(n_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-5, 3, (n_frames, 80)).astype(np.float32)


@pytest.mark.parametrize("n_frames", [1, 4, 5, 99, 400])
def test_every_four_frames_begun_have_log_probabilities(session: Session, n_frames: int) -> None:
    log_probs = session.run(_features(n_frames))
    assert log_probs.dtype == np.float32
    assert log_probs.ndim == 2
    assert len(log_probs) == -(-n_frames // 4)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-3)


def test_an_utterance_is_answered_the_same_every_time(session: Session) -> None:
    first = session.run(_features(60))
    session.run(_features(200, seed=1))
    np.testing.assert_array_equal(session.run(_features(60)), first)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_is_not_there_is_named(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "none.onnx"
    with pytest.raises(UserFault) as caught:
        open_session(backend, path, threads=1)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_unknown_backend_is_answered_with_the_known(exported: Path) -> None:
    with pytest.raises(UserFault) as caught:
        open_session("tensorrt", exported, threads=1)
    assert str(caught.value) == 'no backend "tensorrt" (known: onnxruntime, stub)'


# onnxruntime alone: a file it can load is not yet a student


def _model(
    folder: Path,
    inputs: list[tuple[str, int, list[object]]],
    outputs: list[tuple[str, int, list[object]]],
) -> Path:
    """A file that copies its first input to its first output, cast to the type wanted."""
    node = make_node("Cast", [inputs[0][0]], [outputs[0][0]], to=outputs[0][1])
    graph = make_graph(
        [node],
        "copies",
        [make_tensor_value_info(*i) for i in inputs],
        [make_tensor_value_info(*o) for o in outputs],
    )
    path = folder / "other.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), str(path))
    return path


FLOATS = ("x", TensorProto.FLOAT, ["N", "T", 80])
LENGTHS = ("x_lens", TensorProto.INT64, ["N"])
SAID = ("y", TensorProto.FLOAT, ["N", "T", 80])


def test_a_file_of_the_contract_is_loaded(tmp_path: Path) -> None:
    path = _model(tmp_path, [FLOATS, LENGTHS], [SAID])
    features = _features(7)
    np.testing.assert_array_equal(open_session("onnxruntime", path, 1).run(features), features)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([FLOATS], [SAID], "; the contract is float features [N, T, 80] and int64 lengths [N]"),
        (
            [("x", TensorProto.FLOAT, ["N", 80]), LENGTHS],
            [("y", TensorProto.FLOAT, ["N", 80])],
            "; the contract is float features [N, T, 80] and int64 lengths [N]",
        ),
        (
            [FLOATS, ("x_lens", TensorProto.INT32, ["N"])],
            [SAID],
            "; the contract is float features [N, T, 80] and int64 lengths [N]",
        ),
        (
            [("x", TensorProto.FLOAT, ["N", "T", 40]), LENGTHS],
            [("y", TensorProto.FLOAT, ["N", "T", 40])],
            ": takes 40 mel bins; the contract is 80",
        ),
        (
            [FLOATS, LENGTHS],
            [("y", TensorProto.INT64, ["N", "T", 80])],
            ": its first output is not float log-probabilities [N, T', V]",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(
    inputs: list[tuple[str, int, list[object]]],
    outputs: list[tuple[str, int, list[object]]],
    message: str,
    tmp_path: Path,
) -> None:
    path = _model(tmp_path, inputs, outputs)
    with pytest.raises(UserFault) as caught:
        open_session("onnxruntime", path, threads=1)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no model at all",
        lambda content: content[: len(content) // 2],
        lambda content: b"",
    ],
    ids=["text", "half", "empty"],
)
def test_a_damaged_file_is_refused(
    damage: Callable[[bytes], bytes], exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damage(exported.read_bytes()))
    with pytest.raises(UserFault) as caught:
        open_session("onnxruntime", path, threads=1)
    assert str(caught.value).startswith(f"{path}: ONNX Runtime cannot load it (")
    assert "\n" not in str(caught.value)
