"""Weights that are stored in fewer bits are expanded once, when the model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from workers.compress.quantization.stored import store_small

ALL = {"frontend", "encoder", "head"}


@pytest.fixture(params=[(5,), (3, 3)], ids=["Conv1d", "Conv2d"])
def convolution(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Of 32 channels, each ten times as loud as the one before it in four, with biases."""
    kernel: tuple[int, ...] = request.param
    rng = np.random.default_rng(0)
    loud = (10.0 ** (np.arange(32) % 4)).reshape(32, 1, *[1] * len(kernel))
    weight = numpy_helper.from_array(
        (rng.normal(size=(32, 32, *kernel)) * loud).astype(np.float32), "weight"
    )
    bias = numpy_helper.from_array(rng.normal(size=128).astype(np.float32)[:32], "bias")
    long_bias = numpy_helper.from_array(rng.normal(size=(64,)).astype(np.float32), "long bias")
    room = [None, 32, *[None] * len(kernel)]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight", "bias"], ["y"], name="/encoder/conv"),
            helper.make_node("Add", ["z", "long bias"], ["w"], name="/encoder/add"),
        ],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, room),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 64]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, room),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [None, 64]),
        ],
        [weight, bias, long_bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def run(path: Path, kernel_axes: int, profile: Path | None = None) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile / "profile")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 32, *[12] * kernel_axes)).astype(np.float32)
    found = session.run(None, {"x": x, "z": rng.normal(size=(2, 64)).astype(np.float32)})
    if profile is not None:
        Path(session.end_profiling()).rename(profile / "profile.json")
    return found


@pytest.mark.parametrize("in_half", [False, True])
def test_every_channel_keeps_its_accuracy_in_a_fraction_of_the_size(
    in_half: bool, convolution: Path
) -> None:
    axes = len(onnx.load(str(convolution)).graph.initializer[0].dims) - 2
    before, size = run(convolution, axes), convolution.stat().st_size
    store_small(convolution, ("Conv",), ALL, in_half=in_half)
    after = run(convolution, axes)
    share = 0.55 if in_half else 0.35
    assert convolution.stat().st_size < share * size + 1000
    for channel in range(32):
        wanted, found = before[0][0, channel], after[0][0, channel]
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        assert error < (0.002 if in_half else 0.03)
    np.testing.assert_allclose(after[1], before[1], atol=0.003)


def test_nothing_is_expanded_at_a_run(convolution: Path, tmp_path: Path) -> None:
    axes = len(onnx.load(str(convolution)).graph.initializer[0].dims) - 2
    store_small(convolution, ("Conv",), ALL)
    run(convolution, axes, tmp_path)
    events = json.loads((tmp_path / "profile.json").read_text())
    kinds = {e["args"].get("op_name") for e in events if e.get("cat") == "Node"}
    assert "Conv" in kinds and not kinds & {"Cast", "Mul", "DequantizeLinear"}


def test_other_parts_stay_as_they_are(convolution: Path) -> None:
    before = onnx.load(str(convolution))
    store_small(convolution, ("Conv",), {"head"})
    assert onnx.load(str(convolution)) == before
