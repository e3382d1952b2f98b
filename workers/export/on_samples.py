"""An ONNX CTC model on raw samples in the contract of what is measured here.

Samples come in as frames of 160, so that all that is timed, cut and batched by frames of 10 ms
stays as it is; log-probabilities go out, the blank first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spaces.front_end import SAMPLES
from workers.export.names import INPUTS, OUTPUTS, rename

_OURS, _THEIRS = "contract/", "brought/"
_WEIGHTS_ALONE_FROM = 4  # the version of the format in which weights need not be inputs
_AXES_GIVEN_FROM = 18  # the opset in which axes became an input
_EPSILON = 1e-7  # as transformers has it


def in_contract(model: Path, order: Sequence[int], target: Path, *, as_recorded: bool) -> None:
    """Write a model that takes samples [N, n], and at most a mask [N, n], as one of the contract.

    Args:
        order: where each symbol of the tokens is among its outputs.
        as_recorded: it hears samples as they are, not of mean 0 and variance 1.
    """
    inner = onnx.load(str(model))
    graph = inner.graph
    rename(graph, {name: f"{_THEIRS}{name}" for name in (*INPUTS, *OUTPUTS)})
    inner.ir_version = max(inner.ir_version, _WEIGHTS_ALONE_FROM)
    weights = {weight.name for weight in graph.initializer}
    samples, *masks = [i.name for i in graph.input if i.name not in weights]
    logits = graph.output[0].name
    x, x_lens = INPUTS
    before = [
        helper.make_node("Reshape", [x, f"{_OURS}flat"], [f"{_OURS}heard"]),
        *([] if as_recorded else _standardised(f"{_OURS}heard", f"{_OURS}standard", _opset(inner))),
        helper.make_node(
            "Identity", [f"{_OURS}heard" if as_recorded else f"{_OURS}standard"], [samples]
        ),
    ]
    for mask in masks:  # all of it is speech
        before += [
            helper.make_node("Shape", [samples], [f"{mask}/shape"]),
            helper.make_node(
                "ConstantOfShape",
                [f"{mask}/shape"],
                [mask],
                value=numpy_helper.from_array(np.array([1], np.int64)),
            ),
        ]
    after = [
        helper.make_node("Gather", [logits, f"{_OURS}order"], [f"{_OURS}ordered"], axis=-1),
        helper.make_node("Cast", [f"{_OURS}ordered"], [f"{_OURS}floats"], to=TensorProto.FLOAT),
        helper.make_node("LogSoftmax", [f"{_OURS}floats"], [OUTPUTS[0]], axis=-1),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0, -1], np.int64), f"{_OURS}flat"),
            numpy_helper.from_array(np.array(order, np.int64), f"{_OURS}order"),
            numpy_helper.from_array(np.array(_EPSILON, np.float32), f"{_OURS}epsilon"),
            numpy_helper.from_array(np.array([1], np.int64), f"{_OURS}along samples"),
        ]
    )
    floats = TensorProto.FLOAT
    graph.input.extend(
        [
            helper.make_tensor_value_info(x, floats, ["N", "T", SAMPLES.mels]),
            helper.make_tensor_value_info(x_lens, TensorProto.INT64, ["N"]),
        ]
    )
    graph.output.append(
        helper.make_tensor_value_info(OUTPUTS[0], floats, ["N", "T_out", len(order)])
    )
    onnx.save(inner, str(target))


def _opset(model: onnx.ModelProto) -> int:
    return next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))


def _standardised(source: str, target: str, opset: int) -> list[onnx.NodeProto]:
    """To mean 0 and variance 1, over the samples of each utterance."""

    def mean(of: str, to: str) -> onnx.NodeProto:
        if opset < _AXES_GIVEN_FROM:
            return helper.make_node("ReduceMean", [of], [to], axes=[1])
        return helper.make_node("ReduceMean", [of, f"{_OURS}along samples"], [to])

    return [
        mean(source, f"{_OURS}mean"),
        helper.make_node("Sub", [source, f"{_OURS}mean"], [f"{_OURS}centred"]),
        helper.make_node("Mul", [f"{_OURS}centred", f"{_OURS}centred"], [f"{_OURS}squared"]),
        mean(f"{_OURS}squared", f"{_OURS}variance"),
        helper.make_node("Add", [f"{_OURS}variance", f"{_OURS}epsilon"], [f"{_OURS}above zero"]),
        helper.make_node("Sqrt", [f"{_OURS}above zero"], [f"{_OURS}deviation"]),
        helper.make_node("Div", [f"{_OURS}centred", f"{_OURS}deviation"], [target]),
    ]
