"""Environments of their own for runtimes whose packages conflict with ours.

An environment is a layer over this one: what it installs comes first, everything else (torch,
numpy, this program) is found here. It lies in the installation, so that it goes with it.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from spaces.backends import BackendInfo, backend_info
from spaces.registry import UnknownName
from workers.backends.base import missing, missing_modules
from workers.errors import UserFault, WorkError

_LAYER = "zz-below.pth"  # read after what is installed in the layer itself


def environment_of(info: BackendInfo) -> Path:
    return Path(sys.prefix) / "backends" / info.name


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _marker(info: BackendInfo) -> Path:
    return environment_of(info) / "installed.txt"


def is_installed(info: BackendInfo) -> bool:
    """Whether a backend can be run, here or in an environment of its own."""
    return _is_layered(info) or (not _must_be_layered(info) and not missing_modules(info))


def _must_be_layered(info: BackendInfo) -> bool:
    """A GPU's build of a runtime has the module names of the one that is here."""
    return info.gpu and bool(info.requirements)


def _is_layered(info: BackendInfo) -> bool:
    marker = _marker(info)
    return marker.is_file() and marker.read_text() == _wanted(info)


def _wanted(info: BackendInfo) -> str:
    return "".join(f"{r}\n" for r in info.requirements)


def interpreter_of(backend: str) -> Path:
    """The Python in which a backend runs.

    Raises:
        UserFault: naming what to install.
    """
    try:
        info = backend_info(backend)
    except UnknownName as error:
        raise UserFault(str(error)) from error
    if info.requirements and _is_layered(info):
        return _python(environment_of(info))
    lacking = missing_modules(info)
    if lacking or _must_be_layered(info):
        raise missing(info, lacking)
    return Path(sys.executable)


def install(info: BackendInfo) -> Path:
    """Make the environment of a backend, anew if there is a broken one.

    Raises:
        UserFault: for a backend that needs none.
        WorkError: when pip fails, with the last it said.
    """
    if not info.requirements:
        how = f'pip install "compression-search[{info.extra}]"' if info.extra else "it comes along"
        raise UserFault(f'backend "{info.name}" needs no environment of its own: {how}')
    folder = environment_of(info)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(
        sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    )
    below = dict.fromkeys([sysconfig.get_path("purelib"), *site.getsitepackages()])
    # Lines that begin with "import" are run: so editable installs below count as well.
    lines = [f"import site; site.addsitedir({path!r})" for path in below]
    (packages / _LAYER).write_text("\n".join(lines) + "\n")
    pip = [sys.executable, "-m", "pip"]
    done = subprocess.run(
        [*pip, "--python", str(_python(folder)), "install", "--quiet", *info.requirements],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise WorkError(f"pip could not install {' '.join(info.requirements)}: {last}")
    _marker(info).write_text(_wanted(info))
    return folder
