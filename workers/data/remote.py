"""Lists and recordings that are no files of their own: behind a URL, or in a tar archive.

A recording in an archive is named `archive.tar::offset+size`, so that it is read without looking
through the archive. URLs are whatever fsspec opens: https://, s3:// (with `s3fs`), gs://, …
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec

from workers.errors import DataFault

_IN_TAR = re.compile(r"(.+\.tar)::(\d+)\+(\d+)", re.IGNORECASE)
_AUDIO = (".wav", ".flac", ".ogg", ".mp3")
_TEXT = (".txt", ".json")
_EXTRAS = {"http": "http", "https": "http", "s3": "s3"}
try:  # its errors are of no kind that Python knows
    from aiohttp import ClientError

    UNREACHABLE: tuple[type[Exception], ...] = (OSError, ClientError)
except ModuleNotFoundError:
    UNREACHABLE = (OSError,)
_UNREADABLE: tuple[type[Exception], ...] = (*UNREACHABLE, ValueError, tarfile.TarError)


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def is_file_of_its_own(path: str) -> bool:
    return not is_remote(path) and _IN_TAR.fullmatch(path) is None


def opened(path: str) -> IO[bytes]:
    """A recording that is no file of its own, whole.

    Raises:
        DataFault: when it cannot be read, saying why.
    """
    inside = _IN_TAR.fullmatch(path)
    begin, end = (None, None) if inside is None else _range_of(inside)
    with _said_of(path):
        system, where = fsspec.core.url_to_fs(archive_of(path))
        return io.BytesIO(system.cat_file(where, begin, end))  # of an archive no more than that


@contextmanager
def _said_of(path: str, what: str = "cannot be read") -> Iterator[None]:
    """What goes wrong while a file is read, as a fault with its name."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataFault(f"{path}: {_absent(path)}") from error
    except ImportError as error:
        raise DataFault(f"{path}: cannot be read: {_needed(path, error)}") from error
    except _UNREADABLE as error:
        raise DataFault(f"{path}: {what} ({error})") from error


def text_at(url: str) -> str:
    """A list behind a URL.

    Raises:
        DataFault: when it cannot be read, or is not UTF-8.
    """
    content = opened(url).read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFault(f"{url}: is not UTF-8 text; save it as UTF-8") from error


def joined(base: str, path: str) -> str:
    """A path as a list behind a URL means it: beside the list, unless it says more."""
    return path if is_remote(path) or path.startswith("/") else f"{base}/{path}"


def in_tar(archive: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The samples of an archive, as WebDataset has them: files with the same name up to its first
    dot, one of them audio, one `.txt` or `.json` ({"text": …, "speaker": …}).

    Yields:
        The name of the sample, its audio, what is said of it.

    Raises:
        DataFault: when it is no archive.
    """
    with (
        _said_of(archive, "is no tar archive that can be read"),
        fsspec.open(archive, "rb") as file,
        tarfile.open(fileobj=file, mode="r:") as tar,
    ):
        samples: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
        for member in tar:
            if member.isfile():
                name, _, suffix = PurePosixPath(member.name).name.partition(".")
                key = str(PurePosixPath(member.name).with_name(name))
                samples[key][f".{suffix.lower()}"] = member
        for key, parts in samples.items():
            audio = next((parts[s] for s in _AUDIO if s in parts), None)
            if audio is None:
                continue
            said: dict[str, Any] = {}
            for suffix in _TEXT:
                if suffix in parts:
                    said |= _said(tar, parts[suffix], suffix)
            yield key, f"{archive}::{audio.offset_data}+{audio.size}", said


def _absent(path: str) -> str:
    return "is not there, or nobody answers" if is_remote(path) else "no such file"


def _needed(url: str, error: ImportError) -> str:
    extra = _EXTRAS.get(url.partition("://")[0])
    return str(error) if extra is None else f'pip install "compression-search[{extra}]"'


def _said(tar: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> dict[str, Any]:
    file = tar.extractfile(member)
    content = b"" if file is None else file.read()
    try:
        if suffix == ".txt":
            return {"text": content.decode("utf-8").strip()}
        told = json.loads(content)
    except (UnicodeDecodeError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _range_of(inside: re.Match[str]) -> tuple[int, int]:
    begin = int(inside[2])
    return begin, begin + int(inside[3])


def archive_of(path: str) -> str:
    """The file that a recording is in: its archive, or itself."""
    inside = _IN_TAR.fullmatch(path)
    return path if inside is None else inside[1]


def stamp_of(path: str) -> tuple[object, ...]:
    """Tells a file that was changed."""
    if not is_remote(path):
        told = Path(path).stat()
        return told.st_size, told.st_mtime_ns
    system, where = fsspec.core.url_to_fs(path)
    info = system.info(where)
    return info.get("size"), str(info.get("ETag") or info.get("mtime") or info.get("LastModified"))
