"""The utterances of a prepared corpus, as its index lists them; read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class IndexRow(TypedDict):
    """One utterance in `index.json`; `at` holds [first frame, frames] of each augmentation."""

    audio: str
    offset_s: float
    duration_s: float | None
    source: str
    speaker: str | None
    seconds: float
    text: str
    ids: list[int]
    at: list[list[int]]


@dataclass(frozen=True)
class Utterance:
    """One utterance of a prepared corpus."""

    text: str
    ids: tuple[int, ...]
    seconds: float
    audio: str
    offset_s: float
    duration_s: float | None
    at: tuple[tuple[int, int], ...]  # (first frame, frames) of each augmentation
    is_compact: bool = False  # in 8 bits of the plain audio, from which augmentations are made


def utterances_of(rows: Iterable[IndexRow]) -> list[Utterance]:
    return [
        Utterance(
            text=row["text"],
            ids=tuple(row["ids"]),
            seconds=row["seconds"],
            audio=row["audio"],
            offset_s=row["offset_s"],
            duration_s=row["duration_s"],
            at=tuple((a, n) for a, n in row["at"]),
        )
        for row in rows
    ]


def dev_utterances(folder: Path) -> list[Utterance]:
    """The dev set of a prepared corpus; empty where the corpus is no longer there."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return utterances_of(index["dev"])
