"""A student as a folder of an offline transducer of sherpa-onnx: encoder, decoder and joiner.

Greedy transducer decoding of these graphs writes what greedy CTC decoding of the student does: the
encoder gives the logits of each frame, the blank wherever the last frame had the same symbol; the
decoder adds nothing.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, compose, helper

from workers.data.text import write_tokens

_OPSET = 17


def write_transducer(ctc: Path, symbols: tuple[str, ...], folder: Path) -> Path:
    """The folder, from a student's own ONNX file in the contract of the exports."""
    folder.mkdir(parents=True)
    n = len(symbols)
    encoder = _without_repeats(onnx.load(ctc), n)
    _set(encoder, {"model_type": "conformer"})
    onnx.save(encoder, folder / "encoder.onnx")
    _save(
        folder / "decoder.onnx",
        [
            helper.make_node("Cast", ["y"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["cast", "axis"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "none"], ["decoder_out"]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 2])],
        [helper.make_tensor_value_info("decoder_out", TensorProto.FLOAT, ["N", n])],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("none", TensorProto.FLOAT, [1, n], [0.0] * n),
        ],
        {"vocab_size": n, "context_size": 2},
    )
    _save(
        folder / "joiner.onnx",
        [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])],
        [
            helper.make_tensor_value_info("encoder_out", TensorProto.FLOAT, ["N", n]),
            helper.make_tensor_value_info("decoder_out", TensorProto.FLOAT, ["N", n]),
        ],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", n])],
        [],
        {"joiner_dim": n},
    )
    write_tokens(symbols, folder / "tokens.txt")
    return folder


def _without_repeats(model: onnx.ModelProto, n_symbols: int) -> onnx.ModelProto:
    logits, lengths = (o.name for o in model.graph.output)
    nodes = [
        helper.make_node("ArgMax", ["given"], ["best"], axis=2, keepdims=1),
        helper.make_node("Slice", ["best", "zero", "last", "one"], ["before"]),
        helper.make_node("Pad", ["before", "pads", "never"], ["shifted"]),
        helper.make_node("Equal", ["best", "shifted"], ["same"]),
        helper.make_node("Cast", ["same"], ["repeats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["repeats", "to_blank"], ["added"]),
        helper.make_node("Add", ["given", "added"], ["encoder_out"]),
    ]
    initializers = [
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("pads", TensorProto.INT64, [6], [0, 1, 0, 0, 0, 0]),
        helper.make_tensor("never", TensorProto.INT64, [], [-1]),
        helper.make_tensor(
            "to_blank", TensorProto.FLOAT, [1, 1, n_symbols], [1e4] + [0.0] * (n_symbols - 1)
        ),
    ]
    shape = ["N", "T", n_symbols]
    tail = helper.make_graph(
        nodes,
        "without_repeats",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("encoder_out", TensorProto.FLOAT, shape)],
        initializers,
    )
    opset = next(o.version for o in model.opset_import if not o.domain)
    made = helper.make_model(
        tail, opset_imports=[helper.make_opsetid("", opset)], ir_version=model.ir_version
    )
    for axes in made.graph.node:
        if axes.op_type == "Slice":
            axes.input.insert(3, "one")  # along time
    merged = compose.merge_models(model, made, io_map=[(logits, "given")])
    # sherpa-onnx goes by the order of outputs
    by_name = {o.name: o for o in merged.graph.output}
    del merged.graph.output[:]
    merged.graph.output.extend([by_name["encoder_out"], by_name[lengths]])
    return merged


def _save(path: Path, nodes, inputs, outputs, initializers, told) -> None:  # type: ignore[no-untyped-def]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    _set(model, told)
    onnx.save(model, path)


def _set(model: onnx.ModelProto, told: dict[str, object]) -> None:
    del model.metadata_props[:]
    helper.set_model_props(model, {key: str(value) for key, value in told.items()})
