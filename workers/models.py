"""The files of a prepared model, fetched to where a runtime can load them."""

from __future__ import annotations

from pathlib import Path

from storage.artifacts import ArtifactStore
from workers.results import Model


def fetch_model(model: Model, artifacts: ArtifactStore, folder: Path) -> Path:
    """The files of a model in a folder of their own; the path of the main one.

    Raises:
        ArtifactError: when one is missing or damaged.
    """
    folder.mkdir(exist_ok=True)
    for name, digest in model.files.items():
        artifacts.fetch(digest, folder / name)
    return folder / model.main


def size_mb(model: Path) -> float:
    """10^6 bytes of a file."""
    return model.stat().st_size / 1e6
