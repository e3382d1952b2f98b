"""Errors of the space language.

SpaceError
└── one message that lists every fault of a file, each with its line
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in a space file; line 0 is the file as a whole."""

    line: int
    where: str
    message: str


class SpaceError(Exception):
    """A space file cannot be used. Holds all its faults."""

    def __init__(self, path: Path | str, faults: list[Fault]) -> None:
        self.path, self.faults = str(path), sorted(set(faults))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        out = [f"{self.path}: {count}; nothing was started"]
        for fault in self.faults:
            line = f":{fault.line}" if fault.line else ""
            where = f"{fault.where}: " if fault.where else ""
            out.append(f"  {self.path}{line}: {where}{fault.message}")
        return out
