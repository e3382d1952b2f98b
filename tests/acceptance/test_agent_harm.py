"""An agent and its client, each sent what does harm: secrets asked for, folders gone, bombs."""

from __future__ import annotations

import gzip
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import agents
import onnx
import pytest
from agents import TOKEN, Serving, serving

from workers.agent.messages import VERSION
from workers.errors import DeviceRefused, DeviceUnreachable, WorkError
from workers.probe.request import LatencyRequest
from workers.targets.agent import Agent


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> LatencyRequest:
    folder = tmp_path_factory.mktemp("asked")
    return agents.request(agents.student(folder / "model"), folder / "audio")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "agent") as one:
        yield one


# The agent


def test_a_model_that_refers_to_a_file_of_the_device_is_refused_there(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    model = onnx.load(asked.candidates[0].model)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../etc/passwd")
    (tmp_path / "model").mkdir()
    shutil.copy(asked.candidates[0].tokens, tmp_path / "model" / "tokens.txt")
    (tmp_path / "model" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WorkError, match=r"model\.onnx: keeps values in other files"):
        here.agent().run(agents.request(tmp_path / "model" / "model.onnx", tmp_path / "audio"))
    assert len(here.agent().run(asked)) == 1


def test_an_agent_says_what_this_system_lets_a_model_do(here: Serving) -> None:
    here.agent().device()
    log = here.log.read_text()
    assert "a model can neither use the network" in log or "cannot keep a model from these" in log


def test_a_cache_that_went_away_is_made_again(here: Serving, asked: LatencyRequest) -> None:
    for _ in range(2):
        assert len(here.agent().run(asked)) == 1
        shutil.rmtree(here.cache)
    assert len(here.agent().run(asked)) == 1
    assert "Traceback" not in here.log.read_text()


def test_a_cache_that_cannot_be_made_again_costs_the_jobs_until_it_can(
    here: Serving, asked: LatencyRequest
) -> None:
    assert len(here.agent().run(asked)) == 1
    shutil.rmtree(here.cache)
    here.cache.write_text("in the way")
    with pytest.raises(DeviceUnreachable, match="cache folder is gone and cannot be made again"):
        here.agent().run(asked)
    here.cache.unlink()
    assert len(here.agent().run(asked)) == 1
    assert "Traceback" not in here.log.read_text()


def test_a_cache_that_goes_while_a_job_runs_costs_that_job_at_most(
    here: Serving, asked: LatencyRequest, tmp_path: Path
) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    waiting = threading.Thread(target=_run_in_vain, args=(here.agent(), endless))
    waiting.start()
    while not here.agent().device()["running"]:
        pass
    shutil.rmtree(here.cache, ignore_errors=True)
    for child in here.children():
        _end(child)
    waiting.join()
    assert len(here.agent().run(asked)) == 1


def _run_in_vain(agent: Agent, request: LatencyRequest) -> None:
    with pytest.raises(WorkError):
        agent.run(request)


def _end(process: int) -> None:
    import os
    import signal

    os.kill(process, signal.SIGKILL)


# Its client


@contextmanager
def _answering(head: bytes, body: bytes) -> Iterator[Agent]:
    """Something at a port that answers every request the same."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(10_000)
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
                except OSError:  # it has heard enough
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield Agent(f"http://127.0.0.1:{listening.getsockname()[1]}", TOKEN)
        thread.join()


def test_what_would_unpack_without_end_is_not_unpacked() -> None:
    bomb = gzip.compress(b'{"version": %d}' % VERSION + b" " * 100_000_000, 1)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb)
    with _answering(head, bomb) as agent, pytest.raises(DeviceRefused, match="is not an agent"):
        agent.device()


def test_an_answer_without_end_is_not_read_to_it() -> None:
    head = b"Content-Length: 100000000\r\n"
    with (
        _answering(head, b" " * 100_000_000) as agent,
        pytest.raises(DeviceRefused, match="answers with more than any measurement holds"),
    ):
        agent.device()


def test_an_answer_that_is_cut_short_is_a_device_that_went_away() -> None:
    with (
        _answering(b"Content-Length: 1000\r\n", b"{") as agent,
        pytest.raises(DeviceUnreachable, match="cannot be reached"),
    ):
        agent.device()
