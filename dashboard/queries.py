"""What pages read of a study; no Streamlit, so that it can be tested and timed by itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pandas as pd

from search.clock import SYSTEM_CLOCK, Clock
from search.progress import SILENT_S, LiveStatus
from search.results import TrialResults
from storage.artifacts import ArtifactStore
from storage.errors import ArtifactError
from storage.records import Note, Study
from storage.store import Store

_EVENTS = 200


def is_alive(study: Study, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether a coordinator runs the study now, by its own word."""
    live = LiveStatus.of(study)
    return live is not None and clock.now() - live.at < SILENT_S


def samples(
    store: Store, study: Study, number: int | None, metric: str
) -> dict[str, tuple[float, ...]]:
    """Raw samples of a metric by target; of the teacher where there is no number."""
    subject = "teacher" if number is None else str(number)
    return {
        m.target: m.samples
        for m in store.measurements.of(study.id, subject)
        if m.metric == metric and m.samples
    }


def notes(store: Store, study: Study, number: int | None) -> list[Note]:
    """Notes of a trial, or of the study itself (None)."""
    return [n for n in store.notes.of(study.id) if n.trial_number == number]


def events(store: Store, study: Study) -> pd.DataFrame:
    """The last events, newest first."""
    rows = store.events.of(study.id, _EVENTS)[::-1]
    return pd.DataFrame(
        {
            "time": [pd.Timestamp.fromtimestamp(e.at) for e in rows],
            "what": [e.kind for e in rows],
            "message": [e.message for e in rows],
            "trial": pd.array([e.trial_number for e in rows], dtype="Int64"),
        }
    )


def texts_digest(results: TrialResults, label: str, is_teacher: bool) -> str | None:
    """The artifact with what a runtime wrote of dev; None where there is none."""
    scored = results.score(label)
    if scored is not None:
        return scored.texts
    targets = results.teacher_targets if is_teacher else None
    return None if targets is None else targets.texts


def read_texts(artifacts: ArtifactStore, digest: str) -> list[str] | None:
    """What was written, utterance by utterance; None where it is no longer kept."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = artifacts.fetch(digest, Path(folder) / "texts.json")
            texts: list[str] = json.loads(path.read_text())
            return texts
    except ArtifactError:
        return None
