"""The devices of a space: are they there, and do they do what is asked?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

from search.errors import UsageFault
from spaces.metrics import MetricRef
from spaces.space import Space, Target
from workers.backends.environments import interpreter_of
from workers.errors import DeviceUnreachable, UserFault, WorkError
from workers.foreign_text import one_line
from workers.probe.machine import report
from workers.targets.adb import Phone
from workers.targets.reach import agent_of

Machine = Mapping[str, object]


@dataclass(frozen=True)
class Found:
    """One target: `state` is ready, away or refused; `message` what it says of itself, or
    why not."""

    target: str
    device: str
    backend: str
    state: str
    message: str
    report: Machine | None = None


def check(space: Space) -> list[Found]:
    """Ask every target of a space; none is measured on."""
    return [_checked(name, target) for name, target in space.targets.items()]


def _checked(name: str, target: Target) -> Found:
    try:
        description = _describe(target)
    except DeviceUnreachable as error:
        return Found(name, target.device, target.backend, "away", str(error))
    except (UserFault, WorkError) as error:
        return Found(name, target.device, target.backend, "refused", str(error))
    return Found(name, target.device, target.backend, "ready", _in_words(description), description)


def _describe(target: Target) -> Machine:
    if target.agent is not None:
        machine = agent_of(target).device()["machine"]
        return machine if isinstance(machine, Mapping) else {}
    if target.adb is not None:
        return Phone(target.adb).device()
    interpreter_of(target.backend)
    return asdict(report())


def _in_words(description: Machine) -> str:
    parts = [str(description.get("processor", "")), f"{description.get('cores')} cores"]
    for key, form in (
        ("memory_mb", "{:.0f} MB"),
        ("governor", "governor {}"),
        ("temperature_c", "{:.0f} °C"),
        ("load_1min", "load {:.2f}"),
    ):
        value = description.get(key)
        if isinstance(value, str if key == "governor" else int | float):
            parts.append(form.format(value))
    runtimes = description.get("runtimes", ())
    named = runtimes if isinstance(runtimes, list | tuple) else ()
    return one_line(", ".join([*parts, *map(str, named)]))


def check_targets(space: Space, deciding: Collection[MetricRef] = ()) -> None:
    """Everything that a target needs is here before anything starts; a device may be away, but
    one that refuses will go on refusing.

    Args:
        deciding: metrics that decide in the search; each target has to tell its own.

    Raises:
        UsageFault: with every fault.
    """
    found = check(space)
    faults = [f"targets.{f.target}: {f.message}" for f in found if f.state == "refused"]
    faults += [
        f"{metric}: {target.target} ({target.device}) does not tell {metric.name}, so it can be "
        "neither objective nor budget there"
        for target in found
        for metric in deciding
        if (metric.target or space.first_target) == target.target
        and metric.name in _untold(target.report)
    ]
    if faults:
        raise UsageFault("\n".join(faults))


def _untold(report: Machine | None) -> tuple[object, ...]:
    """The metrics that a machine says it does not tell; one of an older version says nothing."""
    untold = None if report is None else report.get("untold")
    return tuple(untold) if isinstance(untold, list | tuple) else ()
