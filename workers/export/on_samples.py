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
from workers.export.names import INPUTS, OUTPUTS, WEIGHTS_ALONE_FROM, rename

_AXES_GIVEN_FROM = 18  # the opset in which axes became an input
_EPSILON = 1e-7  # as transformers has it


def in_contract(model: Path, order: Sequence[int], target: Path, *, as_recorded: bool) -> None:
    """Write a model that takes samples [N, n], and at most a mask [N, n], as one of the contract.

    Args:
        order: where each symbol of the tokens is among its outputs.
        as_recorded: it hears samples as they are, not of mean 0 and variance 1.
    """
    brought = onnx.load(str(model))
    graph = brought.graph
    rename(graph, {name: f"brought/{name}" for name in (*INPUTS, *OUTPUTS)})
    brought.ir_version = max(brought.ir_version, WEIGHTS_ALONE_FROM)
    opset = next(o.version for o in brought.opset_import if o.domain in ("", "ai.onnx"))
    weights = {weight.name for weight in graph.initializer}
    samples, *masks = [i.name for i in graph.input if i.name not in weights]
    heard = _ours("samples")
    nodes = [
        helper.make_node("Reshape", [INPUTS[0], _ours("flat")], [heard]),
        *([] if as_recorded else _standardised(heard, _ours("standard"), opset)),
        helper.make_node("Identity", [heard if as_recorded else _ours("standard")], [samples]),
        *(node for mask in masks for node in _all_speech(mask, samples)),
        *graph.node,
        *_log_probs(graph.output[0].name),
    ]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(_constants(order))
    frames = helper.make_tensor_value_info(INPUTS[0], TensorProto.FLOAT, ["N", "T", SAMPLES.mels])
    graph.input.extend([frames, helper.make_tensor_value_info(INPUTS[1], TensorProto.INT64, ["N"])])
    said = helper.make_tensor_value_info(OUTPUTS[0], TensorProto.FLOAT, ["N", "T_out", len(order)])
    graph.output.append(said)
    onnx.save(brought, str(target))


def _ours(name: str) -> str:
    """A value of this module: no model has such a name."""
    return f"contract/{name}"


def _constants(order: Sequence[int]) -> list[TensorProto]:
    values = {
        "flat": np.array([0, -1], np.int64),
        "order": np.array(order, np.int64),
        "epsilon": np.array(_EPSILON, np.float32),
        "along samples": np.array([1], np.int64),
    }
    return [numpy_helper.from_array(value, _ours(name)) for name, value in values.items()]


def _standardised(source: str, target: str, opset: int) -> list[onnx.NodeProto]:
    """To mean 0 and variance 1, over the samples of each utterance."""

    def mean(of: str, to: str) -> onnx.NodeProto:
        if opset < _AXES_GIVEN_FROM:
            return helper.make_node("ReduceMean", [of], [to], axes=[1])
        return helper.make_node("ReduceMean", [of, _ours("along samples")], [to])

    names = ("mean", "centred", "squared", "variance", "above zero", "deviation")
    middle, centred, squared, variance, above, deviation = map(_ours, names)
    return [
        mean(source, middle),
        helper.make_node("Sub", [source, middle], [centred]),
        helper.make_node("Mul", [centred, centred], [squared]),
        mean(squared, variance),
        helper.make_node("Add", [variance, _ours("epsilon")], [above]),
        helper.make_node("Sqrt", [above], [deviation]),
        helper.make_node("Div", [centred, deviation], [target]),
    ]


def _all_speech(mask: str, samples: str) -> list[onnx.NodeProto]:
    """An attention mask of ones, as long as the samples."""
    shape, one = f"{_ours(mask)}/shape", numpy_helper.from_array(np.array([1], np.int64))
    return [
        helper.make_node("Shape", [samples], [shape]),
        helper.make_node("ConstantOfShape", [shape], [mask], value=one),
    ]


def _log_probs(logits: str) -> list[onnx.NodeProto]:
    """In the order of the tokens, in float32 whatever the model computes in."""
    ordered, floats = _ours("ordered"), _ours("floats")
    return [
        helper.make_node("Gather", [logits, _ours("order")], [ordered], axis=-1),
        helper.make_node("Cast", [ordered], [floats], to=TensorProto.FLOAT),
        helper.make_node("LogSoftmax", [floats], [OUTPUTS[0]], axis=-1),
    ]
