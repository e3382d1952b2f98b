"""The steps of a progressive compression, as the command line writes them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import get_args

from search.errors import UsageFault
from spaces.recipe import Scheme

PRUNE = "prune"
QUANTIZE = "quantize"
DEFAULT_RATIO = 0.3
_FORMATS = tuple(s for s in get_args(Scheme) if s != "fp32")
KNOWN = (PRUNE, QUANTIZE, *_FORMATS)
_POINTS = 100.0


@dataclass(frozen=True)
class Step:
    """One change of a model, and by how much its word error rate may be above that of the model as
    it was brought (a fraction)."""

    written: str
    loss_limit: float
    ratio: float = 0.0  # of pruning
    scheme: Scheme | None = None  # of a number format

    @property
    def is_pruning(self) -> bool:
        return self.scheme is None


def parse_steps(steps: str, limits: str) -> tuple[Step, ...]:
    """The steps of `--steps` with the limits of `--loss-limit`: one for all, or one each.

    Raises:
        UsageFault: with all that is wrong with both.
    """
    names = [name.strip() for name in steps.split(",")]
    faults: list[str] = []
    parsed = [_step(name, faults) for name in names]
    allowed = _limits(limits, len(names), faults)
    if faults:
        raise UsageFault("; ".join(faults))
    return tuple(
        Step(name, limit, ratio, scheme)
        for name, limit, (ratio, scheme) in zip(names, allowed, parsed, strict=True)
    )


def _step(name: str, faults: list[str]) -> tuple[float, Scheme | None]:
    kind, colon, given = name.partition(":")
    if kind == PRUNE:
        return _ratio(given, faults) if colon else DEFAULT_RATIO, None
    if colon and kind in KNOWN:
        faults.append(f'--steps: "{name}": only prune takes a number')
    elif kind == QUANTIZE:
        return 0.0, "int8"
    elif kind not in KNOWN:
        near = difflib.get_close_matches(kind, KNOWN, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(KNOWN)}"
        faults.append(f'--steps: "{kind}" is no step; {hint}')
    return 0.0, next((s for s in _FORMATS if s == kind), None)


def _ratio(given: str, faults: list[str]) -> float:
    try:
        ratio = float(given)
    except ValueError:
        ratio = -1.0
    if not 0 < ratio < 0.95:
        faults.append(
            f'--steps: "{PRUNE}:{given}": has to be a share of each width above 0 and below 0.95, '
            f"e.g. {PRUNE}:0.3"
        )
    return ratio


def _limits(limits: str, n_steps: int, faults: list[str]) -> list[float]:
    """Fractions, one a step."""
    found = []
    for text in (part.strip().removesuffix("%") for part in limits.split(",")):
        try:
            points = float(text)
        except ValueError:
            faults.append(f'--loss-limit: "{text}" is not a number of points of WER')
            continue
        if not 0 <= points <= _POINTS:
            faults.append(
                f"--loss-limit: {text}: is how many points of WER a step may lose, 0 to 100"
            )
        found.append(points / _POINTS)
    if len(found) == 1:
        return found * n_steps
    if len(found) != n_steps and not faults:
        faults.append(
            f"--loss-limit: {len(found)} limits for {n_steps} steps; give one for all, or one each"
        )
    return found
