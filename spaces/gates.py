"""Gates: what a student must not do, however good its mean figures are.

Each stands for a way in which shipped models failed people: mean WER hides empty texts, audio
beyond a length, a tenth of the users who fare worse, a release that is slower than the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, Field

from spaces.record import Record

OLIVE_WER = 0.01  # more errors are taken ...
OLIVE_SPEED = 2.0  # ... only from a student so many times faster


def _limit(sign: str, default: float) -> BeforeValidator:
    """Reads `true`, a number, or a limit such as `">= 0.95"`; `false` is no gate."""

    def read(raw: object) -> object:
        if isinstance(raw, bool):
            return default if raw else None
        if not isinstance(raw, str):
            return raw
        number = raw.strip().removeprefix(sign).strip()
        try:
            percent = number.endswith("%")
            return float(number.removesuffix("%")) / (100 if percent else 1)
        except ValueError as error:
            raise ValueError(f'write "{sign} {default:g}", or true for just that') from error

    return BeforeValidator(read)


Share = Annotated[float, Field(ge=0, le=1)]


class Regression(Record):
    """Time of the network against that of a bundle, run in turn in the same processes."""

    against: str
    limit: Annotated[float, _limit("<=", 1.05), Field(gt=0, le=100)] = 1.05


class Gates(Record):
    """By name; a gate that is not given is open."""

    olive_asr: bool = False
    """at most a point of WER above the teacher's, and that only at twice its speed"""
    qoi: Annotated[Share | None, _limit(">=", 0.95)] = None
    """no more errors than the teacher makes, in at least this share of utterances"""
    long_audio: Annotated[Share | None, _limit("<=", 0.05)] = None
    """at most so much more WER on slices of 30 s than on their parts"""
    empty_output: Annotated[Share | None, _limit("<=", 0.01)] = None
    """nothing written for at most this share of utterances"""
    regression: Regression | None = None
    """network no slower than a bundle's: `{against: baseline.zip, limit: 1.05}`"""

    @property
    def timed(self) -> tuple[str, ...]:
        """Those that lean on times."""
        return tuple(n for n in ("olive_asr", "regression") if getattr(self, n))


@dataclass(frozen=True)
class GateResult:
    """One gate of one student: above 0, `excess` says how far it is missed."""

    text: str
    excess: float
    message: str


def judge(
    gates: Gates,
    metrics: Mapping[str, float],
    teacher: Mapping[str, float],
    targets: tuple[str, ...],
    timed: bool = True,
) -> list[GateResult]:
    """Every gate whose figures are known, on every target whose runtime has texts of its own.

    Args:
        metrics, teacher: by name, those of a target also as `name@target`.
        timed: whether gates that need a timed figure decide; in a deterministic study they do not.
    """
    out = []
    for i, target in enumerate(targets):
        of = "" if i == 0 else f"@{target}"
        for gate, metric in _SCORED.items():
            limit = getattr(gates, gate)
            found = metrics.get(f"{metric}@{target}", metrics.get(metric) if i == 0 else None)
            if limit is not None and found is not None:
                judged = _at_least if gate == "qoi" else _at_most
                out.append(judged(f"{gate}{of}", limit, found))
    for target in targets if timed else ():
        found = metrics.get(f"regression@{target}")
        if gates.regression is not None and found is not None:
            out.append(_at_most(f"regression@{target}", gates.regression.limit, found))
        if gates.olive_asr:
            out += _olive(target, metrics, teacher)
    return out


_SCORED = {"qoi": "qoi", "empty_output": "empty_share", "long_audio": "long_excess"}


def _at_least(name: str, limit: float, value: float) -> GateResult:
    return GateResult(f"gate {name} >= {limit:g}", limit - value, f"is {value:.4g}")


def _at_most(name: str, limit: float, value: float) -> GateResult:
    return GateResult(f"gate {name} <= {limit:g}", value - limit, f"is {value:.4g}")


def _olive(
    target: str, metrics: Mapping[str, float], teacher: Mapping[str, float]
) -> list[GateResult]:
    """Microsoft Olive's acceptance rule for speech: up to one point of WER more than the teacher,
    and only at twice its speed on the same device."""
    mine, theirs = metrics.get(f"throughput@{target}"), teacher.get(f"throughput@{target}")
    wer, limit = metrics.get(f"wer@{target}"), teacher.get("wer")
    if mine is None or wer is None or limit is None:
        return []
    if theirs is None:  # the teacher has still to be measured there: more is never allowed
        message = f"WER {wer:.1%}, allowed {limit + OLIVE_WER:.1%}"
        return [GateResult(f"gate olive_asr@{target}", wer - limit - OLIVE_WER, message)]
    speed = mine / theirs
    allowed = limit + (OLIVE_WER if speed >= OLIVE_SPEED else 0.0)
    message = f"WER {wer:.1%} at {speed:.1f} times the teacher's speed, allowed {allowed:.1%}"
    return [GateResult(f"gate olive_asr@{target}", wer - allowed, message)]
