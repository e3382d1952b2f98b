"""Which nodes of an exported graph belong to the frontend, the encoder and the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

Chosen = Callable[[str], bool]  # whether a node is meant, by its name


def part_of(node_name: str) -> str:
    """frontend, encoder or head, from the module path that the exporter put into the name."""
    if "/frontend/" in node_name:
        return "frontend"
    return "head" if "/head/" in node_name else "encoder"


def multiplying(path: Path, kinds: Sequence[str], chosen: Chosen) -> list[str]:
    """Chosen nodes of these kinds that multiply by a constant weight."""
    graph = onnx.load(str(path)).graph
    constants = {i.name for i in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in kinds and chosen(node.name) and constants.intersection(node.input)
    ]


def read_by(graph: onnx.GraphProto, kinds: Sequence[str], chosen: Chosen) -> set[str]:
    """What chosen nodes of these kinds take."""
    nodes = (n for n in graph.node if n.op_type in kinds and chosen(n.name))
    return {name for node in nodes for name in node.input}
