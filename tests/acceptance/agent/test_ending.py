"""An agent that is killed, ended, filled or held up loses nothing that it can keep."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import agents
import pytest
from agents import TOKEN, Raw, serving
from asking import ON_LINUX, until

from workers.errors import DeviceRefused, DeviceUnreachable
from workers.probe.request import LatencyRequest


def test_files_are_sent_once(asked: LatencyRequest, tmp_path: Path) -> None:
    with serving(tmp_path) as one:
        one.agent().run(asked)
        n_sent = one.log.read_text().count("PATCH")
        one.agent().run(asked)
        assert n_sent == 4
        assert one.log.read_text().count("PATCH") == n_sent


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
        until(lambda: any(_has_loaded("onnxruntime", pid) for pid in one.children()))
        children = one.children()
        one.process.kill()
        with pytest.raises(DeviceUnreachable):
            waiting.result(60)
        with pytest.raises(DeviceUnreachable, match="cannot be reached"):
            one.agent().device()
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))
    with serving(tmp_path, port=one.port) as later:
        assert len(later.agent().run(asked)) == 1
        assert "PATCH" not in later.log.read_text()  # the files are there still


@ON_LINUX
def test_an_agent_that_is_told_to_end_takes_its_job_with_it(tmp_path: Path) -> None:
    endless = agents.request(agents.endless(tmp_path / "model"), tmp_path / "audio")
    with serving(tmp_path) as one, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.agent().run, endless)
        until(lambda: one.children())
        children = one.children()
        one.process.send_signal(signal.SIGTERM)
        with pytest.raises(DeviceUnreachable):
            waiting.result(60)
        assert one.process.wait(10) == -signal.SIGTERM
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        assert "Traceback" not in one.log.read_text()
        assert not list((one.cache / "work").iterdir())


@ON_LINUX
def test_who_says_nothing_or_hardly_anything_is_cut_off(
    asked: LatencyRequest, tmp_path: Path
) -> None:
    head = f"PUT /v1/jobs/too-slow HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    with serving(tmp_path) as one:
        one.agent().run(asked)
        until(lambda: one.n_open() < 20)
        n_open = one.n_open()
        waits, trickles, silent = Raw(one.port), Raw(one.port), []
        waits.send(f"{head}Content-Length: 9\r\n\r\n{{".encode())
        one.agent().device()  # by now its head has been read
        for _ in range(200):
            silent.append(Raw(one.port))
        until(lambda: not _can_send(trickles, b"X"), within_s=30)
        assert waits.answer()[0] == 408
        until(lambda: one.n_open() <= n_open + 2)
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
