"""`search serve` in a process of its own, and bundles for it that need no training."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
from networks import DIMS, SYMBOLS, lively
from shell import command

from search.bundle.write import finish_bundle, write_json
from spaces.families import Dims
from spaces.streaming import Streaming
from workers.data.text import write_tokens
from workers.export.onnx import export_onnx
from workers.export.streaming import export_streaming

RATE = 16_000
T = TypeVar("T")


def bundle(path: Path, family: str = "separable_conv", seed: int = 0, live: bool = False) -> Path:
    """The bundle of an untrained network that says something of everything it hears."""
    dims: Dims = DIMS[family]
    if live:
        way = Streaming(chunk_ms=320, look_ahead_ms=80)
        dims = type(dims).model_validate({**dims.model_dump(), "streaming": way})
    network = lively(dims, seed)

    def fill(folder: Path) -> dict[str, object]:
        (export_streaming if live else export_onnx)(network, SYMBOLS, folder / "model.onnx")
        write_tokens(SYMBOLS, folder / "tokens.txt")
        told = {} if dims.streaming is None else {"streaming": dims.streaming.model_dump()}
        write_json(folder / "features.json", told)
        return {"backend": "onnxruntime", "main": "model.onnx"}

    return finish_bundle(fill, path, overwrite=True)


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that gets louder and softer, float32 [n]."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(rng.uniform(0.02, 0.5, max(1, int(seconds * 10))) ** 2, RATE // 10)
    return (rng.standard_normal(len(loudness)) * loudness).clip(-1, 1).astype(np.float32)


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"
        self.socket_url = f"ws://127.0.0.1:{port}/v1/audio/stream"

    @property
    def workers(self) -> list[psutil.Process]:
        """Its processes that run models."""
        children = psutil.Process(self.process.pid).children()
        return [c for c in children if "workers.isolated_call" in " ".join(_command(c))]

    @property
    def memory_mb(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@contextlib.contextmanager
def served(folder: Path, *arguments: object, token: str | None = None) -> Iterator[Served]:
    """`search serve` with these arguments, on any port, until the block ends."""
    environment = dict(os.environ)
    environment.pop("SEARCH_SERVE_TOKEN", None)
    if token is not None:
        environment["SEARCH_SERVE_TOKEN"] = token
    log = folder / "serve.log"
    started_by = command("serve", "--port", "0", *arguments)
    with (
        log.open("w") as said,
        subprocess.Popen(
            started_by, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("serving"), line + log.read_text()
            port = int(line.partition("://")[2].partition(";")[0].rpartition(":")[2])
            yield Served(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def metric(text: str, name: str) -> float:
    """The sum of a metric over its labels, of what Prometheus is told."""
    lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives back, on a loop of its own: a browser that another test has opened
    leaves one running in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
