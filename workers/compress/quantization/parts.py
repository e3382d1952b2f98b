"""Which nodes of an exported graph belong to the frontend, the encoder and the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx


def part_of(node_name: str) -> str:
    """frontend, encoder or head, from the module path that the exporter put into the name."""
    if "/frontend/" in node_name:
        return "frontend"
    return "head" if "/head/" in node_name else "encoder"


def multiplying(path: Path, kinds: Sequence[str], parts: set[str]) -> list[str]:
    """Nodes of these kinds in these parts that multiply by a constant weight."""
    graph = onnx.load(str(path)).graph
    constants = {i.name for i in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in kinds
        and part_of(node.name) in parts
        and constants.intersection(node.input)
    ]


def read_by(graph: onnx.GraphProto, kinds: Sequence[str], parts: set[str]) -> set[str]:
    """What nodes of these kinds in these parts take."""
    nodes = (n for n in graph.node if n.op_type in kinds and part_of(n.name) in parts)
    return {name for node in nodes for name in node.input}
