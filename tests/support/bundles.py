"""Models and bundles in the contract of the exports, written by hand."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def write_onnx(
    path: Path,
    n_mels: int = 80,
    n_symbols: int = 3,
    has_lengths: bool = True,
    model_type: str | None = None,
) -> None:
    """A model in the contract of the exports: every fourth frame, its first mel bins."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", n_mels])
    lengths = helper.make_tensor_value_info("x_lens", TensorProto.INT64, ["N"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "S", n_symbols])
    numbers = {"starts": [0, 0], "ends": [2**31, n_symbols], "axes": [1, 2], "steps": [4, 1]}
    constants = [helper.make_tensor(k, TensorProto.INT64, [2], v) for k, v in numbers.items()]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", *numbers], ["y"])],
        "tiny",
        [x, lengths] if has_lengths else [x],
        [y],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    if model_type is not None:
        helper.set_model_props(model, {"model_type": model_type})
    onnx.save(model, path)


def write_samples_onnx(path: Path) -> None:
    """A model on raw samples: of 320 of them the first three are its logits."""
    samples = helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["N", "n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "S", 3])
    numbers = {"starts": [0], "ends": [3 * 2**10], "axes": [1]}
    constants = [helper.make_tensor(k, TensorProto.INT64, [1], v) for k, v in numbers.items()]
    constants.append(helper.make_tensor("shape", TensorProto.INT64, [3], [1, -1, 3]))
    nodes = [
        helper.make_node("Slice", ["samples", *numbers], ["some"]),
        helper.make_node("Reshape", ["some", "shape"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "samples", [samples], [y], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def write_endless_onnx(path: Path) -> None:
    """The same, once a loop of 2^62 turns has come to its end."""
    write_onnx(path)
    model = onnx.load(path)
    value = ("value", TensorProto.FLOAT, [])
    inputs = [("turn", TensorProto.INT64, []), ("goes_on", TensorProto.BOOL, []), value]
    outputs = [("still", TensorProto.BOOL, []), ("next", TensorProto.FLOAT, [])]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["still"]),
            helper.make_node("Cos", ["value"], ["next"]),
        ],
        "body",
        [helper.make_tensor_value_info(*given) for given in inputs],
        [helper.make_tensor_value_info(*given) for given in outputs],
    )
    graph = model.graph
    graph.node[0].output[0] = "sliced"
    graph.node.append(helper.make_node("Loop", ["turns", "", "first"], ["last"], body=body))
    graph.node.append(helper.make_node("Add", ["sliced", "last"], ["y"]))
    graph.initializer.append(helper.make_tensor("turns", TensorProto.INT64, [], [2**62]))
    graph.initializer.append(helper.make_tensor("first", TensorProto.FLOAT, [], [1.0]))
    onnx.save(model, path)


def write_tokens(path: Path, *symbols: str) -> None:
    path.write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)), encoding="utf-8")


def write_bundle(folder: Path, manifest: str | None = None, junk: bool = False) -> Path:
    folder.mkdir()
    write_onnx(folder / "model.onnx")
    write_tokens(folder / "tokens.txt", "<blk>", "▁a", "b")
    if junk:
        (folder / "model.onnx").write_bytes(b"junk")
    if manifest is not None:
        (folder / "bundle.json").write_text(manifest)
    return folder


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
