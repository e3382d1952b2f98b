"""A file of fewer bytes computes what it did, also with branches that read what is outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from workers.compress.compact import compact

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])


def _weight(name: str, *values: float) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def _written(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> Path:
    graph = helper.make_graph(nodes, "graph", [X], [Y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"vocab_size": "4"})
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


def _branching(path: Path) -> Path:
    """A branch that reads a value and a weight of the graph around it and has values named as
    short as those that are given."""
    inner = [
        helper.make_node("Mul", ["a value with a long name", "a weight with a long name"], ["0"]),
        helper.make_node("Add", ["0", "1"], ["chosen"]),
    ]
    chosen = [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [None, 4])]
    then = helper.make_graph(inner, "then", [], chosen, [_weight("1", 1, 2, 3, 4)])
    other = helper.make_graph(
        [helper.make_node("Identity", ["a value with a long name"], ["chosen"])], "else", [], chosen
    )
    largest = helper.make_node("ReduceMax", ["a value with a long name"], ["2"], keepdims=0)
    nodes = [
        helper.make_node("Relu", ["x"], ["a value with a long name"], name="/encoder/relu"),
        largest,
        helper.make_node("Greater", ["2", "a bound"], ["is large"]),
        helper.make_node("If", ["is large"], ["y"], then_branch=then, else_branch=other),
    ]
    bound = numpy_helper.from_array(np.array(5, np.float32), "a bound")
    return _written(path, nodes, [_weight("a weight with a long name", 2, 2, 2, 2), bound])


def _says(path: Path) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = ([[-1, 2, 3, 4]], [[1, 2, 3, 40]], [[0, 0, 0, 0], [6, -7, 8, 9]])
    return [session.run(None, {"x": np.array(x, np.float32)})[0] for x in given]


def test_branches_still_read_what_is_outside_of_them(tmp_path: Path) -> None:
    path = _branching(tmp_path / "model.onnx")
    before, size = _says(path), path.stat().st_size
    compact(path)
    for wanted, found in zip(before, _says(path), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert path.stat().st_size < size
    again = path.read_bytes()
    compact(path)
    assert path.read_bytes() == again


def test_inputs_outputs_properties_and_names_of_nodes_stay(tmp_path: Path) -> None:
    path = _branching(tmp_path / "model.onnx")
    compact(path)
    model = onnx.load(str(path))
    assert [i.name for i in model.graph.input] == ["x"]
    assert [o.name for o in model.graph.output] == ["y"]
    assert {p.key: p.value for p in model.metadata_props} == {"vocab_size": "4"}
    assert "/encoder/relu" in [node.name for node in model.graph.node]


@pytest.mark.parametrize("n", [2, 5])
def test_what_is_there_many_times_is_written_once(n: int, tmp_path: Path) -> None:
    weights = [_weight(f"zeros {i}", *[0] * 4) for i in range(n)]
    values = ["x", *(f"after {i}" for i in range(n - 1)), "y"]
    nodes = [
        helper.make_node("Add", [values[i], f"zeros {i}"], [values[i + 1]], name=f"add {i}")
        for i in range(n)
    ]
    path = _written(tmp_path / "model.onnx", nodes, weights)
    before = _says(path)
    compact(path)
    assert len(onnx.load(str(path)).graph.initializer) == 1
    np.testing.assert_array_equal(_says(path)[1], before[1])
