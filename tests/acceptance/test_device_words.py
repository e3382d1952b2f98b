"""What a device says of itself reaches the terminal as text, and not as commands to it."""

from __future__ import annotations

import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import agents
import pytest
from agents import TOKEN
from shell import command

from search.cli.main import run
from workers.agent.messages import VERSION
from workers.errors import DeviceRefused, WorkError
from workers.targets.agent import Agent

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\nok   pi5: ready\r\u202eback" + "x" * 20_000
HARMLESS = "\N{REPLACEMENT CHARACTER}]0;owned"
MACHINE = {
    "processor": EVIL,
    "cores": EVIL,
    "memory_mb": EVIL,
    "load_1min": 0.5,
    "governor": EVIL,
    "runtimes": [EVIL] * 50,
    EVIL: EVIL,
}
SAMPLE = {
    **{key: [[1.0, 2.0]] for key in ("end_to_end_ms", "features_ms", "model_ms", "decode_ms")},
    **{key: [[1.0, 2.0]] for key in ("graph_cpu_ms", "anchor_cpu_ms")},
    **dict.fromkeys(("load_ms", "first_ms", "peak_memory_mb", "peak_gflops", "energy_mj")),
    "unsteady": [EVIL],
    "machine": MACHINE,
    "texts": ["a\u200db"],
    "profile": [{"operator": EVIL, "ms": 1.0}],
}


class _Device(ThreadingHTTPServer):
    """Gives the same answer to whatever is asked of it."""

    daemon_threads = True
    status, answer = 200, ""
    headers: dict[str, str] = {}  # noqa: RUF012


class _Handler(BaseHTTPRequestHandler):
    server: _Device

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"" if self.command == "HEAD" else self.server.answer.encode()
        uploading = self.command == "HEAD" and self.server.headers
        self.send_response(206 if uploading else self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def _serving() -> Iterator[_Device]:
    with _Device(("127.0.0.1", 0), _Handler) as device:
        thread = threading.Thread(target=device.serve_forever)
        thread.start()
        yield device
        device.shutdown()
        thread.join()


@pytest.fixture
def device() -> Iterator[_Device]:
    with _serving() as one:
        yield one


def _check(
    device: _Device,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """What `search devices check` prints of it."""
    monkeypatch.setenv("SEARCH_PI5_TOKEN", TOKEN)
    space = folder / "space.yaml"
    space.write_text(
        "name: one\ndata: {synthetic: {}}\nteacher: {train: {}}\n"
        "students: {separable_conv: {channels: 16}}\ntargets:\n"
        f'  pi5: {{agent: "http://127.0.0.1:{device.server_port}", token_env: SEARCH_PI5_TOKEN}}\n'
    )
    run(["--home", str(folder / "home"), "devices", "check", "--space", str(space)])
    return capsys.readouterr().out


def _is_plain_line(said: str) -> bool:
    return said.endswith("\n") and said[:-1].isprintable() and len(said) < 700


def test_a_device_that_is_ready_says_who_it_is_in_plain_words(
    device: _Device,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device.answer = json.dumps({"version": VERSION, "machine": MACHINE})
    said = _check(device, tmp_path, capsys, monkeypatch)
    assert said.startswith("ok   pi5 (onnxruntime on http://127.0.0.1:")
    assert HARMLESS in said
    assert _is_plain_line(said)


@pytest.mark.parametrize("status", [200, 400, 422, 500])
def test_a_device_that_refuses_does_so_in_plain_words(
    status: int,
    device: _Device,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device.status, device.answer = status, json.dumps({"error": EVIL})
    said = _check(device, tmp_path, capsys, monkeypatch)
    assert said.startswith("FAIL pi5 ")
    assert (HARMLESS in said) == (status != 200)
    assert _is_plain_line(said)


@pytest.mark.parametrize(
    "answer",
    ["[" * 100_000, "null", f'{{"version": {VERSION}}}', f'{{"version": {VERSION}, "machine": 3}}'],
)
def test_what_no_agent_would_answer_is_told(
    answer: str,
    device: _Device,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device.answer = answer
    said = _check(device, tmp_path, capsys, monkeypatch)
    assert said.startswith("FAIL pi5 ")
    assert "is " in said
    assert "agent" in said
    assert _is_plain_line(said)


def test_what_a_measurement_says_is_plain_and_its_texts_are_as_they_were(
    device: _Device, tmp_path: Path
) -> None:
    asked = agents.request(agents.student(tmp_path / "model"), tmp_path / "audio")
    agent = Agent(f"http://127.0.0.1:{device.server_port}", TOKEN)
    device.answer = json.dumps({"state": "done", "result": [SAMPLE]})
    (sample,) = agent.run(asked)
    kept = json.dumps([sample.machine, sample.unsteady, sample.profile], ensure_ascii=False)
    assert kept.isprintable()
    assert len(kept) < 40_000
    assert sample.texts == SAMPLE["texts"]
    assert sample.end_to_end_ms == [[1.0, 2.0]]
    device.answer = json.dumps({"state": "failed", "error": EVIL})
    with pytest.raises(WorkError) as caught:
        agent.run(asked)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("offset", ["much", "-1", "²", "1" * 40])
def test_an_upload_that_stands_nowhere_is_told(
    offset: str, device: _Device, tmp_path: Path
) -> None:
    asked = agents.request(agents.student(tmp_path / "model"), tmp_path / "audio")
    device.headers = {"Upload-Offset": offset}
    with pytest.raises(DeviceRefused, match="is not an agent of this version"):
        Agent(f"http://127.0.0.1:{device.server_port}", TOKEN).run(asked)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
def test_an_agent_does_not_serve_with_a_token_that_others_can_read(
    mode: int, tmp_path: Path
) -> None:
    path = tmp_path / "agent.token"
    path.write_text(TOKEN)
    path.chmod(mode)
    words = ("agent", "serve", "--port", 0, "--token-file", path, "--cache", tmp_path / "cache")
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"--token-file {path}: others on this device can read or change it" in done.stderr
    assert f"chmod 600 {path}" in done.stderr
    assert "Traceback" not in done.stderr
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with agents.serving(tmp_path, "--token-file", path, token_env=False) as one:
        assert one.agent().device()["version"] == VERSION
