"""What a checkpoint says of itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from spaces.record import JsonObject
from workers.errors import TeacherFault

CHECKPOINT_FORMAT = "compression-search student 1"
SUPERNET_FORMAT = "compression-search supernet 1"


def header_of(file: safe_open) -> JsonObject:
    """The header of an open file; empty for a file of another program."""
    try:
        header = json.loads((file.metadata() or {}).get("header", "{}"))
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def read_header(path: Path) -> JsonObject:
    """The header of a checkpoint.

    Raises:
        SafetensorError: when it is no safetensors file.
    """
    with safe_open(path, "np") as file:
        return header_of(file)


def not_ours(path: Path) -> TeacherFault:
    return TeacherFault(
        f"{path}: is not a checkpoint written by this program; bring a network of another kind "
        "as onnx: with tokens:, or as huggingface:"
    )
