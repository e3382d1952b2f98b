"""A real agent over loopback takes files and jobs, and outlives what it is sent."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import agents
import pytest
import requests
from agents import TOKEN, Raw, Serving, serving
from asking import ON_LINUX, call, put_job, serve, state_of, until

from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.probe.request import Candidate, LatencyRequest
from workers.targets.agent import Agent


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One agent for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("agent")
    with serving(folder, "--job-s", 6, "--memory-mb", 1000, "--queue", 2) as one:
        yield one


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


def test_an_upload_goes_on_where_it_was_cut(here: Serving, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(300_000)
    digest = hashlib.sha256(content).hexdigest()
    raw = Raw(here.port)
    raw.send(
        f"PATCH /v1/files/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Upload-Offset: 0\r\nUpload-Length: 300000\r\nContent-Length: 300000\r\n\r\n".encode()
    )
    raw.send(content[:120_000])
    until(lambda: (here.cache / "partial" / digest).exists())
    raw.close()
    until(lambda: (here.cache / "partial" / digest).stat().st_size == 120_000)
    response = call(here, "HEAD", f"files/{digest}")
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
        return call(here, "PATCH", f"files/{digest}", data=content, headers=headers)

    assert patch(0, 8, b"1234").status_code == 204
    wrong = patch(0, 8, b"1234")
    assert (wrong.status_code, wrong.headers["Upload-Offset"]) == (409, "4")
    assert patch(4, 8, b"567890").status_code == 413
    assert patch(0, 10**12, b"1").status_code == 413
    assert patch(4, 8, b"wxyz").status_code == 422  # the whole is dropped
    assert patch(0, 8, b"12345678").status_code == 200
    assert call(here, "HEAD", f"files/{digest}").headers["Upload-Offset"] == "8"


# Jobs


def test_jobs_are_done_in_order_and_a_full_queue_takes_no_more(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    assert put_job(here, "order-first", endless).status_code == 201
    until(lambda: state_of(here, "order-first")["state"] == "running")
    assert put_job(here, "order-second", asked).json()["before"] == 1
    assert put_job(here, "order-third", asked).json()["before"] == 2
    assert put_job(here, "order-fourth", asked).status_code == 429
    with pytest.raises(DeviceUnreachable, match="2 jobs are waiting already"):
        here.agent().run(asked)
    assert call(here, "DELETE", "jobs/order-first").status_code == 204
    for name in ("order-second", "order-third"):
        assert state_of(here, name, wait_s=20)["state"] == "done"
    lines = here.log.read_text().splitlines()
    began = [line.split()[-2] for line in lines if re.search(r"job order-.* begins", line)]
    assert began == ["order-fi", "order-se", "order-th"]


def test_a_job_is_the_same_however_often_it_is_put(here: Serving, asked: LatencyRequest) -> None:
    assert put_job(here, "put-again", asked).status_code == 201
    assert put_job(here, "put-again", asked).status_code == 200
    other = LatencyRequest(asked.candidates, asked.audio, asked.audio_s, max_s=0.2)
    assert put_job(here, "put-again", other).status_code == 409
    assert state_of(here, "put-again", wait_s=20)["state"] == "done"
    assert call(here, "DELETE", "jobs/put-again").status_code == 204
    assert call(here, "GET", "jobs/put-again").status_code == 404


@ON_LINUX
def test_a_cancelled_job_ends_at_once_with_its_process(here: Serving, tmp_path: Path) -> None:
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    put_job(here, "to-cancel", endless)
    until(lambda: here.children())
    put_job(here, "cancelled-while-waiting", endless)
    call(here, "DELETE", "jobs/cancelled-while-waiting")
    call(here, "DELETE", "jobs/to-cancel")
    assert state_of(here, "to-cancel")["state"] == "cancelled"
    assert state_of(here, "cancelled-while-waiting")["state"] == "cancelled"
    until(lambda: not here.children(), within_s=3)
    until(lambda: not list((here.cache / "work").iterdir()), within_s=3)


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


def test_a_job_that_somebody_else_cancelled_is_away(
    here: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _n: "a-job-of-ours")
    endless = agents.request(agents.endless(tmp_path), tmp_path / "audio")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(here.agent().run, endless)
        until(lambda: state_of(here, "a-job-of-ours").get("state") == "running")
        call(here, "DELETE", "jobs/a-job-of-ours")
        with pytest.raises(DeviceUnreachable, match="cancelled there"):
            waiting.result(60)


def test_a_job_that_a_new_agent_does_not_know_is_away(
    here: Serving, asked: LatencyRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = here.agent()
    monkeypatch.setattr(agent, "_begin", lambda *_: None)  # as if begun with the one before
    with pytest.raises(DeviceUnreachable, match="has forgotten the job"):
        agent.run(asked)


# What a client is refused


def test_a_wrong_token_is_refused_and_said_nowhere(here: Serving, asked: LatencyRequest) -> None:
    agent = here.agent(token="nearly-" + TOKEN)
    for ask in (agent.device, lambda: agent.run(asked)):
        with pytest.raises(DeviceRefused, match="does not know this token") as caught:
            ask()
        assert TOKEN not in f"{caught.value!r}{agent!r}{vars(caught.value)}"


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


def test_a_port_or_a_cache_in_use_is_refused(here: Serving, tmp_path: Path) -> None:
    taken = serve(tmp_path, "--port", here.port, "--token-env", "AGENT_TOKEN")
    assert (taken.returncode, "cannot listen" in taken.stderr) == (2, True)
    shared = serve(here.folder, "--port", 0, "--token-env", "AGENT_TOKEN")
    assert (shared.returncode, "another agent" in shared.stderr) == (2, True)


def test_tls_to_an_agent_without_it_is_refused(here: Serving) -> None:
    with pytest.raises(DeviceRefused, match="does not speak TLS"):
        Agent(here.url.replace("http:", "https:"), TOKEN).device()
