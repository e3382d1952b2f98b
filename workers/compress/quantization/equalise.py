"""Evens out the channels that layers hand to each other, so that one scale fits them all.

What a matrix product reads is divided by a factor a channel, and its weights are multiplied by it;
the division is made part of what comes before: the weights of a layer norm, or those of a matrix
product with a ReLU after it. The network computes the same. The factors are those of SmoothQuant
(Xiao et al., arXiv 2211.10438), half of the difficulty moved to the weights; across a ReLU it is
cross-layer equalisation (Nagel et al., arXiv 1906.04721) with the ranges of real audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

_SMALLEST = 1e-5


@dataclass(frozen=True)
class _Place:
    """A value all of whose readers are matrix products; `scaled` are the weights and biases before
    it that can carry the division, `readers` the weights after it, [channels, outputs]."""

    value: str
    scaled: tuple[str, ...]
    readers: tuple[str, ...]


def equalise(path: Path, calibration: Sequence[np.ndarray]) -> int:
    """Rewrite a float32 file in place; how many places were evened out.

    Args:
        calibration: real features float32 [T, mels].
    """
    model = onnx.load(str(path))
    weights = {i.name: numpy_helper.to_array(i).copy() for i in model.graph.initializer}
    places = _places(model.graph, weights)
    if not places:
        return 0
    ranges = _ranges(model, [place.value for place in places], calibration)
    for place in places:
        largest = np.maximum.reduce([np.abs(weights[name]).max(1) for name in place.readers])
        factor = np.sqrt(
            np.maximum(ranges[place.value], _SMALLEST) / np.maximum(largest, _SMALLEST)
        )
        factor /= np.exp(np.mean(np.log(factor)))  # what is common to all changes nothing
        for name in place.scaled:
            weights[name] = (weights[name] / factor).astype(np.float32)
        for name in place.readers:
            weights[name] = (weights[name] * factor[:, None]).astype(np.float32)
    for initializer in model.graph.initializer:
        changed = numpy_helper.from_array(weights[initializer.name], initializer.name)
        initializer.CopyFrom(changed)
    onnx.save(model, str(path))
    return len(places)


def _places(graph: onnx.GraphProto, weights: dict[str, np.ndarray]) -> list[_Place]:
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    uses = {name: len(found) for name, found in readers.items()}
    written = {output.name for output in graph.output}
    places = []
    for value, taken_by in readers.items():
        if value in written or not all(_reads(node, value, weights) for node in taken_by):
            continue
        scaled = _carriers(value, makers, uses, weights)
        matrices = tuple(dict.fromkeys(node.input[1] for node in taken_by))
        if scaled and all(uses[name] == 1 for name in (*scaled, *matrices)):
            places.append(_Place(value, scaled, matrices))
    return places


def _reads(node: onnx.NodeProto, value: str, weights: dict[str, np.ndarray]) -> bool:
    """Whether a node multiplies the value by a constant matrix."""
    is_product = node.op_type == "MatMul" and node.input[0] == value
    return is_product and node.input[1] in weights and weights[node.input[1]].ndim == 2


def _carriers(
    value: str,
    makers: dict[str, onnx.NodeProto],
    uses: dict[str, int],
    weights: dict[str, np.ndarray],
) -> tuple[str, ...]:
    """What before a value can carry a factor a channel; nothing where that would change it."""
    maker = makers.get(value)
    if maker is None:
        return ()
    if maker.op_type == "LayerNormalization":
        return tuple(name for name in maker.input[1:] if name in weights)
    if maker.op_type != "Relu" or uses[maker.input[0]] != 1:
        return ()
    added = makers.get(maker.input[0])
    if added is None or added.op_type != "Add":
        return ()
    biases = [name for name in added.input if name in weights]
    products = [makers[name] for name in added.input if name in makers and uses[name] == 1]
    if len(biases) != 1 or len(products) != 1 or products[0].op_type != "MatMul":
        return ()
    matrix = products[0].input[1]
    return (matrix, biases[0]) if matrix in weights and weights[biases[0]].ndim == 1 else ()


def _ranges(
    model: onnx.ModelProto, values: Sequence[str], calibration: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """float32 [channels] of each value: the largest magnitude over the audio."""
    told = onnx.ModelProto()
    told.CopyFrom(model)
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        told.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [i.name for i in session.get_inputs()]
    found: dict[str, np.ndarray] = {}
    for features in calibration:
        fed = (features[None].astype(np.float32), np.array([len(features)], np.int64))
        for name, value in zip(
            values, session.run(list(values), dict(zip(names, fed, strict=True))), strict=True
        ):
            largest = np.abs(value).reshape(-1, value.shape[-1]).max(0)
            found[name] = np.maximum(found.get(name, largest), largest)
    return found
