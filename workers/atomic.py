"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.partial import partial_name as named_partial

_SEAL = ".whole.json"
_MOST_HASHED = 16_000_000  # bytes of a folder


def partial_name(path: Path) -> Path:
    """A name of its own beside a path, for what is not whole yet."""
    return Path(named_partial(str(path)))


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` when the block ends.

    Whoever was first with the same name wins; what a failed block wrote is removed. What it holds
    is listed in it, for `is_whole`.
    """
    partial = partial_name(folder)
    partial.mkdir(parents=True)
    try:
        yield partial
        write_json(partial / _SEAL, _seals(partial))
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether all is there that `new_folder` published; nobody can tell without its list.

    Much of what is big is told by its size: reading it at every use would take longer than the use.
    """
    try:
        listed = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        return all(_holds(folder / name, seal) for name, seal in listed.items())
    except (OSError, ValueError, AttributeError):
        return False


def whole_or_removed(folder: Path) -> bool:
    """Whether a published folder can be used; a damaged one is removed, to be made again."""
    if is_whole(folder):
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _seals(folder: Path) -> dict[str, list[object]]:
    """Size and digest of each file; of the biggest, beyond some megabytes in all, no digest."""
    files = sorted((p.stat().st_size, p) for p in folder.iterdir() if p.is_file())
    seals: dict[str, list[object]] = {}
    left = _MOST_HASHED
    for size, path in files:
        left -= size
        seals[path.name] = [size, _digest(path) if left >= 0 else ""]
    return seals


def _holds(path: Path, seal: list[object]) -> bool:
    size, digest = seal
    return path.stat().st_size == size and (digest == "" or _digest(path) == digest)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_json(path: Path, content: object, mode: int = 0o666) -> None:
    """Replace a small JSON file in one step; `mode` is what it is made with."""
    partial = partial_name(path)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
