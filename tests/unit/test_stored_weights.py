"""Weights that are stored in fewer bits are expanded once, when the model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from spaces.recipe import Quantize
from workers.backends.base import Source
from workers.backends.onnxruntime import prepare
from workers.compress.quantization.quantize import quantize, sizes_by_part
from workers.compress.quantization.stored import store_small
from workers.export.names import with_our_names


def ALL(_: str) -> bool:
    return True


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
    store_small(convolution, ("Conv",), lambda name: "head" in name)
    assert onnx.load(str(convolution)) == before


@pytest.fixture
def nearly_dead(tmp_path: Path) -> Path:
    """A convolution and a product of 64 channels, every fourth a million times as quiet as the
    others, as channels are whose norm has learnt to leave them out, each with a bias."""
    rng = np.random.default_rng(0)
    quiet = np.where(np.arange(64) % 4, 1.0, 1e-6)
    conv = (rng.normal(size=(64, 64, 3)) * quiet[:, None, None]).astype(np.float32)
    product = (rng.normal(size=(64, 64)) * quiet).astype(np.float32)
    biases = rng.normal(size=(2, 64)).astype(np.float32)
    weights = {"conv": conv, "product": product, "bias a": biases[0], "bias b": biases[1]}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["t", "conv", "bias a"], ["c"], name="/encoder/conv"),
        helper.make_node("Transpose", ["c"], ["u"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["u", "product"], ["m"], name="/encoder/product"),
        helper.make_node("Add", ["m", "bias b"], ["log_probs"], name="/encoder/add"),
        helper.make_node("Identity", ["x_lens"], ["lengths"]),
    ]
    floats, whole = TensorProto.FLOAT, TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("x", floats, ["N", "T", 64]),
            helper.make_tensor_value_info("x_lens", whole, ["N"]),
        ],
        [
            helper.make_tensor_value_info("log_probs", floats, ["N", "U", 64]),
            helper.make_tensor_value_info("lengths", whole, ["N"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


@pytest.mark.parametrize("scheme", ["int8_dynamic", "int8_static", "fp16"])
def test_channels_that_are_nearly_dead_keep_their_biases(scheme: str, nearly_dead: Path) -> None:
    rng = np.random.default_rng(2)
    audio = [rng.normal(size=(50, 64)).astype(np.float32) for _ in range(4)]
    small = nearly_dead.with_name("small.onnx")
    quantize(nearly_dead, small, Quantize(frontend=scheme, encoder=scheme, head=scheme), audio)
    before, after = (
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for path in (nearly_dead, small)
    )
    for features in audio:
        feed = {"x": features[None], "x_lens": np.array([50], np.int64)}
        wanted, found = before.run(None, feed)[0], after.run(None, feed)[0]
        error = np.abs(found - wanted).max(axis=(0, 1))
        # of a channel that says hardly anything but its bias the step of an activation is all
        assert (error < 0.05 * np.abs(wanted).max(axis=(0, 1)) + 0.6).all()
        quiet = error[::4]
        assert quiet.max() < (0.02 if scheme != "int8_static" else 0.6)


def test_what_half_precision_cannot_hold_stays(convolution: Path) -> None:
    model = onnx.load(str(convolution))
    loud = numpy_helper.to_array(model.graph.initializer[2]).copy()
    loud[3] = 1e5
    model.graph.initializer[2].CopyFrom(numpy_helper.from_array(loud, "long bias"))
    onnx.save(model, str(convolution))
    axes = len(model.graph.initializer[0].dims) - 2
    before = run(convolution, axes)
    store_small(convolution, ("Conv",), ALL)
    np.testing.assert_array_equal(run(convolution, axes)[1], before[1])


def test_weights_read_by_nodes_without_names_are_counted_once(tmp_path: Path) -> None:
    """A recurrent node whose first output is left out leads nowhere, not back to itself."""
    weights = {"w": (1, 32, 8), "r": (1, 32, 8)}
    node = helper.make_node("LSTM", ["x", "w", "r", "", ""], ["", "h"], hidden_size=8)
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", 1, 8])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 1, 8])],
        [numpy_helper.from_array(np.zeros(v, np.float32), n) for n, v in weights.items()],
    )
    onnx.save(helper.make_model(graph), tmp_path / "lstm.onnx")
    (size,) = sizes_by_part(tmp_path / "lstm.onnx")
    assert size.part == "encoder" and size.bytes > 2 * 1024


def test_weights_that_are_inputs_as_well_are_quantized(nearly_dead: Path, tmp_path: Path) -> None:
    """As files were before version 4 of the format."""
    model = onnx.load(str(nearly_dead))
    model.graph.input.extend(
        helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in model.graph.initializer
    )
    model.ir_version = 3
    old = tmp_path / "old.onnx"
    onnx.save(model, str(old))
    named = with_our_names(old, tmp_path / "named.onnx")
    assert [i.name for i in onnx.load(str(named)).graph.input] == ["x", "x_lens"]
    (name,) = prepare(Source(onnx=named, formats=("int8_dynamic",) * 3), tmp_path)
    assert (tmp_path / name).stat().st_size < 0.5 * old.stat().st_size
    onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
