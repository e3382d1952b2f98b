"""Bundle and audio in, text out: what a device does, without torch."""

from __future__ import annotations

import json
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.backends.base import Session, open_session
from workers.data.features import fbank
from workers.data.text import decode, read_tokens
from workers.errors import BundleFault, UserFault

MODEL, TOKENS, MANIFEST = "model.onnx", "tokens.txt", "bundle.json"
_MAX_MEMBER_BYTES = 2 << 30
# RuntimeError is what zipfile says of a password or a packing it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError)


@dataclass(frozen=True)
class Recognizer:
    """An exported student, ready to transcribe."""

    session: Session
    symbols: tuple[str, ...]

    def transcribe(self, samples: np.ndarray) -> str:
        """Text of one utterance, float32 [n_samples] in [-1, 1] at 16 kHz."""
        log_probs = self.session.run(fbank(samples))
        if log_probs.shape[1] != len(self.symbols):
            raise BundleFault(
                f"{MODEL} writes {log_probs.shape[1]} symbols, but {TOKENS} lists "
                f"{len(self.symbols)}: they are not of one bundle"
            )
        return decode(log_probs.argmax(-1).tolist(), self.symbols)


def open_bundle(path: Path, threads: int = 1) -> Recognizer:
    """Load a bundle, a folder or a zip.

    Raises:
        BundleFault: when it is no bundle, or its files are not those it was written with.
    """
    if not path.exists():
        raise BundleFault(f"{path}: no such bundle")
    if path.is_dir():
        return _open_folder(path, threads)
    with tempfile.TemporaryDirectory() as folder:
        _unpack(path, Path(folder))
        try:
            return _open_folder(Path(folder), threads)
        except UserFault as fault:  # named by the archive, not by where it was unpacked
            raise BundleFault(str(fault).replace(folder, str(path))) from fault


def _unpack(path: Path, folder: Path) -> None:
    """Only the files that are needed, by their names: no path in an archive is followed."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(n).name: n for n in archive.namelist() if not n.endswith("/")}
            for wanted in (MODEL, TOKENS, MANIFEST):
                if wanted not in names:
                    raise BundleFault(f"{path}: is no bundle (it holds no {wanted})")
                if archive.getinfo(names[wanted]).file_size > _MAX_MEMBER_BYTES:
                    raise BundleFault(f"{path}: its {wanted} is too large")
                (folder / wanted).write_bytes(archive.read(names[wanted]))
    except _UNREADABLE as error:
        raise BundleFault(f"{path}: is neither a bundle's folder nor its zip ({error})") from error


def _open_folder(folder: Path, threads: int) -> Recognizer:
    manifest = read_manifest(folder)
    from storage.artifacts import file_digest

    for name in (MODEL, TOKENS):
        if not (folder / name).is_file():
            raise BundleFault(f"{folder}: is no bundle (it holds no {name})")
        said = manifest.get("files", {}).get(name)
        if said is not None and file_digest(folder / name) != said:
            raise BundleFault(
                f"{folder / name}: is damaged: not the file this bundle was made with; copy or "
                "export it again"
            )
    try:
        symbols = read_tokens(folder / TOKENS)
    except ValueError as error:
        raise BundleFault(str(error)) from error
    return Recognizer(open_session("onnxruntime", folder / MODEL, threads), symbols)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The bundle's own description; empty for a bare folder with a model and tokens."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BundleFault(f"{path}: is not JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("files", {}), dict):
        raise BundleFault(f"{path}: is not a bundle's description")
    return content
