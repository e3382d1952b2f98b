"""What a cluster is, as its nodes tell before work begins."""

from __future__ import annotations

from collections import defaultdict

from search.errors import UsageFault
from spaces.record import Record


class NodeReport(Record):
    """A node, as it says of itself; `targets` are devices that it has."""

    host: str
    versions: dict[str, str]
    identity: tuple[str, str, int, tuple[str, ...]]  # of `MachineReport`
    missing: tuple[str, ...] = ()  # paths that it does not see
    targets: tuple[str, ...] = ()
    cpus: float = 0.0
    gpus: float = 0.0
    memory_gb: float = 0.0


class ClusterReport(Record):
    """All nodes; the first is the coordinator's own."""

    nodes: tuple[NodeReport, ...]

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    def most_cpus(self, *, with_gpu: bool) -> int:
        """Of a node, for a stage with threads."""
        return int(max((n.cpus for n in self.nodes if n.gpus > 0 or not with_gpu), default=0))

    def fits(self, cpus: float, gpus: float, memory_gb: float) -> bool:
        """Whether some node has as much."""
        return any(
            n.cpus >= cpus and n.gpus >= gpus and n.memory_gb >= memory_gb for n in self.nodes
        )

    @property
    def offered(self) -> dict[str, tuple[NodeReport, ...]]:
        """The nodes that have a target, by its name."""
        names = sorted({name for node in self.nodes for name in node.targets})
        return {n: tuple(node for node in self.nodes if n in node.targets) for n in names}

    def check(self) -> None:
        """Every node can do what the others do.

        Raises:
            UsageFault: with all that keeps nodes from it.
        """
        ours, faults = self.nodes[0], []
        for node in self.nodes:
            for what, version in ours.versions.items():
                theirs = node.versions.get(what, "none")
                if theirs != version:
                    faults.append(f"{node.host} has {what} {theirs}, {ours.host} {version}")
            faults += [
                f"{node.host} does not see {path}: what is there has to lie in a folder that all "
                "nodes share"
                for path in node.missing
            ]
        faults += self._unlike_devices()
        if faults:
            raise UsageFault("the nodes of the cluster do not fit:\n  " + "\n  ".join(faults))

    def _unlike_devices(self) -> list[str]:
        having: dict[str, dict[tuple[object, ...], str]] = defaultdict(dict)
        for node in self.nodes:
            _, *machine = node.identity
            for name in node.targets:
                having[name].setdefault(tuple(machine), node.host)
        return [
            f"target {name} is on unlike machines ({', '.join(hosts.values())}), whose times "
            "cannot be compared"
            for name, hosts in having.items()
            if len(hosts) > 1
        ]
