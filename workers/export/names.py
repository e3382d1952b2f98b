"""The names of inputs and outputs that our exports have, given to somebody else's ONNX file.

ONNX Runtime is fed by order, but calibration and other runtimes go by name.
"""

from __future__ import annotations

from pathlib import Path

import onnx

INPUTS, OUTPUTS = ("x", "x_lens"), ("log_probs",)
WEIGHTS_ALONE_FROM = 4  # the version of the format in which weights need not be inputs
SAMPLES_MODEL, SAMPLES_TOKENS = "samples.onnx", "tokens.txt"  # of a model of Hugging Face


def with_our_names(source: Path, target: Path) -> Path:
    """The file itself where it has them, else a copy that has. Weights that are inputs as well, as
    they were before version 4 of the format, are inputs no more: quantizers take them for none.

    Args:
        source: with features and lengths as its inputs, in this order, log-probabilities first of
            its outputs.
    """
    model = onnx.load(str(source))
    wanted = _wanted(model)
    fed = _fed(model)
    if all(old == new for old, new in wanted.items()) and len(fed) == len(model.graph.input):
        return source
    del model.graph.input[:]
    model.graph.input.extend(fed)
    model.ir_version = max(model.ir_version, WEIGHTS_ALONE_FROM)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    aside = {new: f"{new}_before" for new in wanted.values() if new in taken and new not in wanted}
    rename(model.graph, {**aside, **wanted})
    onnx.save(model, str(target))
    return target


def _fed(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Its inputs without those that are weights."""
    weights = {weight.name for weight in model.graph.initializer}
    return [i for i in model.graph.input if i.name not in weights]


def _wanted(model: onnx.ModelProto) -> dict[str, str]:
    inputs = [i.name for i in _fed(model)]
    outputs = [o.name for o in model.graph.output]
    return dict(zip((*inputs, *outputs[:1]), (*INPUTS, *OUTPUTS), strict=True))


def rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Everywhere, also in the graphs of loops and branches, which read what is outside by name."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    rename(inner, names)
