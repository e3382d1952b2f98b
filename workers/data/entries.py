"""The utterances of a prepared corpus, as its index lists them; read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One utterance of a prepared corpus."""

    text: str
    ids: tuple[int, ...]
    seconds: float
    audio: str
    offset_s: float
    duration_s: float | None
    at: tuple[tuple[int, int], ...]  # (first frame, frames) of each view


def entries_of(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    return [
        Entry(
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


def dev_entries(folder: Path) -> list[Entry]:
    """The dev set of a prepared corpus; empty where the corpus is no longer there."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return entries_of(index["dev"])
