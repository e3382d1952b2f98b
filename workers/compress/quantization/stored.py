"""Weights that are only stored in fewer bits, and expanded when the model is loaded.

By Cast and Mul, not DequantizeLinear, which ONNX Runtime (1.31) does not fold when it loads a
model: it would expand the weight at every run, and convolutions without constant weights took two
and a half times as long. A target with `graph_level: off` folds nothing and pays at every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from workers.compress.quantization.parts import Chosen, read_by

MIN_WEIGHTS = 1024  # smaller tensors are not worth a scale
_HALF_ERROR = 2.0**-10  # relative, of a number that half precision has in full
_ORT_SCALE = "_scale"  # how names of scales end that ONNX Runtime's quantizers make
_MIN_ROW = 64  # nor shorter biases and scales a node that expands them
_BIASED = ("Add", "Conv", "Gemm")
_SCALED = ("DequantizeLinear", "Mul")

EXPANDING = ("Cast", "Mul", "DequantizeLinear")  # such nodes, where they have no name

Stored = tuple[list[TensorProto], list[onnx.NodeProto]]


def store_small(path: Path, kinds: Sequence[str], chosen: Chosen, *, in_half: bool = False) -> None:
    """Rewrite a file with the float weights of some nodes in 8 bits, or in half precision, and the
    biases of all, and the scales of quantized weights, in half precision: one 8-bit scale for a
    whole bias would cost accuracy. What half precision cannot hold stays as it is."""
    model = onnx.load(str(path))
    graph = model.graph
    floats = {i.name: i for i in graph.initializer if i.data_type == TensorProto.FLOAT}
    scales = {name for name in read_by(graph, _SCALED, chosen) if name.endswith(_ORT_SCALE)}
    rows = {
        name
        for name in (read_by(graph, _BIASED, chosen) | scales) & floats.keys()
        if len(floats[name].dims) == 1 and floats[name].dims[0] >= _MIN_ROW
    }
    weights = {
        name
        for name in read_by(graph, kinds, chosen) & floats.keys()
        if len(floats[name].dims) > 1 and np.prod(floats[name].dims) >= MIN_WEIGHTS
    }
    of_convolutions = read_by(graph, ("Conv",), chosen)
    expanding: list[onnx.NodeProto] = []
    for name in sorted(rows | weights):
        weight = numpy_helper.to_array(floats[name])
        if in_half or name in rows:
            if not _fits_half(weight, each=name in scales):
                continue
            small, nodes = _in_half(name, weight)
        else:
            small, nodes = _in_eight_bits(name, weight, name in of_convolutions)
        graph.initializer.remove(floats[name])
        graph.initializer.extend(small)
        expanding += nodes
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*expanding, *rest])
    onnx.save(model, str(path))


def _fits_half(weight: np.ndarray, *, each: bool) -> bool:
    """Whether half precision holds it: each number of its own, or all beside the largest."""
    with np.errstate(over="ignore"):
        error = np.abs(weight.astype(np.float16).astype(np.float32) - weight)
    size = np.abs(weight)
    return bool(np.all(error <= _HALF_ERROR * (size if each else size.max())))


def _in_half(name: str, weight: np.ndarray) -> Stored:
    half = numpy_helper.from_array(weight.astype(np.float16), f"{name}.fp16")
    return [half], [_cast(half.name, name)]


def _in_eight_bits(name: str, weight: np.ndarray, is_convolution: bool) -> Stored:
    """With a scale for each output channel of a convolution [out, in, kernel…], else for what one
    unit reads, the last axis of [directions, gates * hidden, in]."""
    row = tuple(range(1, weight.ndim)) if is_convolution else (weight.ndim - 1,)
    scale = np.maximum(np.abs(weight).max(axis=row, keepdims=True), 1e-12) / 127
    values = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
    small = [
        numpy_helper.from_array(values, f"{name}.int8"),
        numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
    ]
    scaled = onnx.helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name])
    return small, [_cast(f"{name}.int8", f"{name}.float"), scaled]


def _cast(source: str, target: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)
