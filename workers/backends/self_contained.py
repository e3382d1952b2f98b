"""Whether an ONNX file is whole by itself, from its bytes alone: neither `onnx` nor a runtime.

A tensor may say that its values lie in another file, at a path of the model's choosing. A runtime
that follows it reads what the model's author wants to know, and the texts that come out tell him
(ONNX Runtime did until 1.24). None of our files need that, so no foreign one may either.

The wire format: https://protobuf.dev/programming-guides/encoding. Whatever a parser could read in
two ways is refused.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path

from workers.errors import UserFault

# From message to message, by number of the field, wherever a tensor can be reached (onnx.proto).
CHILDREN: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5  # wire types; groups (3, 4) nobody writes
_MOST_DEPTH = 100  # as protobuf's own parsers
_MOST_BYTES = 2**31 - 1  # the same
_MOST_FIELDS = 2_000_000  # seconds; a student has ten thousand
_NOT_ONNX = "it is not in ONNX's format, or cut short"
_ORT_FORMAT = b"ORTM"  # ONNX Runtime's own format says so from its fifth byte on


Content = bytes | mmap.mmap


class _Unreadable(ValueError):
    """Is not an ONNX file; the text says why."""


def check_self_contained(model: Path) -> None:
    """Let no runtime see a model that refers to other files.

    Raises:
        UserFault: when it does, or is not an ONNX file.
    """
    try:
        with model.open("rb") as file:
            if not file.seek(0, 2):
                raise _Unreadable("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                is_whole = _is_whole(content)
    except _Unreadable as error:
        raise UserFault(f"{model}: ONNX Runtime cannot load it ({error})") from error
    except OSError as error:
        raise UserFault(f"{model}: cannot be read ({error.strerror})") from error
    if not is_whole:
        raise UserFault(
            f"{model}: keeps values in other files (external data), which are not followed here; "
            f"write it as one file: onnx.save(onnx.load({model.name!r}), 'whole.onnx')"
        )


def _is_whole(content: Content) -> bool:
    """Whether no tensor of a model, wherever in it, refers to another file."""
    if len(content) > _MOST_BYTES:
        raise _Unreadable("it has more than 2 GiB")
    if content[4:8] == _ORT_FORMAT:
        raise _Unreadable("it is in ONNX Runtime's own format, not in ONNX")
    n_fields, waiting = 0, [("ModelProto", 0, len(content), 1)]
    while waiting:
        kind, at, end, depth = waiting.pop()
        if depth > _MOST_DEPTH:
            raise _Unreadable(f"it is nested more than {_MOST_DEPTH} deep")
        children, is_tensor = CHILDREN[kind], kind == "TensorProto"
        while at < end:
            n_fields += 1
            tag, at = _varint(content, at, end, most_bytes=5)
            field, wire_type = tag >> 3, tag & 7
            if not field:
                raise _Unreadable(_NOT_ONNX)
            value, start, at = _value(content, at, end, wire_type)
            if is_tensor and (field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0)):
                return False
            if field in children and wire_type == _BYTES:
                waiting.append((children[field], start, at, depth + 1))
        if n_fields > _MOST_FIELDS:
            raise _Unreadable("it has too many fields")
    return True


def _value(content: Content, at: int, end: int, wire_type: int) -> tuple[int | None, int, int]:
    """(the number where it is one, where the field's content begins, where it ends)."""
    value = None
    if wire_type == _VARINT:
        value, after = _varint(content, at, end, most_bytes=10)
    elif wire_type == _BYTES:
        length, at = _varint(content, at, end, most_bytes=5)
        after = at + length
    elif wire_type in (_FIXED_32, _FIXED_64):
        after = at + (4 if wire_type == _FIXED_32 else 8)
    else:
        raise _Unreadable(_NOT_ONNX)
    if after > end:
        raise _Unreadable(_NOT_ONNX)
    return value, at, after


def _varint(content: Content, at: int, end: int, most_bytes: int) -> tuple[int, int]:
    """(a number, where it ends); of a tag and a length at most 32 bits."""
    value = 0
    for i in range(min(most_bytes, end - at)):
        byte = content[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if most_bytes == 5 and value >> 32:
                break
            return value, at + i + 1
    raise _Unreadable(_NOT_ONNX)
