"""This host, as far as what is timed or trained here depends on it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping

from search.policy import Policy
from spaces.backends import backend_info
from spaces.recipe import digest_of
from spaces.space import Space
from workers.probe.machine import report, usable_cores


def threads_of(space: Space, policy: Policy) -> tuple[int, int]:
    """(threads of a trial, threads of the teacher)."""
    given, cores = space.search.threads_per_trial or policy.threads, usable_cores()
    if policy.threads is not None:
        return given or 1, given or 1
    return given or max(1, cores // space.search.parallel), cores


def host_digest(versions: Mapping[str, str]) -> str:
    """Digest of what a timing here depends on: the machine and the runtimes of the targets."""
    return digest_of([*report().identity, sorted(versions.items())])


def machines_digest(machines: Mapping[str, tuple[object, ...]], versions: Mapping[str, str]) -> str:
    """The same of kinds of machine, by the target that each has."""
    return digest_of([sorted(machines.items()), sorted(versions.items())])


def versions_of(space: Space) -> dict[str, str]:
    """What is installed of each runtime of a space, by backend; ONNX Runtime always."""
    return runtime_versions({"onnxruntime", *(t.backend for t in space.targets.values())})


def runtime_versions(backends: Iterable[str]) -> dict[str, str]:
    """What is installed of each runtime, by backend."""
    versions = {}
    for name in backends:
        info = backend_info(name)
        modules = info.modules or (info.module.partition(".")[0],)
        listed = [f"{m} {_version(m)}" for m in modules] + list(info.requirements)
        versions[name] = ", ".join(listed)
    return versions


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return ""
