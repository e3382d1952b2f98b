"""How a student is made again: a space with nothing left to choose, and the command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search.bundle.card import public_source, written_card
from search.bundle.subject import Subject
from spaces.axes import Value
from spaces.metrics import LIVE_METRICS
from spaces.space import Space
from storage.records import Study

GUIDE, SPACE = "REPRODUCE.md", "reproduce.yaml"
_SECTIONS = (
    "front_end",
    "streaming",
    "training",
    "distil",
    "prune",
    "quantize",
    "decode",
    "losses",
)
_DROPPED = ("forbid", "budgets", "gate")  # decide among students


def reproduction(study: Study, space: Space, subject: Subject) -> dict[str, str] | None:
    """The files that say it, by name; None where the study did not train it."""
    if subject.values is None or not subject.is_trained:
        return None
    document = yaml.safe_load(study.space_yaml)
    if "like" in document:  # what it takes over is said by the space as it was read
        return None
    content = _fixed(document, subject.values, space, study)
    told = written_card(
        "reproduce.md.j2",
        trial=subject.name,
        study=study.name,
        seed=study.seed,
        is_synthetic=space.data.synthetic is not None,
        has_files=space.teacher.train is None,
        source=public_source(space.teacher.source()),
    )
    return {SPACE: yaml.safe_dump(content, sort_keys=False), GUIDE: told}


def _teacher(told: dict[str, Any]) -> dict[str, Any]:
    """A teacher without places; of a program its name alone, for arguments may hold secrets."""
    public = {k: _without_place(v) for k, v in told.items()}
    if isinstance(told.get("command"), list) and told["command"]:
        public["command"] = [Path(str(told["command"][0])).name, "{audio}"]
    if isinstance(told.get("also"), list):
        public["also"] = [_teacher(one) if isinstance(one, dict) else one for one in told["also"]]
    return public


def _without_place(value: Any) -> Any:
    """A path of this machine as the name of its file."""
    if isinstance(value, list):
        return [_without_place(one) for one in value]
    is_place = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if is_place else value


def _fixed(
    document: dict[str, Any], values: Mapping[str, Value], space: Space, study: Study
) -> dict[str, Any]:
    """The document of a space with every axis at the value of one trial."""
    family = str(values["family"])
    content = {k: v for k, v in document.items() if k not in (*_DROPPED, "students", *_SECTIONS)}
    content["name"] = f"{study.name}-again"
    if isinstance(content.get("data"), dict):
        content["data"] = {k: _without_place(v) for k, v in content["data"].items()}
    if isinstance(content.get("teacher"), dict):
        content["teacher"] = _teacher(content["teacher"])
    student: dict[str, Value] = {}
    sections: dict[str, dict[str, Value]] = {}
    for name, value in values.items():
        section, _, axis = name.partition(".")
        if section == family:
            student[axis] = value
        elif axis:
            sections.setdefault(section, {})[axis] = value
    is_live = bool(sections.get("streaming", {}).get("chunk_ms"))
    content["task"] = "streaming" if is_live else "offline"
    if not is_live:
        sections.pop("streaming", None)
    content["students"] = {family: student}
    content.update({name: sections[name] for name in _SECTIONS if name in sections})
    if "losses" not in sections:
        content.pop("losses", None)
    told = [m for m in space.objectives if is_live or m.name not in LIVE_METRICS]
    content["objectives"] = [str(m) for m in told] or ["wer"]
    content["search"] = {"trials": 1, "seed": study.seed, "weight_sharing": "off"}
    return content
