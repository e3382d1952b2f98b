"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


def partial_name(path: Path) -> Path:
    """A name of its own beside a path, for what is not whole yet."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` when the block ends.

    Whoever was first with the same name wins; what a failed block wrote is removed.
    """
    partial = partial_name(folder)
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, content: object, mode: int = 0o666) -> None:
    """Replace a small JSON file in one step; `mode` is what it is made with."""
    partial = partial_name(path)
    with open(
        os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8"
    ) as file:
        json.dump(content, file)
    os.replace(partial, path)
