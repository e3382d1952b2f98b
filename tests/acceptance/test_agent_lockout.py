"""Who has no token keeps nobody out who has one: not by many connections, nor by silent ones."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import agents
import pytest
from agents import TOKEN, Serving, serving
from shell import command

from workers.probe.request import LatencyRequest
from workers.targets.agent import Agent

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 at hand"
)
N_ASKING, N_SILENT = 100, 1100
ASK_AGAIN_S = 1.0  # before a connection is taken to be idle
OPEN_FILES = 1024  # what most systems let a process have
ADDRESSES = pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"])
ASK = b"GET /v1/device HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer none-of-yours-0123\r\n\r\n"
_START = (
    "import os, resource, sys; "
    f"resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES})); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture(scope="module", autouse=True)
def _many_open_files() -> Iterator[None]:
    """For the attacker, which is this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * N_SILENT:
        pytest.skip("too few files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * N_SILENT), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> LatencyRequest:
    folder = tmp_path_factory.mktemp("asked")
    return agents.request(agents.student(folder / "model"), folder / "audio")


@pytest.fixture(scope="module")
def cert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, and its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, path = folder / "key.pem", folder / "cert.pem"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(path)]
    subprocess.run([*line.split(), *more], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture(scope="module", params=["plain", "TLS"])
def besieged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Serving, Agent]]:
    """An agent that may open as many files as is usual, and an honest client of it."""
    folder = tmp_path_factory.mktemp("agent")
    program = [sys.executable, "-c", _START, *command("agent")]
    if request.param == "plain":
        with serving(folder, program=program) as one:
            yield one, one.agent()
        return
    cert = request.getfixturevalue("cert")
    with serving(folder, "--tls-cert", cert, program=program, scheme="https") as one:
        yield one, Agent(f"https://localhost:{one.port}", TOKEN, cert)


def _connection(port: int, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))


@contextmanager
def _kept_alive(port: int, address: str) -> Iterator[None]:
    """Connections that ask without a token again and again, and are opened anew when cut off."""
    ended = threading.Event()

    def besiege() -> None:
        held: dict[socket.socket, float] = {}
        while not ended.is_set():
            while len(held) < N_ASKING:
                held[_connection(port, address)] = time.monotonic()
            for one, asked in list(held.items()):
                if _is_cut(one):
                    one.close()
                    del held[one]
                elif time.monotonic() > asked + ASK_AGAIN_S:
                    held[one] = time.monotonic()
                    with contextlib.suppress(OSError):
                        one.sendall(ASK)
            ended.wait(0.02)
        for one in held:
            one.close()

    thread = threading.Thread(target=besiege)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_cut(one: socket.socket) -> bool:
    try:
        return one.recv(100_000, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _is_served(agent: Agent, asked: LatencyRequest) -> None:
    """Within the time that the client itself allows."""
    start = time.monotonic()
    agent.device()
    known_s = time.monotonic() - start
    assert len(agent.run(asked)) == 1
    print(f"device in {known_s:.2f} s, measured in {time.monotonic() - start:.2f} s")


@ADDRESSES
def test_connections_that_never_begin_keep_nobody_out(
    besieged: tuple[Serving, Agent], asked: LatencyRequest, address: str
) -> None:
    one, agent = besieged
    with ExitStack() as held:
        for _ in range(N_SILENT):
            held.enter_context(_connection(one.port, address))
        _is_served(agent, asked)
        assert one.n_open() < OPEN_FILES / 2


@ADDRESSES
def test_connections_that_ask_without_a_token_keep_nobody_out(
    besieged: tuple[Serving, Agent], asked: LatencyRequest, address: str
) -> None:
    one, agent = besieged
    agent.device()
    with _kept_alive(one.port, address):
        time.sleep(2 * ASK_AGAIN_S)  # all of them are there, and those that were cut are back
        _is_served(agent, asked)


def test_a_connection_ends_with_the_refusal_of_its_token(tmp_path: Path) -> None:
    with serving(tmp_path) as one:
        raw = agents.Raw(one.port)
        raw.send(ASK + ASK)
        status, headers, _ = raw.answer()
        assert (status, headers["connection"]) == (401, "close")
        assert raw.answer()[0] == 0
        raw.close()


def test_strangers_make_room_for_others_and_never_for_themselves(tmp_path: Path) -> None:
    with serving(tmp_path) as one, ExitStack() as held:
        stranger = held.enter_context(_connection(one.port, "127.0.0.3"))
        for _ in range(N_SILENT):
            held.enter_context(_connection(one.port, "127.0.0.2"))
        stranger.sendall(ASK)
        assert stranger.recv(12) == b"HTTP/1.1 401"  # another's flood has not cut it off
