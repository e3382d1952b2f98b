"""Where the stages of a launch run: on this machine, or on the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from search.errors import UsageFault
from search.executors.base import Executor
from search.executors.local import LocalExecutor
from search.executors.ray.cluster import ClusterReport
from search.executors.ray.executor import RayExecutor
from search.home import Home
from search.policy import Policy
from search.study.host import host_digest, hosts_digest, threads_of
from search.study.place import place_of
from search.study.settings import Place
from spaces.space import Search, Space


@dataclass(frozen=True)
class Engine:
    """What the command line says of it.

    Args:
        address: of a Ray cluster, as `ray start` tells it; `auto` is the one of this machine.
        memory_gb: what a stage that trains or teaches may take there; 0 is not told.
    """

    kind: Literal["local", "ray"] = "local"
    address: str = "auto"
    memory_gb: float = 0.0


class Site(Protocol):
    """Where one launch works."""

    @property
    def executor(self) -> Executor: ...

    def check(self, policy: Policy) -> None:
        """What the space asks for is there.

        Raises:
            UsageFault: saying what is not.
            EnvironmentFault: when a cluster does not answer.
        """
        ...

    def threads(self, policy: Policy) -> tuple[int, int]:
        """(threads of a trial, threads of the teacher)."""
        ...

    def host(self, versions: Mapping[str, str]) -> str:
        """Digest of what is timed, with these runtimes."""
        ...

    def place(self, *, deterministic: bool) -> Place:
        """Where networks are trained."""
        ...


def site_of(engine: Engine, space: Space, home: Home, executor: Executor | None = None) -> Site:
    """Where a launch works.

    Args:
        executor: in place of the engine's own.
    """
    if executor is None and engine.kind == "ray":
        return _OnCluster(engine, space, home)
    return _Here(space, home, executor)


class _Here:
    """This machine."""

    def __init__(self, space: Space, home: Home, executor: Executor | None) -> None:
        self._space, self._home, self._given = space, home, executor

    @cached_property
    def executor(self) -> Executor:
        timeout_s = self._space.search.stage_timeout_s
        return self._given or LocalExecutor(self._home.workspace(), timeout_s)

    def check(self, policy: Policy) -> None:
        self.place(deterministic=not policy.timed_decides)

    def threads(self, policy: Policy) -> tuple[int, int]:
        return threads_of(self._space, policy)

    def host(self, versions: Mapping[str, str]) -> str:
        return host_digest(versions)

    def place(self, *, deterministic: bool) -> Place:
        return place_of(self._space.search, deterministic=deterministic)


class _OnCluster:
    """A Ray cluster."""

    def __init__(self, engine: Engine, space: Space, home: Home) -> None:
        self._space = space
        self._executor = RayExecutor(
            engine.address,
            home.workspace(),
            space.search.stage_timeout_s,
            memory_gb=engine.memory_gb,
            paths=_paths_of(space),
        )

    @property
    def executor(self) -> Executor:
        return self._executor

    @cached_property
    def _cluster(self) -> ClusterReport:
        return self._executor.cluster()

    def check(self, policy: Policy) -> None:
        cluster, targets = self._cluster, self._space.targets
        cluster.check()
        self.place(deterministic=not policy.timed_decides)
        most, wanted = cluster.most_cpus, max(self.threads(policy))
        if wanted > most:
            raise UsageFault(
                f"a stage wants {wanted} cores (search.threads_per_trial), and no node has more "
                f"than {most}"
            )
        strangers = sorted(set(cluster.offered) - set(targets))
        if strangers and not set(cluster.offered) & set(targets):
            raise UsageFault(
                f"nodes have {', '.join(strangers)}, and this space has no such target; its "
                f"targets are {', '.join(targets)}"
            )

    def threads(self, policy: Policy) -> tuple[int, int]:
        search, cluster = self._space.search, self._cluster
        if policy.threads is not None or search.threads_per_trial is not None:
            trial = search.threads_per_trial or policy.threads or 1
            return trial, trial
        shared_out = max(1, int(cluster.cpus) // search.parallel)
        return min(shared_out, cluster.most_cpus), cluster.most_cpus

    def host(self, versions: Mapping[str, str]) -> str:
        """Of the nodes that have targets of the space; of this machine where none has."""
        offered, targets = self._cluster.offered, self._space.targets
        having = {n: node.identity for n, node in offered.items() if n in targets}
        return hosts_digest(having, versions) if having else host_digest(versions)

    def place(self, *, deterministic: bool) -> Place:
        """On whichever GPU Ray gives a stage, where there are any."""
        search: Search = self._space.search
        precision = "" if search.precision == "auto" else search.precision
        is_asked = search.device.startswith("cuda")
        if is_asked and not self._cluster.gpus:
            raise UsageFault(f"search.device: {search.device}: no node of the cluster has a GPU")
        if is_asked or (search.device == "auto" and self._cluster.gpus and not deterministic):
            return Place("cuda", precision or "bf16", (), search.trials_per_gpu)
        return Place(precision=precision)


def _paths_of(space: Space) -> list[Path]:
    """Where data of a space are listed; every node reads them."""
    data = space.data
    listed = [*(data.train or ()), *(data.dev or ()), *(data.test or ()), *(data.unlabelled or ())]
    return [Path(path) for path in listed if "://" not in path]
