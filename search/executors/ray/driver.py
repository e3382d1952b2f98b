"""The process that is connected to a cluster: jobs from its standard input, answers to its output.

Ray ends a process whose cluster is gone for a minute, without a word. This one has nothing to
lose: the coordinator finds it gone, waits, and starts another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.executors.ray.cluster import ClusterReport, NodeReport
from search.executors.ray.messages import Answer, Asked, Start
from search.executors.ray.needs import PREFIX, Needs, needs_of
from search.executors.ray.node import Errand, Told, do, report_of_node
from workers.jobs import key_of

_MOST_LOSSES = 3  # of workers; a job that takes more of them with it is to blame itself
_BEFORE_AGAIN_S = 2.0
_OF_NODES = (  # no job takes a whole node with it
    exceptions.LocalRayletDiedError,
    exceptions.NodeDiedError,
    exceptions.ObjectLostError,
    exceptions.TaskUnschedulableError,
)
_LOOK_S = 0.05  # for jobs that came meanwhile
_REPORT_S = 120.0
_LONGEST_END_S = 5.0
_NO_CLUSTER = (exceptions.RayError, ConnectionError, RuntimeError, TimeoutError)


@dataclass
class _Running:
    errand: Errand
    stream: Any  # what its node tells; None while it waits to be sent again
    n_lost: int = 0
    send_at: float = 0.0


@dataclass
class Driver:
    """Jobs under way, by ticket."""

    start: Start
    say: Any
    offered: frozenset[str] = frozenset()
    _running: dict[int, _Running] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self) -> None:
        """Be connected, and tell what the cluster is."""
        try:
            ray.init(
                self.start.address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="compression-search",
            )
            report = self._report()
        except (*_NO_CLUSTER, ValueError) as error:
            self.say(Answer(refused=_in_words(error)))
            raise SystemExit(1) from error
        self.offered = frozenset(report.offered)
        self.say(Answer(cluster=report))

    def _report(self) -> ClusterReport:
        """Every node, the coordinator's own first."""
        here = ray.get_runtime_context().get_node_id()
        alive = sorted((n for n in ray.nodes() if n["Alive"]), key=lambda n: n["NodeID"] != here)
        asked = [
            ray.remote(report_of_node)
            .options(num_cpus=0, max_retries=0, scheduling_strategy=_at(node["NodeID"]))
            .remote(list(self.start.paths), dict(self.start.marks))
            for node in alive
        ]
        nodes: list[NodeReport] = []
        for node, ref in zip(alive, asked, strict=True):
            try:
                told = NodeReport.model_validate_json(ray.get(ref, timeout=_REPORT_S))
            except exceptions.RayError:
                if not nodes:  # our own
                    raise
                continue  # it went meanwhile
            has = node["Resources"]
            names = sorted(r.removeprefix(PREFIX) for r in has if r.startswith(PREFIX))
            update = {
                "targets": tuple(names),
                "cpus": has.get("CPU", 0.0),
                "gpus": has.get("GPU", 0.0),
                "memory_gb": has.get("memory", 0.0) / 1e9,
            }
            nodes.append(told.model_copy(update=update))
        return ClusterReport(nodes=tuple(nodes))

    def take(self, asked: Asked) -> None:
        """Send a job, or end one."""
        if asked.errand is not None:
            running = _Running(asked.errand, self._sent(asked.errand))
            with self._lock:
                self._running[asked.ticket] = running
            return
        with self._lock:
            ended = self._running.pop(asked.ticket, None)
        if ended is not None and ended.stream is not None:
            ray.cancel(ended.stream, force=True)

    def _sent(self, errand: Errand) -> Any:
        needs = needs_of(errand.job, self.offered, self.start.memory_gb)
        return ray.remote(do).options(**_options(errand, needs)).remote(errand.model_dump_json())

    def listen(self) -> None:
        """Tell what nodes tell, until there is nobody left to tell."""
        while True:
            for ticket, running in self._ready():
                self._hear(ticket, running)

    def _ready(self) -> list[tuple[int, _Running]]:
        with self._lock:
            for running in self._running.values():
                if running.stream is None and time.monotonic() >= running.send_at:
                    running.stream = self._sent(running.errand)
            of = {r.stream: (t, r) for t, r in self._running.items() if r.stream is not None}
        if not of:
            time.sleep(_LOOK_S)
            return []
        found, _ = ray.wait(list(of), num_returns=1, timeout=_LOOK_S)
        if found:  # whatever else is there by now
            found, _ = ray.wait(list(of), num_returns=len(of), timeout=0)
        return [of[stream] for stream in found]

    def _hear(self, ticket: int, running: _Running) -> None:
        try:
            told = Told.model_validate_json(ray.get(next(running.stream)))
        except (exceptions.RayError, StopIteration) as error:
            self._lost(ticket, running, error)
            return
        if told.outcome is not None:
            self._forget(ticket, running)
        self.say(Answer(ticket=ticket, told=told))

    def _lost(self, ticket: int, running: _Running, error: Exception) -> None:
        """Worker or node are gone: no recipe is to blame until it has cost several workers."""
        with self._lock:
            if self._running.get(ticket) is not running:
                return  # it was cancelled
        running.n_lost += not isinstance(error, _OF_NODES)
        is_over = running.n_lost >= _MOST_LOSSES
        if is_over:
            self._forget(ticket, running)
        else:  # that a node is gone is known to all after a while
            running.stream, running.send_at = None, time.monotonic() + _BEFORE_AGAIN_S
        self.say(
            Answer(
                ticket=ticket,
                lost=_in_words(error),
                times=running.n_lost if is_over else 0,
            )
        )

    def _forget(self, ticket: int, running: _Running) -> None:
        with self._lock:
            if self._running.get(ticket) is running:
                del self._running[ticket]


def _options(errand: Errand, needs: Needs) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_cpus": needs.cpus,
        "num_gpus": needs.gpus,
        "resources": dict(needs.devices),
        "name": f"{errand.job.stage} {key_of(errand.job)[:8]}",
        "max_retries": 0,  # what is sent again is sent from here
        "num_returns": "streaming",
    }
    if needs.memory_bytes:
        options["memory"] = needs.memory_bytes
    if needs.here:
        options["scheduling_strategy"] = _at(ray.get_runtime_context().get_node_id())
    return options


def _at(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _in_words(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def main() -> None:
    """Serve one coordinator; ends with it."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what Ray prints is no answer
    saying = threading.Lock()

    def say(answer: Answer) -> None:
        with saying:
            answers.write(answer.model_dump_json() + "\n")

    driver = Driver(Start.model_validate_json(sys.stdin.readline()), say)
    driver.connect()

    def serve() -> None:
        try:
            for line in sys.stdin:
                driver.take(Asked.model_validate_json(line))
        except _NO_CLUSTER:
            traceback.print_exc()
            os._exit(1)  # the coordinator finds it gone
        late = threading.Timer(_LONGEST_END_S, os._exit, (0,))  # nobody may answer any more
        late.daemon = True
        late.start()
        with contextlib.suppress(Exception):
            ray.shutdown()  # ends what it has sent
        os._exit(0)

    threading.Thread(target=serve, daemon=True).start()
    try:
        driver.listen()
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
