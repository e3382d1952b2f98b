"""Files by the digest of their content, within a number of bytes: all that an agent ever writes.

    files/DIGEST     whole files
    partial/DIGEST   uploads that have not ended
    work/            folders of running jobs, and whatever a runtime drops; emptied after each job

What was used longest ago goes first; what a job needs and what is being written stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path

from workers.agent.messages import DIGEST
from workers.errors import UserFault

_FOLDERS = ("files", "partial", "work")
_LEAST_BYTES = 4096  # that an entry counts for: many empty ones fill a disk as well


class CacheFault(Exception):
    """A file cannot be taken."""


class TooBig(CacheFault):
    """It is over the limit of one file."""


class NoRoom(CacheFault):
    """What is kept is all in use, or the disk is full."""


class WrongDigest(CacheFault):
    """The whole is not what its name says; it was dropped."""


class WrongOffset(CacheFault):
    """An upload has to go on at `offset`; or it is being written by another request."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


class Missing(CacheFault):
    """Some files are not here."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(f"{len(digests)} files are not on the device")
        self.digests = digests


class Cache:
    """One folder, used by one agent at a time.

    Raises:
        UserFault: when another agent uses the folder.
    """

    def __init__(self, folder: Path, most_bytes: int, most_file_bytes: int) -> None:
        self.folder = folder.absolute()
        self.most_file_bytes = min(most_file_bytes, most_bytes)
        self._most_bytes = most_bytes
        self._mutex = threading.RLock()
        self._needed: Counter[str] = Counter()
        self._written: set[str] = set()
        self._sound: set[str] = set()  # read and found whole since this process began
        self._make_folders()
        self._lock = _locked(self.folder / "lock")
        self.empty_work()
        self._sizes = self._found()  # by kind and digest, the one used longest ago first
        self._make_room(0)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def used_bytes(self) -> int:
        return sum(self._sizes.values())

    def make_again(self) -> None:
        """Where somebody took the folder away while the agent runs, have it again, empty.

        Raises:
            NoRoom: when it cannot be made, or another agent has it now.
        """
        with self._mutex:
            if all((self.folder / name).exists() for name in (*_FOLDERS, "lock")):
                return
            try:
                self._make_folders()
                if not (self.folder / "lock").exists():
                    self._lock, old = _locked(self.folder / "lock"), self._lock
                    os.close(old)
            except OSError as error:
                raise NoRoom(
                    "the cache folder is gone and cannot be made again on the device "
                    f"({error.strerror})"
                ) from error
            except UserFault as error:
                raise NoRoom("another agent has taken the cache folder on the device") from error
            self._sizes = self._found()
            self._sound.clear()

    def _make_folders(self) -> None:
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def is_whole(self, digest: str) -> bool:
        """Whether the file is here and sound; it is read the first time that this is asked."""
        path = self._path("files", digest)
        with self._mutex:
            if ("files", digest) not in self._sizes:
                return False
            self._sizes.move_to_end(("files", digest))
            if digest in self._sound:
                return self._touched(path)
        if _digest_of(path) == digest:
            self._sound.add(digest)
            return True
        with self._mutex:
            self._drop("files", digest)  # a card that fails, or power that was cut
        return False

    def received(self, digest: str) -> int:
        """Bytes that are here, of a whole file or a partial one."""
        for kind in ("files", "partial"):
            try:
                return self._path(kind, digest).stat().st_size
            except OSError:
                continue
        return 0

    def begin(self, digest: str, offset: int, length: int) -> Upload:
        """Write on from an offset towards a file of that length in all.

        Raises:
            TooBig, WrongOffset, NoRoom: and nothing has changed.
        """
        if length > self.most_file_bytes:
            raise TooBig(f"a file may have {self.most_file_bytes} bytes")
        self.make_again()
        with self._mutex:
            here = self.received(digest)
            if digest in self._written:
                raise WrongOffset(here, "is being uploaded by another request")
            if ("files", digest) in self._sizes:
                raise WrongOffset(here, "is here already")
            if here > length:
                self._drop("partial", digest)
                here = 0
            if offset != here:
                raise WrongOffset(here, f"the upload goes on at {here}")
            self._written.add(digest)
        return Upload(self, digest, here, length)

    def need(self, digests: Iterable[str]) -> None:
        """Keep files until `release`.

        Raises:
            Missing: naming those that are not here; then none is kept.
        """
        digests = sorted(set(digests))
        with self._mutex:
            self._needed.update(digests)
        missing = [d for d in digests if not self.is_whole(d)]
        if missing:
            self.release(digests)
            raise Missing(missing)

    def release(self, digests: Iterable[str]) -> None:
        with self._mutex:
            self._needed.subtract(set(digests))
            self._needed += Counter()  # drops those at zero

    def place(self, digest: str, path: Path) -> None:
        """Give a file a name in a work folder."""
        source = self._path("files", digest)
        try:
            os.link(source, path)
        except OSError:  # no links on this file system, or not by this user (Android)
            shutil.copyfile(source, path)

    def empty_work(self) -> None:
        try:
            left = list(self.work.iterdir())
        except OSError:  # nothing is left of it; `make_again` is for that
            return
        for path in left:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()

    def close(self) -> None:
        """Let another agent have the folder."""
        os.close(self._lock)

    def _path(self, kind: str, digest: str) -> Path:
        assert DIGEST.fullmatch(digest), "digests are checked where they come in"
        return self.folder / kind / digest

    def _found(self) -> OrderedDict[tuple[str, str], int]:
        found = []
        for kind in ("files", "partial"):
            for path in (self.folder / kind).iterdir():
                if not DIGEST.fullmatch(path.name):
                    continue
                status = path.stat()
                size = max(_LEAST_BYTES, status.st_size)
                found.append((status.st_mtime_ns, (kind, path.name), size))
        return OrderedDict((key, size) for _, key, size in sorted(found))

    def _touched(self, path: Path) -> bool:
        """Used now, also for the agent after this one; False when somebody took the file away."""
        try:
            os.utime(path)
        except OSError:
            self._drop("files", path.name)
            return False
        return True

    def _drop(self, kind: str, digest: str) -> None:
        self._sizes.pop((kind, digest), None)
        self._sound.discard(digest)
        with contextlib.suppress(OSError):  # gone already, with its folder or alone
            self._path(kind, digest).unlink()

    def _make_room(self, n_bytes: int) -> None:
        with self._mutex:
            while self.used_bytes + n_bytes > self._most_bytes:
                free = (
                    k for k in self._sizes if not self._needed[k[1]] and k[1] not in self._written
                )
                oldest = next(free, None)
                if oldest is None:
                    raise NoRoom("the cache is full of files that are in use")
                self._drop(*oldest)

    def _grow(self, digest: str, size: int) -> None:
        """A partial file is about to have this size."""
        with self._mutex:
            key = ("partial", digest)
            counted = max(_LEAST_BYTES, size)
            self._make_room(counted - self._sizes.get(key, 0))
            self._sizes[key] = counted
            self._sizes.move_to_end(key)

    def _keep(self, digest: str) -> None:
        """A partial file is whole."""
        with self._mutex:
            os.replace(self._path("partial", digest), self._path("files", digest))
            size = self._path("files", digest).stat().st_size
            self._sizes.pop(("partial", digest), None)
            self._sizes["files", digest] = max(_LEAST_BYTES, size)
            self._sound.add(digest)


class Upload:
    """Bytes on their way into a partial file."""

    def __init__(self, cache: Cache, digest: str, offset: int, length: int) -> None:
        self._cache, self._digest, self._length = cache, digest, length
        self._path = cache._path("partial", digest)
        self.offset = offset
        try:
            cache._grow(digest, offset)
            self._file = self._path.open("ab")
        except OSError as error:
            self._leave()
            raise _disk_full(error) from error
        except NoRoom:
            self._leave()
            raise

    def write(self, chunk: bytes) -> None:
        """Raises:
        TooBig: when that is more than was announced; it is not written.
        NoRoom: when it cannot be kept.
        """
        if self.offset + len(chunk) > self._length:
            raise TooBig("more than was announced")
        self._cache._grow(self._digest, self.offset + len(chunk))
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _disk_full(error) from error
        self.offset += len(chunk)

    def end(self) -> bool:
        """Whether the file is whole now.

        Raises:
            WrongDigest: when all is there and is something else.
        """
        try:
            self._file.flush()
            if self.offset < self._length:
                return False
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _disk_full(error) from error
        if _digest_of(self._path) != self._digest:
            with self._cache._mutex:
                self._cache._drop("partial", self._digest)
            raise WrongDigest("the content is not what its digest says; send it again")
        try:
            self._cache._keep(self._digest)
        except OSError as error:
            raise _disk_full(error) from error
        return True

    def close(self) -> None:
        """What was written stays for the next request."""
        with contextlib.suppress(OSError):  # the disk is full; what came before stays
            self._file.close()
        self._leave()

    def _leave(self) -> None:
        self._cache._written.discard(self._digest)


def _disk_full(error: OSError) -> NoRoom:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return NoRoom("the disk of the device is full" if full else "the device cannot write the file")


def _digest_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise UserFault(
            f"{path.parent}: another agent uses this cache; give it one of its own"
        ) from error
    return lock
