"""`search agent serve | pack`: measure on this device for searches on other machines.

Runs without torch: what it imports makes do with onnxruntime, numpy, psutil, starlette, uvicorn
and click.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import ipaddress
import os
import re
import secrets
import socket
import sys
from importlib.abc import InspectLoader
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from spaces.files import why_not_a_file

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,1000}", re.ASCII)
_PACKED = (  # and what they import
    "search.cli.agent",
    "workers.agent.server",
    "workers.isolated_call",
    "workers.data.features",
    "workers.data.features_numpy",
    "workers.probe.machine",
    "workers.probe.sampling",
)
_START = """\
import os, sys
sys.path[0] = os.path.abspath(sys.path[0])  # the processes that measure import from here as well
from search.cli.agent import agent_command
agent_command(prog_name="agent.pyz")
"""


class Refused(click.ClickException):
    """The user's mistake."""

    exit_code = 2


@click.group("agent")
def agent_command() -> None:
    """Measure on this device for searches that run elsewhere."""


@agent_command.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--token-env", metavar="NAME", help="Environment variable with the token.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("~/.config/compression-search/agent.token"),
    show_default=True,
    help="File with the token; made when it is not there.",
)
@click.option(
    "--tls-cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate chain (PEM).",
)
@click.option(
    "--tls-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its key (PEM), where the certificate's file does not hold it.",
)
@click.option("--plain-http", is_flag=True, help="Let others reach it without TLS.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("~/.cache/compression-search/agent"),
    show_default=True,
    help="Folder for models and audio; nothing is written elsewhere.",
)
@click.option("--cache-mb", type=click.IntRange(1), default=2000, show_default=True)
@click.option("--max-file-mb", type=click.IntRange(1), default=500, show_default=True)
@click.option(
    "--memory-mb",
    type=click.IntRange(100),
    default=2000,
    show_default=True,
    help="That a measurement may use.",
)
@click.option(
    "--job-s",
    type=click.FloatRange(1, 86_400),
    default=600,
    show_default=True,
    help="Seconds after which a measurement is ended.",
)
@click.option(
    "--queue",
    type=click.IntRange(1, 1000),
    default=16,
    show_default=True,
    help="Jobs that may wait.",
)
def serve_command(
    host: str,
    port: int,
    token_env: str | None,
    token_file: Path,
    tls_cert: Path | None,
    tls_key: Path | None,
    plain_http: bool,
    cache: Path,
    cache_mb: int,
    max_file_mb: int,
    memory_mb: int,
    job_s: float,
    queue: int,
) -> None:
    """Measure what searches on other machines send, one job at a time.

    Whoever has the token may have models run on this device: give it to nobody else, and reach
    the agent over TLS, an SSH tunnel or a network that is yours alone.
    """
    _check_packages()
    import logging
    import ssl

    from workers.agent.server import Limits, Tls, serve
    from workers.errors import UserFault

    if tls_key is not None and tls_cert is None:
        raise Refused("--tls-key is of no use without --tls-cert")
    _check_regular("--tls-cert", tls_cert)
    _check_regular("--tls-key", tls_key)
    if token_env is None and token_file.expanduser().exists():
        _check_regular("--token-file", token_file.expanduser())
    listening = _listening(host, port, is_open=bool(tls_cert or plain_http))
    token, source = _token(token_env, token_file.expanduser())
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO, stream=sys.stderr)
    scheme, shown = "https" if tls_cert else "http", f"[{host}]" if ":" in host else host
    limits = Limits(cache_mb, max_file_mb, memory_mb, job_s, queue)
    tls = Tls(tls_cert, tls_key) if tls_cert else None
    click.echo(f"agent at {scheme}://{shown}:{listening.getsockname()[1]}, token in {source}")
    try:
        with listening:
            serve(listening, token, cache.expanduser(), limits, tls)
    except ssl.SSLError as error:
        raise Refused(f"--tls-cert, --tls-key: no such pair in PEM ({error.reason})") from error
    except (UserFault, OSError) as error:
        raise Refused(str(error)) from error


