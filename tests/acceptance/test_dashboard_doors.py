"""Who the dashboard opens to: names it is served under, pages that are its own, other machines."""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import hear, serving
from playwright.sync_api import Browser, Page

Cli = Callable[..., subprocess.CompletedProcess[str]]
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
SOCKET, PAGE = "/_stcore/stream", "/"
OPEN_SOCKET = """address => new Promise(resolve => {
  const socket = new WebSocket(address, ['streamlit']);
  socket.onopen = () => resolve('open');
  socket.onerror = () => resolve('refused');
})"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors") / "home"


@pytest.fixture(scope="module")
def port(home: Path) -> Iterator[int]:
    with serving(home, "--allow-host", "search.example.org") as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[str]:
    """A server of something else on this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def status_of(port: int, path: str, *headers: str) -> int:
    """What is answered to a request with these headers and no others."""
    upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\n{_KEY}" if path == SOCKET else ""
    lines = "".join(f"{h.replace('PORT', str(port))}\r\n" for h in headers)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{lines}{upgrade}\r\n".encode())
        return int(connection.makefile("rb").readline().split()[1])


@pytest.mark.parametrize("path", [PAGE, SOCKET, "/_stcore/health", "/_stcore/host-config"])
@pytest.mark.parametrize(
    "headers",
    [
        ("Host: evil.example:PORT",),
        ("Host: evil.example",),
        ("Host: localhost.evil.example:PORT",),
        ("Host: 127.0.0.1.evil.example:PORT",),
        ("Host: 192.0.2.1:PORT",),
        ("Host: localhost@evil.example",),
        ("Host: evil.example:PORT", "Origin: http://evil.example:PORT"),
        ("Host: 127.0.0.1:PORT", "Origin: http://evil.example"),
        ("Host: 127.0.0.1:PORT", "Origin: http://localhost:3000"),
        ("Host: 127.0.0.1:PORT", "Origin: null"),
        ("Host: 127.0.0.1:PORT", "Host: evil.example"),
        ("Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT", "Origin: http://evil.example"),
    ],
)
def test_foreign_names_and_pages_are_not_served(
    port: int, path: str, headers: tuple[str, ...]
) -> None:
    assert status_of(port, path, *headers) in (400, 403)


@pytest.mark.parametrize(("path", "served"), [(PAGE, 200), (SOCKET, 101)])
@pytest.mark.parametrize(
    "name", ["127.0.0.1:PORT", "localhost:9999", "[::1]", "search.example.org"]
)
@pytest.mark.parametrize("has_origin", [False, True])
def test_its_own_names_are_served(
    port: int, path: str, served: int, name: str, has_origin: bool
) -> None:
    origin = (f"Origin: https://{name}",) if has_origin else ()
    assert status_of(port, path, f"Host: {name}", *origin) == served


def test_a_browser_is_told_what_to_do_under_a_foreign_name(port: int, page: Page) -> None:
    answer = page.goto(f"http://evil.localhost:{port}/")  # which Chromium finds on loopback
    assert answer is not None
    assert answer.status == 403
    assert "--allow-host NAME" in page.inner_text("body")
    page.goto(f"http://localhost:{port}/")
    hear(page, "No studies")


def test_a_page_of_another_server_on_this_machine_cannot_steer(
    port: int, page: Page, another: str
) -> None:
    page.goto(another)
    assert page.evaluate(OPEN_SOCKET, f"ws://localhost:{port}{SOCKET}") == "refused"
    page.goto(f"http://localhost:{port}/")
    assert page.evaluate(OPEN_SOCKET, f"ws://localhost:{port}{SOCKET}") == "open"


@pytest.mark.parametrize("path", [PAGE, "/front", "/_stcore/health", "/no-such-page"])
def test_every_answer_says_that_no_other_page_may_frame_it(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.headers.get_all("Content-Security-Policy") == ["frame-ancestors 'self'"]


def test_a_page_of_another_server_on_this_machine_cannot_frame_it(
    port: int, page: Page, another: str, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text(f"<iframe src='http://localhost:{port}/'></iframe>")
    page.goto(another)
    _, framed = page.frames
    assert framed.url == "chrome-error://chromewebdata/"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_it_listens_beyond_this_machine_with_sign_in_only(
    cli: Cli, tmp_path: Path, host: str
) -> None:
    done = cli("dashboard", "--no-browser", "--host", host, cwd=tmp_path)
    assert done.returncode == 2
    assert "can be reached by others" in done.stderr
    assert "--insecure" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_not_known_is_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("dashboard", "--no-browser", "--host", "no-such.invalid", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("search: --host no-such.invalid: ")
    assert "Traceback" not in done.stderr


def test_without_sign_in_others_may_look_but_not_steer(home: Path, page: Page) -> None:
    with serving(home, "--host", "0.0.0.0", "--insecure") as url:
        port = int(url.rpartition(":")[2])
        page.goto(url)
        hear(page, "This dashboard is read-only.")
        assert status_of(port, PAGE, "Host: evil.example") == 403
        log = (home.parent / f"dashboard-{port}" / "log").read_text()
    assert "--insecure: everybody who reaches this dashboard may look; it is read-only" in log


def test_with_sign_in_it_listens_beyond_this_machine(home: Path) -> None:
    def secrets(url: str) -> str:
        return (
            f'[auth]\nredirect_uri = "{url}/oauth2callback"\ncookie_secret = "a-long-enough-one"\n'
        )

    with serving(home, "--host", "0.0.0.0", secrets=secrets) as url:
        assert status_of(int(url.rpartition(":")[2]), PAGE, "Host: localhost") == 200
