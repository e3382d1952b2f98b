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
from onnx.compose import add_prefix

from spaces.front_end import SAMPLES
from workers.export.names import INPUTS, OUTPUTS

_PREFIX = "brought/"
_AXES_GIVEN_FROM = 18  # the opset in which axes became an input
_EPSILON = 1e-7  # as transformers has it


def in_contract(model: Path, order: Sequence[int], target: Path, *, as_recorded: bool) -> None:
    """Write a model that takes samples [N, n], and at most a mask [N, n], as one of the contract.

    Args:
        order: where each symbol of the tokens is among its outputs.
        as_recorded: it hears samples as they are, not of mean 0 and variance 1.
    """
    inner = add_prefix(onnx.load(str(model)), _PREFIX)
    graph = inner.graph
    weights = {weight.name for weight in graph.initializer}
    samples, *masks = [i.name for i in graph.input if i.name not in weights]
    logits = graph.output[0].name
    x, x_lens = INPUTS
    before = [
        helper.make_node("Reshape", [x, "flat"], ["heard"]),
        *([] if as_recorded else _standardised("heard", "standard", _opset(inner))),
        helper.make_node("Identity", ["heard" if as_recorded else "standard"], [samples]),
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
        helper.make_node("Gather", [logits, "order"], ["ordered"], axis=-1),
        helper.make_node("LogSoftmax", ["ordered"], [OUTPUTS[0]], axis=-1),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([0, -1], np.int64), "flat"),
            numpy_helper.from_array(np.array(order, np.int64), "order"),
            numpy_helper.from_array(np.array(_EPSILON, np.float32), "epsilon"),
            numpy_helper.from_array(np.array([1], np.int64), "along samples"),
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
        return helper.make_node("ReduceMean", [of, "along samples"], [to])

    return [
        mean(source, "mean"),
        helper.make_node("Sub", [source, "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "centred"], ["squared"]),
        mean("squared", "variance"),
        helper.make_node("Add", ["variance", "epsilon"], ["above zero"]),
        helper.make_node("Sqrt", ["above zero"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], [target]),
    ]
