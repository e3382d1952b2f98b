"""An agent asked over HTTP without a client of ours, and started in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from agents import TOKEN, Serving
from shell import command

from workers.probe.request import LatencyRequest
from workers.targets.agent import _message_of

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def until(is_so: Callable[[], object], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def call(one: Serving, method: str, path: str, **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
    return requests.request(method, f"{one.url}/v1/{path}", headers=headers, timeout=40, **more)


def put_job(one: Serving, name: str, request: LatencyRequest) -> requests.Response:
    """Upload what a request needs and queue it."""
    message, files = _message_of(request, one.url)
    agent = one.agent()
    for digest, path in files.items():
        agent._send(digest, path)
    return call(one, "PUT", f"jobs/{name}", data=message.to_json())


def state_of(one: Serving, name: str, wait_s: float = 0) -> dict[str, Any]:
    return call(one, "GET", f"jobs/{name}?wait_s={wait_s}").json()


def serve(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("agent", "serve", "--cache", folder / "cache", *options),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HOME": str(folder), "AGENT_TOKEN": TOKEN, "COLUMNS": "200"},
    )
