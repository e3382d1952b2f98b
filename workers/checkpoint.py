"""Networks and training states as safetensors: nothing is ever unpickled.

A checkpoint describes itself: the dimensions, tokens and provenance of its network are in the
header of the file.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spaces.families import Dims, Student
from workers.brought import CHECKPOINT_FORMAT, header_of, not_ours
from workers.errors import TeacherFault
from workers.students.base import build

_DIMS: TypeAdapter[Dims] = TypeAdapter(Student)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header; the file appears whole or not at all."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    contiguous = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    # One entry: with several, their order and so the file's digest would change from run to run.
    save_file(contiguous, partial, metadata={"header": json.dumps(dict(header))})
    os.replace(partial, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file.

    Raises:
        SafetensorError: when it is not a safetensors file.
    """
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, header_of(file)  # noqa: SIM118


def save_network(
    network: nn.Module, symbols: tuple[str, ...], path: Path, **provenance: Any
) -> None:
    """Write a network with its dimensions and tokens."""
    dims: Dims = network.dims  # type: ignore[assignment]
    header = {
        "format": CHECKPOINT_FORMAT,
        "dims": dims.model_dump(mode="json"),
        "symbols": list(symbols),
        **provenance,
    }
    save_tensors(network.state_dict(), path, header)


def load_network(path: Path) -> tuple[nn.Module, tuple[str, ...], dict[str, Any]]:
    """A network in evaluation mode, its tokens and the header of its file.

    Raises:
        TeacherFault: when the file is no checkpoint of ours, or damaged.
    """
    if not path.is_file():
        raise TeacherFault(f"{path}: no such checkpoint")
    try:
        tensors, header = load_tensors(path)
    except (SafetensorError, OSError) as error:
        raise TeacherFault(f"{path}: is no safetensors checkpoint ({error})") from error
    if header.get("format") != CHECKPOINT_FORMAT:
        raise not_ours(path)
    try:
        dims = _DIMS.validate_python(header["dims"])
        network = build(dims, len(header["symbols"]))
        network.load_state_dict(tensors)
    except (KeyError, ValidationError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:300]
        raise TeacherFault(f"{path}: its tensors do not fit its header ({reason})") from error
    return network.eval(), tuple(header["symbols"]), header
