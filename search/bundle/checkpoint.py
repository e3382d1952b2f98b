"""The network behind a trial or a teacher, as a checkpoint: to teach, or to be compressed on."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from search.bundle.subject import Subject
from search.errors import UsageFault
from storage.artifacts import ArtifactStore
from storage.errors import ArtifactError

SUFFIX = ".safetensors"


def write_checkpoint(subject: Subject, artifacts: ArtifactStore, target: Path, half: bool) -> Path:
    """Write the network of a subject, over what is there.

    Args:
        half: matrices in 16 bits: half the size, for weights that differ in the fourth digit.

    Raises:
        UsageFault: when it has none.
        ArtifactError: when it is lost.
    """
    digest = subject.results.checkpoint or subject.imported.get("checkpoint")
    if digest is None:
        raise UsageFault(f"{subject.who}: has no network of this program, only its exported file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".checkpoint-") as work:
        try:
            path = artifacts.fetch(digest, Path(work) / "network.safetensors")
        except ArtifactError as error:
            raise ArtifactError(
                f"files of {subject.who} are lost: {error}; {subject.how_to_make_anew}"
            ) from error
        (_halved(path) if half else path).replace(target)
    return target


def _halved(path: Path) -> Path:
    """Vectors stay as they are: they are few, and norms are made of them."""
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    halved = {
        name: value.astype(np.float16) if value.ndim > 1 and value.dtype == np.float32 else value
        for name, value in tensors.items()
    }
    smaller = path.with_name("half.safetensors")
    save_file(halved, smaller, metadata)
    shutil.copymode(path, smaller)
    return smaller
