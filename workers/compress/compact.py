"""The same graph in fewer bytes: what no runtime reads is left out.

Of a student of 0.13 MB a quarter was the long names of values, the shapes that a runtime works out
anyway, and constants that are there many times, such as zero points.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    DeduplicateInitializersPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

_AROUND_OTHERS = ("QuantizeLinear", "DequantizeLinear")


def compact(path: Path) -> None:
    """Rewrite an ONNX file in place. What it computes stays to the last bit, as do its inputs,
    outputs, properties and the names of the nodes that compute, which profiles tell and parts are
    known by."""
    model = ir.load(path)
    properties = dict(model.metadata_props)  # the next pass takes them as well
    for shorten in (
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        DeduplicateInitializersPass(),
        RemoveUnusedNodesPass(),
        ClearMetadataAndDocStringPass(),
    ):
        model = shorten(model).model
    model.metadata_props.update(properties)
    graph = model.graph
    inside = [value for node in graph for value in node.outputs if not value.is_graph_output()]
    for value in inside:
        value.type = value.shape = None
    for node in graph:
        if node.op_type in _AROUND_OTHERS:
            node.name = None
    weights = [
        weight
        for weight in graph.initializers.values()
        if not (weight.is_graph_input() or weight.is_graph_output())
    ]
    _rename(graph, [*inside, *weights])
    ir.save(model, path)


def _rename(graph: ir.Graph, values: list[ir.Value]) -> None:
    """Short names, none of which anything else has, here or in the graphs of loops and branches."""
    renamed = {id(value) for value in values}
    everything = itertools.chain(
        graph.inputs,
        graph.outputs,
        *(inner.inputs for inner in graph.subgraphs()),
        *(inner.initializers.values() for inner in graph.subgraphs()),
        *(node.outputs for node in graph.all_nodes()),
        graph.initializers.values(),
    )
    taken = {value.name for value in everything if id(value) not in renamed}
    free = (name for i in itertools.count() if (name := f"{i:x}") not in taken)
    for value in values:
        value.name = f"\0{value.name}"  # none that is given may still be another's
    for value in values:
        value.name = next(free)
