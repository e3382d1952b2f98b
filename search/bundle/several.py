"""Several students of a front in one package, with what chooses among them: `policy.json`.

The folder holds `members/NAME.zip`, each a bundle of its own, `policy.json` with their errors and
times, and `policy.py`, which reads it in plain Python and is what `search serve` goes by.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import search.bundle.policy
from search.analysis.front import front_numbers
from search.analysis.pick import fits, parse_where
from search.bundle.write import write_json
from search.errors import UsageFault
from spaces.metrics import MetricRef
from spaces.space import Space

MEMBERS, POLICY, PROGRAM = "members", "policy.json", "policy.py"
_DOWN, _UP, _CALM_S = 0.75, 0.5, 2.0  # of a machine's time; see `search.bundle.policy`
_LEAST_FASTER = 0.8  # of the time of the member before it, for a place of its own


def members_of_front(frame: pd.DataFrame, where: str | None) -> list[int]:
    """Trials of the front of errors and time on the first target, fewest errors first, each a fifth
    faster than the one before.

    Raises:
        UsageFault: when the front has none within the limits.
    """
    by = (MetricRef("wer"), MetricRef("rtf"))
    within = frame[fits(frame, parse_where(where))] if where else frame
    if not all(name in within for name in by):
        raise UsageFault("no trial of this study has errors and times yet")
    rows = within.set_index("number")
    members: list[int] = []
    for number in front_numbers(within, by):
        if not members or rows.loc[number, "rtf"] < _LEAST_FASTER * rows.loc[members[-1], "rtf"]:
            members.append(number)
    if not members:
        raise UsageFault("no student of the front keeps these limits")
    return members


def write_several(
    frame: pd.DataFrame,
    space: Space,
    members: list[int],
    write: Callable[[int, Path], Path],
    target: Path,
    overwrite: bool,
) -> Path:
    """Write the package, whole or not at all.

    Args:
        write: writes the bundle of a trial to a zip.

    Raises:
        UsageFault: when something is at the target already.
    """
    if target.suffix == ".zip":
        raise UsageFault(f"{target}: several students are a folder; take the .zip away")
    if target.exists() and (not overwrite or not (target / POLICY).is_file()):
        raise UsageFault(f"{target} exists already; choose another place or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".front-") as work:
        folder = Path(work) / "front"
        (folder / MEMBERS).mkdir(parents=True)
        rows = frame.set_index("number")
        told = []
        for number in members:
            bundle = write(number, folder / MEMBERS / f"{number}.zip")
            told.append(_told(rows.loc[number], space, bundle.name))
        content = {"members": told, "down": _DOWN, "up": _UP, "calm_s": _CALM_S}
        write_json(folder / POLICY, content)
        source = inspect.getsource(search.bundle.policy)
        (folder / PROGRAM).write_text(source, encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(folder, target)
    return target


def _told(row: pd.Series, space: Space, name: str) -> dict[str, object]:
    """What a policy knows of a member."""

    def of_targets(metric: str, factor: float = 1.0) -> dict[str, float]:
        found = {}
        for target in space.targets:
            on = MetricRef(metric, "" if target == space.first_target else target)
            if on in row and pd.notna(row[on]):
                found[target] = float(row[on]) * factor
        return found

    figures = ("wer", "wer_low", "wer_high", "size_mb")
    known = {n: float(row[n]) for n in figures if n in row and pd.notna(row[n])}
    return {
        "name": name,
        "trial": int(row.name),
        "label": str(row["label"]),
        **known,
        "service_ms": of_targets("rtf", 1000.0),
        "latency_p95_ms": of_targets("latency_p95_ms"),
    }
