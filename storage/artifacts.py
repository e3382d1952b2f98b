"""Files by the digest of their content, on any file system that fsspec knows."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from storage.errors import ArtifactError, StoreUnreachable
from storage.partial import partial_name

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class ArtifactStore:
    """Content-addressed files below a local folder or an fsspec URL such as s3://bucket/path.

    A file is either wholly there or not at all: it is written under another name, flushed and
    renamed. Its name is the SHA-256 of its content, checked when it is read.

    Raises:
        StoreUnreachable: for a URL of no known kind.
    """

    def __init__(self, root: str | Path) -> None:
        try:
            # A path is taken as it is: in a URL `::` and `%` mean something.
            is_path = "://" not in str(root)
            local = (LocalFileSystem(), os.path.abspath(root))
            self._fs, path = local if is_path else fsspec.core.url_to_fs(str(root))
        except (ValueError, ImportError) as error:
            raise StoreUnreachable(f"artifacts {root}: {error}") from error
        self._root = path.rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)

    def put(self, path: Path) -> str:
        """Store a file; returns its digest. Storing the same content again does nothing."""
        digest = file_digest(path)
        target = self._path(digest)
        if self.has(digest):
            return digest
        self._fs.makedirs(os.path.dirname(target), exist_ok=True)
        partial = partial_name(target)
        try:
            if self._is_local:
                shutil.copyfile(path, partial)
                _flush(Path(partial))
                os.replace(partial, target)
            else:
                self._fs.put_file(str(path), partial)
                self._fs.mv(partial, target)
        except BaseException:  # what a full disk leaves would keep it full
            if self._fs.exists(partial):
                self._fs.rm(partial)
            raise
        return digest

    def has(self, digest: str) -> bool:
        """Whether a file is there, and on this host whole: a damaged one is removed, so that
        whoever makes it again can store it. Elsewhere `fetch` finds out."""
        path = self._path(digest)
        if not self._fs.exists(path):
            return False
        if self._is_local and file_digest(Path(path)) != digest:
            self._fs.rm(path)
            return False
        return True

    def size(self, digest: str) -> int:
        """Bytes of a stored file.

        Raises:
            ArtifactError: when it is missing.
        """
        try:
            return int(self._fs.size(self._path(digest)))
        except FileNotFoundError as error:
            raise ArtifactError(f"artifact {digest[:12]} is missing from {self._root}") from error

    def fetch(self, digest: str, path: Path) -> Path:
        """Copy a stored file to `path`, checking its content.

        Raises:
            ArtifactError: when it is missing or damaged.
        """
        source = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(partial_name(str(path)))
        try:
            self._fs.get_file(source, str(partial))
            if file_digest(partial) != digest:
                self._fs.rm(source)  # whoever makes it again can then store it
                raise ArtifactError(f"artifact {digest[:12]} in {self._root} is damaged")
            os.replace(partial, path)
        except FileNotFoundError as error:
            raise ArtifactError(f"artifact {digest[:12]} is missing from {self._root}") from error
        finally:
            partial.unlink(missing_ok=True)
        return path

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ArtifactError(f"{digest[:80]!r} is not a digest")
        return f"{self._root}/{digest[:2]}/{digest}"


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
