"""What a deterministic study came to, without what a clock told."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.home import Home
from search.policy import policy_of
from spaces.load import parse_space
from storage.records import StageRun
from storage.store import Store

_EXACT = ("wer", "size_mb", "macs", "params")


def untimed(home: Home, name: str) -> dict[str, Any]:
    """State, recipe, exact figures and weights of each trial, and the front."""
    with closing(Store(home.store_url)) as store:
        study = store.studies.get(name)
        trials, runs = store.trials.of(study.id), store.stage_runs.of(study.id)
    space = parse_space(study.space_yaml, study.space_path)
    frame = trial_frame(trials, study, space)
    told = {
        f"trial {t.number}": (
            str(t.state),
            t.reason,
            t.recipe_digest,
            {m: t.metrics.get(m) for m in _EXACT},
            _weights(runs, t.number),
        )
        for t in trials
    }
    front = front_numbers(frame, space.objectives, policy_of(study.deterministic))
    return {**told, "teacher": _weights(runs, None), "front": list(front)}


def _weights(runs: list[StageRun], number: int | None) -> dict[str, str]:
    """Digests of what was trained, by stage; where it was made again, the last."""
    mine = [r for r in runs if r.trial_number == number and "checkpoint" in (r.result or {})]
    return {r.stage: r.result["checkpoint"] for r in mine}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """In a line; empty where there are none."""
    names = [n for n in {**expected, **found} if found.get(n) != expected.get(n)]
    return "; ".join(f"{n}: {found.get(n)} instead of {expected.get(n)}" for n in names)