def _check_regular(option: str, path: Path | None) -> None:
    """Refuse a pipe or a device, which would be waited for without end."""
    if path is not None and (why := why_not_a_file(path)):
        raise Refused(f"{option} {path}: {why}")


def _listening(host: str, port: int, is_open: bool) -> socket.socket:
    """A bound socket; beyond this machine only where that was asked for."""
    family, address = _address(host, port)
    if not (is_open or ipaddress.ip_address(address[0]).is_loopback):
        raise Refused(
            f"{host} can be reached by others, who could read the token on its way: give "
            "--tls-cert and --tls-key, or --plain-http where the network is yours alone"
        )
    return _bound(family, address)


def _check_packages() -> None:
    needed = ("onnxruntime", "numpy", "psutil", "starlette", "uvicorn")
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        raise Refused(
            f'an agent needs {", ".join(lacking)}: pip install "compression-search[agent]", or '
            f"beside agent.pyz: pip install {' '.join(lacking)}"
        )


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Refused(f"--host {host}: {error.strerror}") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), port)


def _bound(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        raise Refused(
            f"cannot listen at {address[0]} port {address[1]}: {error.strerror}"
        ) from error


def _token(variable: str | None, path: Path) -> tuple[str, str]:
    """The token, and the place to tell of."""
    if variable is not None:
        token, source = os.environ.pop(variable, ""), f"${variable}"  # children need not know it
    else:
        token, source = _token_in(path), str(path)
    if not _TOKEN.fullmatch(token):
        raise Refused(f"{source}: holds no token; it takes 16 letters and digits or more")
    return token, source


def _token_in(path: Path) -> str:
    """Read, or made where there is none, for its owner's eyes only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                raise Refused(
                    f"--token-file {path}: others on this device can read or change it; "
                    f"chmod 600 {path}, or remove it, and a new token is made"
                ) from None
            return path.read_text().strip()
        with os.fdopen(file, "w") as made:
            made.write(secrets.token_urlsafe(32) + "\n")
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"--token-file {path}: {error}") from error


@agent_command.command("pack")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="agent.pyz")
def pack_command(path: Path) -> None:
    """Write one file that serves on a device: `python agent.pyz serve`.

    The device needs Python 3.11 and
    `pip install "onnxruntime>=1.24.1" numpy psutil starlette uvicorn "h11>=0.16" click`;
    kaldi-native-fbank, where it can be had, computes features faster.
    """
    import zipapp

    from spaces.backends import BACKENDS

    wanted = [*_PACKED, *(info.module for info in BACKENDS.values() if info.on_agents)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        for module, source in sorted(_closure(wanted).items()):
            spec = importlib.util.find_spec(module)
            is_package = spec is not None and spec.submodule_search_locations is not None
            target = folder.joinpath(*module.split("."))
            target = target / "__init__.py" if is_package else target.with_suffix(".py")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(source, encoding="utf-8")
        anchor = (files("workers.probe") / "anchor.onnx").read_bytes()
        (folder / "workers" / "probe" / "anchor.onnx").write_bytes(anchor)
        (folder / "__main__.py").write_text(_START)
        zipapp.create_archive(folder, path, "/usr/bin/env python3", compressed=True)
    click.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def _closure(wanted: list[str]) -> dict[str, str]:
    """Sources, by module, of modules of ours and of all of ours that these import when they are
    imported; what a function imports is not looked at."""
    sources: dict[str, str] = {}
    while wanted:
        module = wanted.pop()
        if module in sources:
            continue
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        sources[module] = spec.loader.get_source(module) or ""
        parents = [module.rpartition(".")[0]] if "." in module else []
        wanted += [m for m in (*parents, *_imported(sources[module])) if _is_ours(m)]
    return sources


def _imported(source: str) -> list[str]:
    named: list[str] = []
    waiting = list(ast.parse(source).body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Try):
            waiting += statement.body
        elif isinstance(statement, ast.Import):
            named += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            named.append(statement.module)
            named += [f"{statement.module}.{alias.name}" for alias in statement.names]
    return named


def _is_ours(name: str) -> bool:
    if name.partition(".")[0] not in ("spaces", "workers", "search"):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name within a module that is not a package
        return False
