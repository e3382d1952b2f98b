"""Real agents: `search agent serve` in a process of its own, and models to send to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import (
    make_function,
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
)
from shell import command

from workers.probe.request import Candidate, LatencyRequest
from workers.targets.agent import Agent

TOKEN = "test-token-0123456789abcdefghijklmnopqrstuv"
SYMBOLS = ("<blk>", "a", "b")
_START_S = 60


@dataclass(frozen=True)
class Serving:
    """An agent that runs. Its home, working and temporary folder lie beside the cache."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path
    log: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def agent(self, token: str = TOKEN) -> Agent:
        return Agent(self.url, token)

    def children(self) -> list[int]:
        """Processes that it started and that still run (Linux)."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [int(pid) for t in tasks.iterdir() for pid in (t / "children").read_text().split()]

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise AssertionError("no such process")

    def n_open(self) -> int:
        """Files and connections that it holds (Linux)."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def others(self) -> set[str]:
        """Everything that lies outside its cache."""
        found = {str(p.relative_to(self.folder)) for p in self.folder.rglob("*")}
        return {p for p in found if p != "cache" and not p.startswith("cache/")}


class Raw:
    """HTTP byte by byte, to say what a client would not."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._answers = self._socket.makefile("rb")

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def answer(self, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of the next answer; status 0 when there is none."""
        line = self._answers.readline()
        if not line:
            return 0, {}, b""
        headers = {}
        while (field := self._answers.readline().strip()) != b"":
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        if length == 0 and "content-length" not in headers and headers.get("connection") == "close":
            return int(line.split()[1]), headers, self._answers.read()
        return int(line.split()[1]), headers, self._answers.read(length if has_body else 0)

    def no_more(self) -> None:
        """Nothing follows; what was sent has to be answered or dropped as it is."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


@contextmanager
def serving(
    folder: Path,
    *options: object,
    port: int = 0,
    program: Sequence[object] | None = None,
    scheme: str = "http",
    token_env: bool = True,
) -> Iterator[Serving]:
    """An agent on loopback; a free port unless one is given. It is ended with the block."""
    for name in ("home", "here", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    log = folder / f"log-{uuid.uuid4().hex[:8]}"
    token = ("--token-env", "AGENT_TOKEN") if token_env else ()
    given = ("--port", port, *token, "--cache", folder / "cache", *options)
    start = command("agent") if program is None else [str(p) for p in program]
    environment = {
        **os.environ,
        "AGENT_TOKEN": TOKEN,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }
    with (
        log.open("ab") as to,
        subprocess.Popen(
            [*start, "serve", *map(str, given)],
            stdout=to,
            stderr=to,
            env=environment,
            cwd=folder / "here",
        ) as process,
    ):
        try:
            yield Serving(process, _url(process, log, scheme), folder, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()


def _url(process: subprocess.Popen[bytes], log: Path, scheme: str) -> str:
    """Where it listens, from what it says."""
    end = time.monotonic() + _START_S

    while time.monotonic() < end and process.poll() is None:
        told = [line for line in log.read_text().splitlines() if line.startswith("agent at ")]
        if told:
            url = told[-1].split()[2].rstrip(",")
            assert url.startswith(f"{scheme}://")
            return url
        time.sleep(0.05)
    raise AssertionError(f"no agent: {log.read_text()}")


def student(folder: Path) -> Path:
    """A tiny exported student and its tokens.txt."""
    import torch

    from spaces.families import SeparableConv
    from workers.data.text import write_tokens
    from workers.export.onnx import export_onnx
    from workers.students.base import build

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    network = build(SeparableConv(channels=8, blocks=1, kernel=3), len(SYMBOLS)).eval()
    export_onnx(network, SYMBOLS, folder / "model.onnx")
    write_tokens(SYMBOLS, folder / "tokens.txt")
    return folder / "model.onnx"


def request(model: Path, folder: Path, **changed: object) -> LatencyRequest:
    """To time a model over two short utterances, within a second."""
    audio = []
    folder.mkdir(parents=True, exist_ok=True)
    for i, seconds in enumerate((0.4, 0.7)):
        path = folder / f"{i}.npy"
        samples = np.random.default_rng(i).normal(0, 0.1, round(16_000 * seconds))
        np.save(path, samples.astype(np.float32))
        audio.append(str(path))
    tokens = model.parent / "tokens.txt"
    given = {
        "candidates": (Candidate("onnxruntime", str(model), str(tokens), {"threads": 1}),),
        "audio": tuple(audio),
        "audio_s": (0.4, 0.7),
        "min_runs": 10,
        "max_s": 0.3,
        "restarts": 1,
    }
    return LatencyRequest(**{**given, **changed})  # type: ignore[arg-type]


# Models of the contract that do harm


def crashing(folder: Path) -> Path:
    """5000 functions within each other: ONNX Runtime inlines them by recursion, till its stack
    ends."""
    n = 5000
    imports = [make_opsetid("", 17), make_opsetid("f", 1)]
    functions = []
    for i in range(n):
        inner = ("Identity", "") if i == n - 1 else (f"F{i + 1}", "f")
        node = make_node(inner[0], ["a"], ["b"], domain=inner[1])
        functions.append(make_function("f", f"F{i}", ["a"], ["b"], [node], imports))
    return _saved(folder, [make_node("F0", ["x"], ["y"], domain="f")], functions=functions)


def endless(folder: Path) -> Path:
    """A loop of 2^62 turns."""
    flag, number = TensorProto.BOOL, TensorProto.FLOAT
    body = make_graph(
        [make_node("Identity", ["on"], ["on_"]), make_node("Neg", ["v"], ["v_"])],
        "turn",
        [
            make_tensor_value_info("i", TensorProto.INT64, []),
            make_tensor_value_info("on", flag, []),
            make_tensor_value_info("v", number, ["N", "T", 80]),
        ],
        [
            make_tensor_value_info("on_", flag, []),
            make_tensor_value_info("v_", number, ["N", "T", 80]),
        ],
    )
    turns = make_tensor("turns", TensorProto.INT64, [], [2**62])
    always = make_tensor("always", flag, [], [True])
    node = make_node("Loop", ["turns", "always", "x"], ["y"], body=body)
    return _saved(folder, [node], [turns, always])


def hungry(folder: Path) -> Path:
    """Wants 4 GB for an utterance."""
    nodes = [
        make_node("Add", ["x_lens", "many"], ["size"]),
        make_node("ConstantOfShape", ["size"], ["zeros"]),
        make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _saved(folder, nodes, [make_tensor("many", TensorProto.INT64, [1], [10**9])])


def no_model(folder: Path) -> Path:
    return _with_tokens(folder, b"no model at all")


def _saved(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
) -> Path:
    graph = make_graph(
        list(nodes),
        "harmful",
        [
            make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 80]),
            make_tensor_value_info("x_lens", TensorProto.INT64, ["N"]),
        ],
        [make_tensor_value_info("y", TensorProto.FLOAT, ["N", "T", 80])],
        list(constants),
    )
    imports = [make_opsetid("", 17), make_opsetid("f", 1)]
    model = make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))
    return _with_tokens(folder, model.SerializeToString())


def _with_tokens(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text("".join(f"{s} {i}\n" for i, s in enumerate(SYMBOLS)))
    (folder / "model.onnx").write_bytes(content)
    return folder / "model.onnx"


if __name__ == "__main__":  # an agent with a student to send, to try things by hand
    with serving(Path(sys.argv[1])) as here:
        asked = request(student(here.folder / "student"), here.folder / "audio")
        print(here.agent().device())
        print(here.agent().run(asked))
