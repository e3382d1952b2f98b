"""Takes from a process what running somebody's model does not need; no root, no other program.

Limits hold everywhere. On Linux, seccomp takes sockets and new processes, and Landlock the files
of others: reading in the folders that hold them (`/home`, `/etc`, …), and writing outside of the
process's own. All of it is settled before a runtime is loaded and costs nothing while one computes.

Numbers and layouts: linux/seccomp.h, linux/landlock.h, linux/audit.h, asm/unistd.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_OPEN_FILES = 512
_FILE_BYTES = 100_000_000  # of what it writes; a profile of a big model is a tenth of that

NETWORK, PROCESSES, FILES = "use the network", "start processes", "read files of others"


def confine(folder: Path) -> None:
    """Of this process and its threads to come, all that this system allows to take."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError):  # a kernel without it; `open_doors` tells
        _leave_own_files(libc, folder)
    with contextlib.suppress(OSError):
        _take_calls(libc)


def open_doors(_request: Mapping[str, object]) -> list[str]:
    """What this process can do and should not, found out by trying."""
    tried = {NETWORK: _opens_socket, PROCESSES: _forks, FILES: _reads_others}
    return [what for what, is_open in tried.items() if is_open()]


def _opens_socket() -> bool:
    try:
        socket.socket().close()
    except OSError:
        return False
    return True


def _forks() -> bool:
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def _reads_others() -> bool:
    try:
        os.listdir("/etc")
    except OSError:
        return False
    return True


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (allowed, allowed))


# Linux: system calls

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_AT_NUMBER, _AT_ARCHITECTURE, _AT_FIRST_ARGUMENT = 0, 4, 16  # in struct seccomp_data
_CLONE_THREAD = 0x10000
_CLONE3 = 435  # its flags lie in memory, where no filter looks; without it libc takes clone
_X32_CALLS = 0x40000000


@dataclass(frozen=True)
class _Architecture:
    """Numbers of its system calls. `denied`: socket, socketpair, fork, vfork, execve, execveat,
    ptrace, process_vm_readv, process_vm_writev, io_uring_setup, pidfd_getfd."""

    audit: int
    seccomp: int
    clone: int
    denied: tuple[int, ...]


_ARCHITECTURES = {
    "x86_64": _Architecture(
        0xC000003E, 317, 56, (41, 53, 57, 58, 59, 322, 101, 310, 311, 425, 438)
    ),
    "aarch64": _Architecture(0xC00000B7, 277, 220, (198, 199, 221, 281, 117, 270, 271, 425, 438)),
}


def _take_calls(libc: ctypes.CDLL) -> None:
    """Sockets and processes, by a filter in the kernel; threads stay."""
    machine = _ARCHITECTURES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:
        return
    program = b"".join(_filter(machine))
    instructions = ctypes.create_string_buffer(program, len(program))
    given = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    # Without SPEC_ALLOW older kernels guard against speculation, and every model ran slower.
    for flags in (_SPEC_ALLOW, 0):
        if libc.syscall(machine.seccomp, _SECCOMP_SET_MODE_FILTER, flags, given) == 0:
            return
    raise OSError(ctypes.get_errno(), "seccomp")


def _filter(machine: _Architecture) -> Iterator[bytes]:
    """Instructions: a call by its number is refused, or goes on to the next."""
    refuse = _instruction(_RETURN, _ERRNO | errno.EPERM)
    yield _instruction(_LOAD, _AT_ARCHITECTURE)
    yield _instruction(_IF_EQUAL, machine.audit, 1, 0)
    yield refuse
    yield _instruction(_LOAD, _AT_NUMBER)
    yield _instruction(_IF_AT_LEAST, _X32_CALLS, 0, 1)
    yield refuse
    for number in machine.denied:
        yield _instruction(_IF_EQUAL, number, 0, 1)
        yield refuse
    yield _instruction(_IF_EQUAL, _CLONE3, 0, 1)
    yield _instruction(_RETURN, _ERRNO | errno.ENOSYS)
    yield _instruction(_IF_EQUAL, machine.clone, 0, 3)
    yield _instruction(_LOAD, _AT_FIRST_ARGUMENT)
    yield _instruction(_IF_BITS, _CLONE_THREAD, 1, 0)
    yield refuse
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, value: int, skip_if: int = 0, skip_else: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if, skip_else, value)


# Linux: files

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_ASK_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FIRST_RIGHTS, _REFER = (1 << 13) - 1, 1 << 13
_TCP, _SIGNALS = 0b11, 0b11  # bind and connect; to processes and abstract sockets of others
_OF_OTHERS = frozenset(
    "Users boot data etc home lost+found media mnt proc root run sdcard srv storage tmp var".split()
)
_SETTINGS = ("ld.so.cache", "localtime", "ld.so.conf", "ld.so.conf.d", "alternatives")  # of /etc

_OURS = ("workers", "spaces", "storage")


def _leave_own_files(libc: ctypes.CDLL, folder: Path) -> None:
    """Reading where the system and Python are, writing in a folder; nothing else."""
    version = libc.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    if version < 1:
        return
    newer = (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rights = _FIRST_RIGHTS | newer
    given = struct.pack("=Q", rights)
    if version >= 4:
        given += struct.pack("=Q", _TCP)
    if version >= 6:
        given += struct.pack("=Q", _SIGNALS)
    rules = libc.syscall(_CREATE_RULESET, given, len(given), 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    try:
        for path in _readable():
            _allow(libc, rules, path, _READ_FILE | _READ_DIR)
        for path in (folder, Path("/proc/self"), Path("/dev/null")):  # the peak of memory is reset
            _allow(libc, rules, path, rights)
        if libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock")
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> None:
    """Beneath a path, where it is there."""
    try:
        at = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
        libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, at), 0)
    finally:
        os.close(at)


def _readable() -> Iterator[Path]:
    """What a runtime is made of: the system, Python and its packages."""
    yield from (path for path in Path("/").iterdir() if path.name not in _OF_OTHERS)
    yield from (Path("/etc") / name for name in _SETTINGS)
    # Of the machine; what is there of other processes by number may hold their secrets.
    yield from (path for path in Path("/proc").iterdir() if not path.name.isdecimal())
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    # An editable install is found by a hook: its folders are not on the path.
    ours = (str(Path(__file__).resolve().parents[1] / name) for name in _OURS)
    given = {sys.prefix, sys.base_prefix, *sys.path, *libraries, *ours}
    for folder in (Path(each) for each in given if os.path.isabs(each)):
        yield folder
        if folder.is_dir():
            yield from _linked(folder)


def _linked(folder: Path) -> Iterator[Path]:
    """Where packages really are that are links, or made of them."""
    for entry in folder.iterdir():
        if entry.is_symlink():
            yield entry.resolve()
        for first in (entry / "__init__.py", entry / "METADATA"):
            if first.is_symlink():
                yield first.resolve().parent
