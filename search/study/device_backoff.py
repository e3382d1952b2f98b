"""Devices that cannot be reached: when each is asked again, and what waits for them meanwhile."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from search.clock import Clock
from spaces.space import Space

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


@dataclass
class _Absence:
    since: float
    wait_s: float
    ask_again: float
    reason: str


class DeviceBackoff:
    """Remote devices of a space, by the targets that are measured on them.

    Each time a device cannot be reached the next attempt is twice as far off, up to a minute. One
    measurement at a time is sent to a device, so that a device that is away costs one attempt,
    not one a trial.
    """

    def __init__(
        self,
        space: Space,
        clock: Clock,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
    ) -> None:
        self._clock, self._first_wait_s, self._longest_wait_s = clock, first_wait_s, longest_wait_s
        self._device_of = {n: t.device for n, t in space.targets.items() if t.is_remote}
        self._away: dict[str, _Absence] = {}

    def unavailable_targets(self, measured_now: Collection[str]) -> set[str]:
        """Targets to leave alone for now.

        Args:
            measured_now: targets that something is being measured on.
        """
        busy = {self._device_of[name] for name in measured_now if name in self._device_of}
        now = self._clock.monotonic()
        later = {device for device, absence in self._away.items() if absence.ask_again > now}
        return {name for name, device in self._device_of.items() if device in busy | later}

    def mark_unreachable(self, target: str, reason: str) -> bool:
        """A device could not be reached; whether that is news."""
        now, device = self._clock.monotonic(), self._device_of[target]
        before = self._away.get(device)
        since = now if before is None else before.since
        wait_s = self._first_wait_s if before is None else before.wait_s * 2
        wait_s = min(wait_s, self._longest_wait_s)
        self._away[device] = _Absence(since, wait_s, now + wait_s, reason)
        return before is None

    def mark_reachable(self, target: str) -> bool:
        """A device answered; whether that is news."""
        return self._away.pop(self._device_of.get(target, ""), None) is not None

    def longest_s(self, targets: Collection[str]) -> float:
        """How long the device that is away for longest among these is so; 0 if none is."""
        now = self._clock.monotonic()
        return max((now - a.since for a in self._of(targets)), default=0.0)

    def are_away_s(self) -> dict[str, float]:
        """Targets whose device is away, with how long it has been so."""
        now = self._clock.monotonic()
        return {
            target: now - self._away[device].since
            for target, device in self._device_of.items()
            if device in self._away
        }

    def reason(self, targets: Collection[str]) -> str:
        return "; ".join(dict.fromkeys(a.reason for a in self._of(targets)))

    def are_all_away(self, targets: Collection[str]) -> bool:
        return bool(targets) and all(self._device_of.get(t) in self._away for t in targets)

    def _of(self, targets: Collection[str]) -> list[_Absence]:
        devices = dict.fromkeys(self._device_of.get(t) for t in targets)
        return [self._away[d] for d in devices if d in self._away]
