"""Ten thousand bad requests change nothing."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import agents
import pytest
from agents import TOKEN, Raw, Serving, serving
from asking import ON_LINUX, until
from bad_requests import Bad

from workers.errors import WorkError
from workers.probe.request import LatencyRequest
from workers.targets.agent import _message_of

N_BAD = 10_000
N_THREADS = 4


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
        until(lambda: one.n_open() <= n_open)
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
