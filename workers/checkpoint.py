"""Networks and training states as safetensors: nothing is ever unpickled.

A checkpoint describes itself: the dimensions, tokens and provenance of its network are in the
header of the file. A supernet's also has the choices that its slices have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticCustomError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spaces.axes import Value
from spaces.families import StudentDims, parse_dims
from spaces.record import JsonObject, Record
from workers.atomic import partial_name
from workers.checkpoint_header import CHECKPOINT_FORMAT, SUPERNET_FORMAT, header_of, not_ours
from workers.errors import TeacherFault
from workers.students.base import Student, build
from workers.students.supernet import Supernet


class _SupernetHeader(Record):
    format: str
    dims: StudentDims
    choices: dict[str, tuple[Value, ...]]
    symbols: tuple[str, ...]


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, object]) -> None:
    """Write tensors and a JSON header; the file appears whole or not at all."""
    partial = partial_name(path)
    contiguous = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    # One entry: with several, their order and so the file's digest would change from run to run.
    save_file(contiguous, partial, metadata={"header": json.dumps(dict(header))})
    os.replace(partial, path)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], JsonObject]:
    """Tensors and header of a file.

    Raises:
        SafetensorError: when it is not a safetensors file.
    """
    with safe_open(path, "pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, header_of(file)  # noqa: SIM118


def save_network(network: Student, symbols: tuple[str, ...], path: Path, **provenance: str) -> None:
    """Write a network with its dimensions and tokens."""
    header = {
        "format": CHECKPOINT_FORMAT,
        "dims": network.dims.model_dump(mode="json"),
        "symbols": list(symbols),
        **provenance,
    }
    save_tensors(network.state_dict(), path, header)


def load_network(path: Path) -> tuple[Student, tuple[str, ...], JsonObject]:
    """A network in evaluation mode, its tokens and the header of its file.

    Raises:
        TeacherFault: when the file is not a checkpoint of ours, or damaged.
    """
    if not path.is_file():
        raise TeacherFault(f"{path}: no such checkpoint")
    try:
        tensors, header = load_tensors(path)
    except (SafetensorError, OSError) as error:
        raise TeacherFault(f"{path}: is not a safetensors checkpoint ({error})") from error
    if header.get("format") != CHECKPOINT_FORMAT:
        raise not_ours(path)
    try:
        listed = header["symbols"]
        symbols = tuple(map(str, listed)) if isinstance(listed, list) else ()
        network = build(parse_dims(header["dims"]), len(symbols))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValidationError, PydanticCustomError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:300]
        raise TeacherFault(f"{path}: its tensors do not fit its header ({reason})") from error
    network.eval()
    return network, symbols, header


def save_supernet(supernet: Supernet, symbols: tuple[str, ...], path: Path) -> None:
    """Write a supernet with its dimensions, choices and tokens."""
    header = {
        "format": SUPERNET_FORMAT,
        "dims": supernet.dims.model_dump(mode="json"),
        "choices": {name: list(values) for name, values in supernet.choices.items()},
        "symbols": list(symbols),
    }
    save_tensors(supernet.state_dict(), path, header)


def load_supernet(path: Path) -> tuple[Supernet, tuple[str, ...]]:
    """A supernet in evaluation mode, and its tokens.

    Raises:
        ValueError: when the file is not one of ours, or damaged.
    """
    try:
        tensors, header = load_tensors(path)
        if header.get("format") != SUPERNET_FORMAT:
            raise ValueError("its header names another format")
        content = _SupernetHeader.model_validate(header)
        supernet = Supernet(content.dims, content.choices, len(content.symbols))
        supernet.load_state_dict(tensors)
    except (SafetensorError, OSError, ValueError, PydanticCustomError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()[:300]
        raise ValueError(f"{path.name}: is not a supernet of this program ({reason})") from error
    return supernet.eval(), content.symbols
