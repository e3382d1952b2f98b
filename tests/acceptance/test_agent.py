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

from workers.agent.client import Agent, _message_of
from workers.errors import DeviceAway, DeviceRefused, WorkError
from workers.measure.latency import Candidate, LatencyRequest

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
    assert all(ms > 0 for row in real.whole_ms for ms in row)
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
    with pytest.raises(DeviceAway, match="2 jobs are waiting already"):
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


def test_an_agent_that_is_killed_is_away_and_the_next_one_goes_on(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        one.agent().run(asked)
        waiting = pool.submit(one.agent().run, endless)
        _until(lambda: one.agent().device()["running"])
        children = one.children() if sys.platform == "linux" else []
        one.process.kill()
        with pytest.raises(DeviceAway):
            waiting.result(60)
        with pytest.raises(DeviceAway, match="cannot be reached"):
            one.agent().device()
    _until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    with serving(tmp_path, port=one.port) as later:
        assert len(later.agent().run(asked)) == 1
        assert "PATCH" not in later.log.read_text()  # the files are there still


def test_a_job_that_somebody_cancelled_or_a_device_forgot_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _n: "a-job-of-ours")
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        for deletions, said in ((1, "cancelled there"), (2, "has forgotten the job")):
            agent = one.agent()
            monkeypatch.setattr(agent, "_forget", lambda _name: None)
            if deletions == 2:
                monkeypatch.setattr("workers.agent.client._WAIT_S", 0)
            waiting = pool.submit(agent.run, endless)
            _until(lambda: one.agent().device()["running"])
            for _ in range(deletions):
                _call(one, "DELETE", "jobs/a-job-of-ours")
            with pytest.raises(DeviceAway, match=said):
                waiting.result(60)
            _call(one, "DELETE", "jobs/a-job-of-ours")


@ON_LINUX
def test_an_agent_that_is_told_to_end_takes_its_job_with_it(tmp_path: Path) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.agent().run, endless)
        _until(lambda: one.children())
        children = one.children()
        one.process.send_signal(signal.SIGTERM)
        with pytest.raises(DeviceAway):
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
            big.with_name(name).write_bytes(name.encode() * 150_000)
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
        for said in ("is no agent", "another version"):
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
        assert one.agent(token).device()["version"] == 1
        log = one.log.read_text()
        assert str(path) in log
        assert token not in log
    with serving(tmp_path, token_env=False) as again:  # by default in the same place
        assert again.agent(token).device()["version"] == 1


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
        with pytest.raises(DeviceAway):
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
        assert restart.whole_ms


def test_a_device_that_lacks_a_package_is_told_which(tmp_path: Path) -> None:
    packed = tmp_path / "agent.pyz"
    subprocess.run(command("agent", "pack", packed), check=True, capture_output=True)
    python = _bare_python(tmp_path / "python")
    (site,) = (tmp_path / "python" / "lib").glob("python3*/site-packages")
    (site / "uvicorn").unlink()
    done = subprocess.run([python, packed, "serve"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert 'needs uvicorn: pip install "compression-search[agent]"' in done.stderr
