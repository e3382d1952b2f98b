"""The ONNX form of a network: of whole utterances, or for live speech."""

from __future__ import annotations

from pathlib import Path

from workers.export.onnx import export_onnx
from workers.export.streaming import export_streaming
from workers.students.base import Student


def write_onnx(network: Student, symbols: tuple[str, ...], path: Path) -> None:
    """Write a float32 ONNX file of a network in evaluation mode, as it hears."""
    export = export_onnx if network.chunks is None else export_streaming
    export(network, symbols, path)
