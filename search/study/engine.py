"""Where the stages of a launch run: on this machine, or on the nodes of a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

from search.errors import EnvironmentFault, UsageFault
from search.executors.base import Executor
from search.executors.local import LocalExecutor
from search.executors.ray.cluster import ClusterReport
from search.executors.ray.executor import RayExecutor
from search.home import Home
from search.policy import Policy
from search.study.host import host_digest, machines_digest, threads_of
from search.study.place import place_of
from search.study.settings import Place
from spaces.space import Search, Space, Target
from workers.atomic import write_json


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

    def not_screened(self) -> frozenset[str]:
        """Targets on which an untrained student is not timed."""
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

    def not_screened(self) -> frozenset[str]:
        return frozenset()

    def place(self, *, deterministic: bool) -> Place:
        return place_of(self._space.search, deterministic=deterministic)


class _OnCluster:
    """A Ray cluster."""

    def __init__(self, engine: Engine, space: Space, home: Home) -> None:
        self._space, self._home, self._memory_gb = space, home, engine.memory_gb
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
        try:
            return self._executor.cluster()
        except EnvironmentFault as fault:  # before anything has begun, an address may be wrong
            raise UsageFault(str(fault)) from fault

    def check(self, policy: Policy) -> None:
        cluster, targets = self._cluster, self._space.targets
        cluster.check()
        place = self.place(deterministic=not policy.timed_decides)
        gpus = 1 / place.per_gpu if place.device == "cuda" else 0.0
        wanted, memory_gb = max(self.threads(policy)), self._memory_gb
        if not cluster.fits(wanted, gpus, memory_gb):
            raise UsageFault(
                f"a stage that trains or teaches wants {wanted} cores (search.threads_per_trial), "
                f"{gpus:g} GPUs and {memory_gb:g} GB (--stage-memory-gb), and no node has as much"
            )
        self._check_offered()
        strangers = sorted(set(cluster.offered) - set(targets))
        if strangers and not set(cluster.offered) & set(targets):
            raise UsageFault(
                f"nodes have {', '.join(strangers)}, and this space has no such target; its "
                f"targets are {', '.join(targets)}"
            )

    def _check_offered(self) -> None:
        """A target is measured on the same kind of node whenever the study goes on.

        Raises:
            UsageFault: when it was measured elsewhere before.
        """
        now = sorted(set(self._cluster.offered) & set(self._space.targets))
        path = self._home.folder / "locks" / f"measured-on-nodes-{self._space.name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, now)
            return
        before: list[str] = json.loads(path.read_text(encoding="utf-8"))
        if before != now:
            raise UsageFault(
                f"this study measures {', '.join(before) or 'nothing'} on nodes of the cluster, "
                f"and now nodes have {', '.join(now) or 'none of its targets'}; its figures could "
                "not be compared. Start the nodes that are missing, or begin another study: --study"
            )

    def not_screened(self) -> frozenset[str]:
        places = {n: self._place_of(n, t) for n, t in self._space.targets.items()}
        first = places[self._space.first_target] if places else None
        return frozenset(n for n, place in places.items() if place != first)

    def _place_of(self, name: str, target: Target) -> tuple[str, ...]:
        """The hosts that measure on a target; none: the coordinator's."""
        nodes = () if target.is_remote else self._cluster.offered.get(name, ())
        return tuple(sorted(node.host for node in nodes))

    def threads(self, policy: Policy) -> tuple[int, int]:
        search, cluster = self._space.search, self._cluster
        if policy.threads is not None or search.threads_per_trial is not None:
            trial = search.threads_per_trial or policy.threads or 1
            return trial, trial
        place = self.place(deterministic=not policy.timed_decides)
        most = max(1, cluster.most_cpus(with_gpu=place.device == "cuda"))
        return min(max(1, int(cluster.cpus) // search.parallel), most), most

    def host(self, versions: Mapping[str, str]) -> str:
        """Of the nodes that have targets of the space; of this machine where none has."""
        offered, targets = self._cluster.offered, self._space.targets
        # without their names: any of them may be the one that measures
        having = {n: nodes[0].identity[1:] for n, nodes in offered.items() if n in targets}
        return machines_digest(having, versions) if having else host_digest(versions)

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
