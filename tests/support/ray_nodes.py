"""A Ray cluster of several node processes on this host, held by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_MODULES = Path(__file__).parents[1] / "contracts"  # where stand-ins for stages are found
Node = dict[str, object]


class Nodes:
    """A head without room for jobs, and further nodes."""

    def __init__(self, *nodes: Node) -> None:
        path = os.pathsep.join([str(_MODULES), *filter(None, sys.path)])
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **quiet, "PYTHONPATH": path},
        )
        self.address = self._say("head")
        for node in nodes:
            self.add(node)

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def add(self, node: Node) -> None:
        """A node more."""
        self._say(json.dumps(node))

    def kill(self, place: int) -> None:
        """End a node without a word, that of this place among those that live."""
        self._say(f"kill {place}")

    def processes(self) -> list[psutil.Process]:
        """Of Ray and of what runs on it."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def ray_cluster(*nodes: Node) -> Iterator[str]:
    """The address of a head without room for jobs and a node for each of these."""
    cluster = Nodes(*nodes)
    try:
        yield cluster.address
    finally:
        cluster.close()


def _serve() -> None:
    from ray.cluster_utils import Cluster

    answers, cluster = os.fdopen(os.dup(1), "w", buffering=1), None
    os.dup2(2, 1)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "head":
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        elif word == "kill":
            cluster.remove_node(list(cluster.worker_nodes)[int(rest)], allow_graceful=False)
        else:
            cluster.add_node(**json.loads(line))
        answers.write(f"{cluster.address}\n")
    cluster.shutdown()


if __name__ == "__main__":
    _serve()
