"""A real agent over loopback: it measures, outlives what it is sent, and lets nobody else in."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import agents
import pytest
import requests
from agents import TOKEN, Raw, Serving, serving
from shell import command

from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.probe.request import Candidate, LatencyRequest
from workers.targets.agent import Agent, _message_of

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> LatencyRequest:
    folder = tmp_path_factory.mktemp("asked")
    return agents.request(agents.student(folder / "model"), folder / "audio")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One agent for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("agent")
    with serving(folder, "--job-s", 6, "--memory-mb", 1000, "--queue", 2) as one:
        yield one


def _until(is_so: Callable[[], object], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def _call(one: Serving, method: str, path: str, **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
    return requests.request(method, f"{one.url}/v1/{path}", headers=headers, timeout=40, **more)


def _put(one: Serving, name: str, request: LatencyRequest) -> requests.Response:
    """Upload what a request needs and queue it."""
    message, files = _message_of(request, one.url)
    agent = one.agent()
    for digest, path in files.items():
        agent._send(digest, path)
    return _call(one, "PUT", f"jobs/{name}", data=message.to_json())


def _state(one: Serving, name: str, wait_s: float = 0) -> dict[str, Any]:
    return _call(one, "GET", f"jobs/{name}?wait_s={wait_s}").json()


# Measuring


def test_a_model_of_several_files_is_measured_with_the_others(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(asked.candidates[0].model, model)
    (tmp_path / "model.bin").write_bytes(b"beside it")
    tokens = asked.candidates[0].tokens
    both = (asked.candidates[0], Candidate("stub", str(model), tokens, {}))
    real, stub = here.agent().run(agents.request(model, tmp_path / "audio", candidates=both))
    assert all(ms > 0 for row in real.end_to_end_ms for ms in row)
    assert stub.texts == ["a", "a"]
    digest = hashlib.sha256(b"beside it").hexdigest()
    assert (here.cache / "files" / digest).exists()


def test_a_device_says_what_it_is(here: Serving) -> None:
    told = here.agent().device()
    assert {"onnxruntime", "stub"} <= set(told["backends"])
    assert told["machine"]["cores"] >= 1
    assert told["limits"]["queue"] == 2
    assert told["running"] is False


def test_files_are_sent_once(asked: LatencyRequest, tmp_path: Path) -> None:
    with serving(tmp_path) as one:
        one.agent().run(asked)
        n_sent = one.log.read_text().count("PATCH")
        one.agent().run(asked)
        assert n_sent == 4
        assert one.log.read_text().count("PATCH") == n_sent


def test_an_upload_goes_on_where_it_was_cut(here: Serving, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(300_000)
    digest = hashlib.sha256(content).hexdigest()
    raw = Raw(here.port)
    raw.send(
        f"PATCH /v1/files/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Upload-Offset: 0\r\nUpload-Length: 300000\r\nContent-Length: 300000\r\n\r\n".encode()
    )
    raw.send(content[:120_000])
    _until(lambda: (here.cache / "partial" / digest).exists())
    raw.close()
    _until(lambda: (here.cache / "partial" / digest).stat().st_size == 120_000)
    response = _call(here, "HEAD", f"files/{digest}")
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "120000"
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    here.agent()._send(digest, path)
    assert (here.cache / "files" / digest).read_bytes() == content


def test_an_upload_says_where_it_has_to_go_on_and_what_it_may_hold(here: Serving) -> None:
    digest = hashlib.sha256(b"12345678").hexdigest()

    def patch(offset: int, length: int, content: bytes) -> requests.Response:
        headers = {"Upload-Offset": str(offset), "Upload-Length": str(length)}
        return _call(here, "PATCH", f"files/{digest}", data=content, headers=headers)

    assert patch(0, 8, b"1234").status_code == 204
    wrong = patch(0, 8, b"1234")
    assert (wrong.status_code, wrong.headers["Upload-Offset"]) == (409, "4")
    assert patch(4, 8, b"567890").status_code == 413
    assert patch(0, 10**12, b"1").status_code == 413
    assert patch(4, 8, b"wxyz").status_code == 422  # the whole is dropped
    assert patch(0, 8, b"12345678").status_code == 200
    assert _call(here, "HEAD", f"files/{digest}").headers["Upload-Offset"] == "8"


# Jobs


def test_jobs_are_done_in_order_and_a_full_queue_takes_no_more(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    assert _put(here, "order-first", endless).status_code == 201
    _until(lambda: _state(here, "order-first")["state"] == "running")
    assert _put(here, "order-second", asked).json()["before"] == 1
    assert _put(here, "order-third", asked).json()["before"] == 2
    assert _put(here, "order-fourth", asked).status_code == 429
    with pytest.raises(DeviceUnreachable, match="2 jobs are waiting already"):
        here.agent().run(asked)
    assert _call(here, "DELETE", "jobs/order-first").status_code == 204
    for name in ("order-second", "order-third"):
        assert _state(here, name, wait_s=20)["state"] == "done"
    lines = here.log.read_text().splitlines()
    began = [line.split()[-2] for line in lines if re.search(r"job order-.* begins", line)]
    assert began == ["order-fi", "order-se", "order-th"]


def test_a_job_is_the_same_however_often_it_is_put(here: Serving, asked: LatencyRequest) -> None:
    assert _put(here, "put-again", asked).status_code == 201
    assert _put(here, "put-again", asked).status_code == 200
    other = LatencyRequest(asked.candidates, asked.audio, asked.audio_s, max_s=0.2)
    assert _put(here, "put-again", other).status_code == 409
    assert _state(here, "put-again", wait_s=20)["state"] == "done"
    assert _call(here, "DELETE", "jobs/put-again").status_code == 204
    assert _call(here, "GET", "jobs/put-again").status_code == 404


@ON_LINUX
def test_a_cancelled_job_ends_at_once_with_its_process(here: Serving, tmp_path: Path) -> None:
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    _put(here, "to-cancel", endless)
    _until(lambda: here.children())
    _put(here, "cancelled-while-waiting", endless)
    _call(here, "DELETE", "jobs/cancelled-while-waiting")
    _call(here, "DELETE", "jobs/to-cancel")
    assert _state(here, "to-cancel")["state"] == "cancelled"
    assert _state(here, "cancelled-while-waiting")["state"] == "cancelled"
    _until(lambda: not here.children(), within_s=3)
    _until(lambda: not list((here.cache / "work").iterdir()), within_s=3)


@pytest.mark.parametrize(
    ("harmful", "said"),
    [
        (agents.crashing, "was ended by SIG"),
        (agents.endless, "took more than 6 s and was ended"),
        (agents.hungry, "allocate"),
        (agents.no_model, "ONNX Runtime cannot load it"),
    ],
)
def test_a_harmful_model_costs_its_own_job(
    harmful: Callable[[Path], Path],
    said: str,
    here: Serving,
    asked: LatencyRequest,
    tmp_path: Path,
) -> None:
    with pytest.raises(WorkError) as caught:
        here.agent().run(agents.request(harmful(tmp_path), tmp_path / "audio"))
    assert said in str(caught.value)
    assert str(here.folder) not in str(caught.value)
    assert not list((here.cache / "work").iterdir())
    assert len(here.agent().run(asked)) == 1


def _has_loaded(library: str, pid: int) -> bool:
    try:
        return library in Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended
        return False


@ON_LINUX
def test_an_agent_that_is_killed_is_away_and_the_next_one_goes_on(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        one.agent().run(asked)
        waiting = pool.submit(one.agent().run, endless)
        _until(lambda: any(_has_loaded("onnxruntime", pid) for pid in one.children()))
        children = one.children()
        one.process.kill()
        with pytest.raises(DeviceUnreachable):
            waiting.result(60)
        with pytest.raises(DeviceUnreachable, match="cannot be reached"):
            one.agent().device()
    _until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    with serving(tmp_path, port=one.port) as later:
        assert len(later.agent().run(asked)) == 1
        assert "PATCH" not in later.log.read_text()  # the files are there still


def test_a_job_that_somebody_else_cancelled_is_away(
    here: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _n: "a-job-of-ours")
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(here.agent().run, endless)
        _until(lambda: _state(here, "a-job-of-ours").get("state") == "running")
        _call(here, "DELETE", "jobs/a-job-of-ours")
        with pytest.raises(DeviceUnreachable, match="cancelled there"):
            waiting.result(60)


def test_a_job_that_a_new_agent_does_not_know_is_away(
    here: Serving, asked: LatencyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = here.agent()
    monkeypatch.setattr(agent, "_begin", lambda *_: None)  # as if begun with the one before
    with pytest.raises(DeviceUnreachable, match="has forgotten the job"):
        agent.run(asked)


@ON_LINUX
def test_an_agent_that_is_told_to_end_takes_its_job_with_it(tmp_path: Path) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.agent().run, endless)
        _until(lambda: one.children())
        children = one.children()
        one.process.send_signal(signal.SIGTERM)
        with pytest.raises(DeviceUnreachable):
            waiting.result(60)
        assert one.process.wait(10) == -signal.SIGTERM
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        assert "Traceback" not in one.log.read_text()
        assert not list((one.cache / "work").iterdir())


# What a client is refused


def test_a_wrong_token_is_refused_and_said_nowhere(here: Serving, asked: LatencyRequest) -> None:
    agent = here.agent(token="nearly-" + TOKEN)
    for ask in (agent.device, lambda: agent.run(asked)):
        with pytest.raises(DeviceRefused, match="does not know this token") as caught:
            ask()
        assert TOKEN not in f"{caught.value!r}{agent!r}{vars(caught.value)}"


@pytest.mark.parametrize("url", ["localhost:1", "ftp://x", "http://", "http://u:p@x", "http://x/a"])
def test_a_url_that_cannot_be_right_is_refused(url: str) -> None:
    with pytest.raises(DeviceRefused, match="has to be http"):
        Agent(url, TOKEN)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ümlaut"])
def test_a_token_that_cannot_be_right_is_refused_without_saying_it(token: str) -> None:
    with pytest.raises(DeviceRefused) as caught:
        Agent("http://localhost:1", token)
    assert not token or token not in str(caught.value)


def test_a_backend_that_the_device_lacks_is_refused(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    given = asked.candidates[0]
    for backend in ("openvino", "nonsense"):
        candidate = Candidate(backend, given.model, given.tokens, {})
        with pytest.raises(DeviceRefused, match=f'no backend "{backend}" on this device'):
            here.agent().run(
                agents.request(Path(given.model), tmp_path / "audio", candidates=(candidate,))
            )


def test_files_that_are_too_big_for_the_device_are_refused(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    with serving(tmp_path, "--cache-mb", 3, "--max-file-mb", 2) as one:
        big = agents.no_model(tmp_path / "big")
        big.write_bytes(bytes(2_000_001))
        with pytest.raises(DeviceRefused, match="--max-file-mb"):
            one.agent().run(agents.request(big, tmp_path / "audio"))
        for name in ("model.bin", "model.onnx"):
            big.with_name(name).write_bytes(name.encode() * 170_000)
        with pytest.raises(DeviceRefused, match="--cache-mb"):
            one.agent().run(agents.request(big, tmp_path / "audio"))
        assert len(one.agent().run(asked)) == 1


def test_what_is_no_agent_is_refused() -> None:
    answers = iter(
        [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n", b"HTTP/1.1 200 OK\r\n"]
    )
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for head in answers:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(10_000)
                    connection.sendall(head + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        agent = Agent(f"http://127.0.0.1:{listening.getsockname()[1]}", TOKEN)
        for said in ("is not an agent", "another version"):
            with pytest.raises(DeviceRefused, match=said):
                agent.device()
        thread.join()


# Starting


def _serve(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("agent", "serve", "--cache", folder / "cache", *options),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(folder), "AGENT_TOKEN": TOKEN, "COLUMNS": "200"},
    )


def test_without_tls_others_are_let_in_only_when_it_is_said(tmp_path: Path) -> None:
    done = _serve(tmp_path, "--host", "0.0.0.0", "--port", 0, "--token-env", "AGENT_TOKEN")
    assert done.returncode == 2
    assert "--plain-http" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--token-env", "NOT_SET"), "$NOT_SET: holds no token"),
        (("--token-env", "AGENT_TOKEN", "--host", "no.such.host.invalid"), "--host"),
        (("--token-env", "AGENT_TOKEN", "--tls-key", __file__), "--tls-cert"),
        (("--token-env", "AGENT_TOKEN", "--tls-cert", __file__, "--port", "0"), "no such pair"),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = _serve(tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_or_a_cache_in_use_is_refused(here: Serving, tmp_path: Path) -> None:
    taken = _serve(tmp_path, "--port", here.port, "--token-env", "AGENT_TOKEN")
    assert (taken.returncode, "cannot listen" in taken.stderr) == (2, True)
    shared = _serve(here.folder, "--port", 0, "--token-env", "AGENT_TOKEN")
    assert (shared.returncode, "another agent" in shared.stderr) == (2, True)


def test_a_token_is_made_for_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".config" / "compression-search" / "agent.token"
    with serving(tmp_path, "--token-file", path, token_env=False) as one:
        token = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(token) == 43
        assert one.agent(token).device()["version"] == 2
        log = one.log.read_text()
        assert str(path) in log
        assert token not in log
    with serving(tmp_path, token_env=False) as again:  # by default in the same place
        assert again.agent(token).device()["version"] == 2


def test_over_tls_only_the_authority_that_is_given_is_trusted(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    cert, key = _certificate(tmp_path)
    options = ("--tls-cert", cert, "--tls-key", key, "--host", "0.0.0.0")
    with serving(tmp_path, *options, scheme="https") as one:
        url = f"https://localhost:{one.port}"
        assert len(Agent(url, TOKEN, cert).run(asked)) == 1
        with pytest.raises(DeviceRefused, match="certificate is not to be trusted"):
            Agent(url, TOKEN).device()
        with pytest.raises(DeviceRefused, match="certificate is not to be trusted"):
            Agent(f"https://127.0.0.1:{one.port}", TOKEN, cert).device()  # not its name
        with pytest.raises(DeviceUnreachable):
            Agent(f"http://localhost:{one.port}", TOKEN).device()


def test_tls_to_an_agent_without_it_is_refused(here: Serving) -> None:
    with pytest.raises(DeviceRefused, match="does not speak TLS"):
        Agent(here.url.replace("http:", "https:"), TOKEN).device()


def _certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", *line.split(), *more], check=True, capture_output=True)
    return cert, key


# On a device that has only what an agent needs


def _bare_python(folder: Path) -> Path:
    """A Python with those packages alone, linked from here."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = (folder / "lib").glob("python3*/site-packages")
    wanted, seen = ["onnxruntime", "numpy", "starlette", "uvicorn", "click"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        found = importlib.metadata.distribution(name)
        tops = {p.parts[0] for p in found.files or () if p.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
        needs = [r for r in found.requires or () if "extra ==" not in r]
        wanted += [re.split(r"[^A-Za-z0-9._-]", r)[0] for r in needs if _is_here(r)]
    return folder / "bin" / "python"


def _is_here(requirement: str) -> bool:
    try:
        importlib.metadata.distribution(re.split(r"[^A-Za-z0-9._-]", requirement)[0])
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_one_packed_file_serves_where_there_is_no_torch(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    packed = tmp_path / "agent.pyz"
    subprocess.run(command("agent", "pack", packed), check=True, capture_output=True)
    assert packed.stat().st_size < 1_000_000
    python = _bare_python(tmp_path / "python")
    lacking = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('workers'))"
    told = subprocess.run([python, "-c", lacking], capture_output=True, text=True, cwd=tmp_path)
    assert told.stdout.strip() == "None None"
    with serving(tmp_path / "device", program=[python, packed]) as one:
        (restart,) = one.agent().run(asked)
        assert one.agent().device()["machine"]["features_by"] == "numpy"
        assert restart.end_to_end_ms


def test_a_device_that_lacks_a_package_is_told_which(tmp_path: Path) -> None:
    packed = tmp_path / "agent.pyz"
    subprocess.run(command("agent", "pack", packed), check=True, capture_output=True)
    python = _bare_python(tmp_path / "python")
    (site,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    (site / "uvicorn").unlink()
    done = subprocess.run([python, packed, "serve"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert 'needs uvicorn: pip install "compression-search[agent]"' in done.stderr


# Slow and many


@ON_LINUX
def test_who_says_nothing_or_hardly_anything_is_cut_off(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    head = f"PUT /v1/jobs/too-slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    with serving(tmp_path) as one:
        one.agent().run(asked)
        _until(lambda: one.n_open() < 20)
        n_open = one.n_open()
        waits, trickles, silent = Raw(one.port), Raw(one.port), []
        waits.send(f"{head}Content-Length: 9\r\n\r\n{{".encode())
        one.agent().device()  # by now its head has been read
        for _ in range(200):
            silent.append(Raw(one.port))
        _until(lambda: not _can_send(trickles, b"X"), within_s=30)
        assert waits.answer()[0] == 408
        _until(lambda: one.n_open() <= n_open + 2)
        assert len(one.agent().run(asked)) == 1
        for raw in (waits, trickles, *silent):
            raw.close()


def _can_send(raw: Raw, content: bytes) -> bool:
    time.sleep(0.2)
    try:
        raw.send(content)
    except OSError:
        return False
    return True


# Ten thousand bad requests

N_BAD = 10_000
N_THREADS = 4
NO_DIGEST = "ab" * 32
TRICKS = (
    *("..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "....//x", "a/../b"),
    *(
        "/etc/passwd",
        "//etc",
        "C:%5Cx",
        "..%5c..%5cx",
        "%00",
        "a%00.onnx",
        "%c0%ae%c0%ae/",
        "~root",
    ),
    *(
        "-rf",
        ".hidden",
        "x" * 5000,
        "%F0%9F%92%A9",
        "$(id)",
        "`id`",
        "CON",
        "a%0d%0aX-Y:z",
        "%25252e",
    ),
)
WRONG = (
    None,
    "../x",
    "",
    "two words",
    -1,
    10**400,
    1e308,
    [[]],
    [None],
    {"a": {}},
    [{}],
    ["x"] * 300,
)


class Bad:
    """Requests that no client of ours would make; each with the statuses it may be answered with.

    None for a status: the request is cut off and no answer is waited for.
    """

    def __init__(self, seed: int, job: dict[str, Any], digest: str) -> None:
        self.rng, self.job, self.digest = random.Random(seed), job, digest
        self.kinds = (
            *(self.without_token, self.wrong_token, self.digest_trick, self.upload) * 4,
            *(self.job_of_wrong_form, self.job_of_wrong_bytes, self.job_of_tricks) * 4,
            *(self.name_trick, self.wrong_method, self.unknown_path) * 3,
            *(self.malformed, self.cut_upload, self.big_head, self.wait) * 2,
        )

    def next(self, i: int) -> tuple[bytes, set[int] | None]:
        return self.big_body() if i % 250 == 0 else self.rng.choice(self.kinds)()

    def http(
        self, method: str, path: str, body: bytes = b"", token: str | None = TOKEN, **more: str
    ) -> bytes:
        lines = [f"{method} /v1/{path} HTTP/1.1", "Host: device"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        if body or method in ("PUT", "POST", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def name(self) -> str:
        return f"fuzz-{self.rng.getrandbits(60):015x}"

    def new_digest(self) -> str:
        return f"{self.rng.getrandbits(256):064x}"

    def right(self, token: str | None) -> bytes:
        """What would be answered with the token."""
        path, method = self.rng.choice(
            [
                ("device", "GET"),
                (f"jobs/{self.name()}", "PUT"),
                (f"jobs/{self.name()}", "DELETE"),
                (f"files/{self.digest}", "HEAD"),
                ("nothing/here", "GET"),
                ("../../etc/passwd", "GET"),
            ]
        )
        body = json.dumps(self.job).encode() if method == "PUT" else b""
        return self.http(method, path, body, token)

    def without_token(self) -> tuple[bytes, set[int]]:
        return self.right(None), {401}

    def wrong_token(self) -> tuple[bytes, set[int]]:
        i = self.rng.randrange(len(TOKEN))
        wrong = self.rng.choice(
            [
                TOKEN[:i] + "!" + TOKEN[i + 1 :],
                TOKEN[:i],
                TOKEN + "x",
                TOKEN.swapcase(),
                f"{TOKEN}, Bearer {TOKEN}",
                f"{TOKEN}\r\nAuthorization: Bearer {TOKEN}",
                f" {TOKEN}",
                "x" * self.rng.randrange(8000),
                "\xff\xfe",
            ]
        )
        return self.right(wrong), {401}

    def digest_trick(self) -> tuple[bytes, set[int]]:
        trick = self.rng.choice(
            [
                *TRICKS,
                NO_DIGEST.upper(),
                NO_DIGEST[1:],
                NO_DIGEST + "0",
                NO_DIGEST + "%0a",
                "g" * 64,
            ]
        )
        method = self.rng.choice(["HEAD", "PATCH"])
        body = b"content" if method == "PATCH" else b""
        more = {"Upload_Offset": "0", "Upload_Length": "7"}
        return self.http(method, f"files/{trick}", body, **more), {400, 404}

    def upload(self) -> tuple[bytes, set[int]]:
        path, wrong = (
            f"files/{self.new_digest()}",
            self.rng.choice(["-1", "1e3", "", "x", "9" * 40]),
        )
        return self.rng.choice(
            [
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length="4"), {422}),
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length="2"), {413}),
                (self.http("PATCH", path, b"evil", Upload_Offset="7", Upload_Length="9"), {409}),
                (self.http("PATCH", path, b"evil", Upload_Offset="0", Upload_Length=wrong), {400}),
                (self.http("PATCH", path, b"evil", Upload_Offset=wrong, Upload_Length="4"), {400}),
                (self.http("PATCH", path, b"evil"), {400}),
                (self.http("PATCH", path, Upload_Offset="0", Upload_Length="9" * 14), {413}),
                (self.http("HEAD", path, Upload_Length="9" * 14), {413}),
            ]
        )

    def cut_upload(self) -> tuple[bytes, None]:
        head = self.http(
            *("PATCH", f"files/{self.new_digest()}"),
            Upload_Offset="0",
            Upload_Length="90000",
        ).replace(b"Content-Length: 0", b"Content-Length: 90000")
        return head + self.rng.randbytes(self.rng.randrange(60_000)), None

    def put(self, body: bytes) -> bytes:
        return self.http("PUT", f"jobs/{self.name()}", body)

    def job_of_wrong_form(self) -> tuple[bytes, set[int]]:
        job = json.loads(json.dumps(self.job))
        within = self.rng.choice([job, job["candidates"][0]])
        name = self.rng.choice(sorted(within))
        what = self.rng.randrange(3)
        if what == 0:
            del within[name]
        elif what == 1:
            within[self.rng.choice(["", "more", "__class__", "\x00", "\ud800", "x" * 9999])] = 1
        else:
            within[name] = self.rng.choice(WRONG)
        return self.put(json.dumps(job).encode()), {400}

    def job_of_tricks(self) -> tuple[bytes, set[int]]:
        job = json.loads(json.dumps(self.job))
        candidate, trick = job["candidates"][0], self.rng.choice(TRICKS)
        what = self.rng.randrange(6)
        if what == 0:
            candidate["files"] = {trick + "/": self.digest}
        elif what == 1:
            candidate["main"] = trick
        elif what == 2:
            candidate["settings"] = {trick: 1}
        elif what == 3:
            candidate["tokens"] = trick
        elif what == 4:
            job["audio"][0] = self.new_digest()  # of nothing that is there
        else:
            candidate["backend"] = self.rng.choice(["tensorrt", "openvino", "nonsense", "torch"])
        return self.put(json.dumps(job).encode()), {422 if what > 3 else 400}

    def job_of_wrong_bytes(self) -> tuple[bytes, set[int]]:
        whole = json.dumps(self.job)
        body = self.rng.choice(
            [
                b"",
                b"\xff\xfe\x00",
                self.rng.randbytes(200),
                whole[: self.rng.randrange(1, len(whole))].encode(),
                whole.encode("utf-16"),
                b"\xef\xbb\xbf" + whole.encode(),
                whole.replace('"within": 0.01', '"within": NaN').encode(),
                whole.replace('"within": 0.01', '"within": -Infinity').encode(),
                whole.replace('"within": 0.01', '"within": 1e999').encode(),
                whole.replace('"within": 0.01', f'"within": {"9" * 9000}').encode(),
                whole.replace('"within": 0.01', '"within": 0.01, "within": 0.01').encode(),
                b"[" * 9000,
                b'{"a":' * 9000,
                b'"' + b"x" * 9000,
                b"null",
                b"[]",
            ]
        )
        return self.put(body), {400}

    def name_trick(self) -> tuple[bytes, set[int]]:
        method = self.rng.choice(["GET", "PUT", "DELETE"])
        trick = self.rng.choice([*TRICKS, "short", "x" * 65, "with space".replace(" ", "%20")])
        body = json.dumps(self.job).encode() if method == "PUT" else b""
        return self.http(method, f"jobs/{trick}", body), {400, 404}

    def wrong_method(self) -> tuple[bytes, set[int]]:
        method = self.rng.choice(["POST", "OPTIONS", "TRACE", "CONNECT", "BREW", "x" * 900])
        path = self.rng.choice(["device", f"files/{self.digest}", f"jobs/{self.name()}"])
        return self.http(method, path), {405}

    def unknown_path(self) -> tuple[bytes, set[int]]:
        path = self.rng.choice(
            ["", "docs", "openapi.json", "device/", "files", "files/", "jobs", "../v1/device/x"]
        )
        return self.http("GET", path), {404}

    def wait(self) -> tuple[bytes, set[int]]:
        wait = self.rng.choice(["-1", "nan", "inf", "1e9", "x", "9" * 999, "", "%00"])
        return self.http("GET", f"jobs/{self.name()}?wait_s={wait}"), {400, 404}

    def big_head(self) -> tuple[bytes, set[int]]:
        what = self.rng.choice([{"X_Long": "x" * 40_000}, {f"X{i}": "y" * 50 for i in range(900)}])
        # One that comes in a single read is never buffered incomplete, and is read.
        return self.http("GET", "nothing", **what), {0, 400, 404}

    def big_body(self) -> tuple[bytes, set[int]]:
        return self.put(json.dumps(self.job).encode() + b" " * 1_100_000), {0, 413}

    def malformed(self) -> tuple[bytes, set[int]]:
        whole = self.http("PUT", f"jobs/{self.name()}", b"{}")
        content = self.rng.choice(
            [
                self.rng.randbytes(self.rng.randrange(1, 500)),
                b"\r\n\r\n\r\n",
                b"GET\r\n\r\n",
                b"GET /v1/device HTTP/9.9\r\n\r\n",
                b"GET /v1/device HTTP/1.1\r\n\r\n",  # no host
                b"GET /v1/device HTTP/1.1\nHost: x\nA\n\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + self.rng.randbytes(200),  # TLS
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                whole.replace(b"Content-Length: 2", b"Content-Length: -2"),
                whole.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 9"),
                whole.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked") + b"zz\r\n",
                whole.replace(b"Content-Length: 2", b"Transfer-Encoding: gzip, gzip"),
                whole.replace(b"Host: device", b"Ho st: \x00"),
                whole[: self.rng.randrange(1, len(whole) - 1)],
            ]
        )
        return content, {0, 400, 401}


def _ask_badly(one: Serving, bad: Bad, n: int) -> int:
    """How many answers there were; each is checked."""
    raw, n_answers = Raw(one.port), 0
    for i in range(n):
        content, allowed = bad.next(i)
        status, headers, body = 0, {}, b""
        try:
            raw.send(content)
            if allowed is not None:
                if 0 in allowed:
                    raw.no_more()
                status, headers, body = raw.answer(has_body=not content.startswith(b"HEAD"))
        except TimeoutError:
            raise
        except OSError:  # cut off by the agent before all was sent
            assert allowed is None or 0 in allowed
        if allowed is not None:
            assert status in allowed, (content[:300], status, body)
            n_answers += status != 0
        assert b"Traceback" not in body
        assert TOKEN.encode() not in body
        assert str(one.folder).encode() not in body
        if headers.get("content-type") == "application/json":
            assert isinstance(json.loads(body or b'{"error": ""}')["error"], str)
        if allowed is None or 0 in allowed or headers.get("connection") == "close":
            raw.close()
            raw = Raw(one.port)
    raw.close()
    return n_answers


@ON_LINUX
def test_ten_thousand_bad_requests_change_nothing(asked: LatencyRequest, tmp_path: Path) -> None:
    message, files = _message_of(asked, "")
    job = json.loads(message.to_json())
    with serving(tmp_path, "--max-file-mb", 50, "--job-s", 20) as one:
        one.agent().run(asked)
        _ask_badly(one, Bad(99, job, message.audio[0]), 400)
        outside, before_mb, n_begun = one.others(), one.memory_mb(), _n_begun(one)
        n_open = one.n_open()
        start = time.monotonic()
        with ThreadPoolExecutor(N_THREADS) as pool:
            each = [
                pool.submit(_ask_badly, one, Bad(i, job, message.audio[0]), N_BAD // N_THREADS)
                for i in range(N_THREADS)
            ]
            n_answers = sum(e.result() for e in each)
        took_s, after_mb = time.monotonic() - start, one.memory_mb()
        print(
            f"{N_BAD / took_s:.0f} requests/s, {before_mb:.0f} MB before, {after_mb:.0f} MB after"
        )
        assert n_answers > N_BAD / 2
        assert one.process.poll() is None
        assert after_mb < before_mb + 40
        _until(lambda: one.n_open() <= n_open)
        assert _n_begun(one) == n_begun  # no job came of them
        told = one.agent().device()
        assert (told["waiting"], told["running"]) == (0, False)
        assert one.others() == outside
        assert not list((one.cache / "work").iterdir())
        for digest, path in files.items():  # what was there is what it was
            assert (one.cache / "files" / digest).read_bytes() == path.read_bytes()
        with pytest.raises(WorkError, match="cannot load it"):
            one.agent().run(agents.request(agents.no_model(tmp_path / "none"), tmp_path / "audio"))
        assert len(one.agent().run(asked)) == 1
        log = one.log.read_text()
        assert "Traceback" not in log
        assert "Error in" not in log
        assert TOKEN not in log


def _n_begun(one: Serving) -> int:
    return len(re.findall(r"job .* begins", one.log.read_text()))
