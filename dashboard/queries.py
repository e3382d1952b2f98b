"""What pages read, kept until something happens to the study."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.context import artifacts, home, store
from search.analysis.frames import frame_of
from spaces.load import parse_space
from spaces.space import Space
from storage.errors import ArtifactError
from storage.records import Note, StageRun, Study, StudyState
from workers.data.utterances import Utterance, dev_utterances

LIVE_STATES = (StudyState.RUNNING, StudyState.PAUSED, StudyState.STOPPING)
_SILENT_S = 30.0  # a coordinator says something every two seconds
_EVENTS = 200


@st.cache_resource(show_spinner=False, max_entries=16)
def _space(text: str, path: str, name: str) -> Space:
    return parse_space(text, path).model_copy(update={"name": name})


def space_of(study: Study) -> Space:
    return _space(study.space_yaml, study.space_path, study.name)


# Shared between visitors and never changed by them: copying thousands of rows costs a rerun.
@st.cache_resource(show_spinner="Reading trials …", max_entries=6)
def _frame(study_id: int, version: int, name: str) -> pd.DataFrame:  # noqa: ARG001
    study = store().studies.get(name)
    return frame_of(store(), study, space_of(study))


def frame(study: Study) -> pd.DataFrame:
    """Every trial of a study, as `search.analysis.frames.frame_of` gives it; not to be written to."""
    return _frame(study.id, store().events.last_id(study.id), study.name)


def is_alive(study: Study) -> bool:
    """Whether a coordinator runs the study now, by its own word."""
    said = study.live
    return bool(said) and time.time() - float(said["at"]) < _SILENT_S  # type: ignore[index]


@st.cache_data(show_spinner=False, max_entries=64)
def _runs(study_id: int, version: int, number: int | None) -> list[StageRun]:  # noqa: ARG001
    return store().stage_runs.of(study_id, number)


def stage_runs(study: Study, number: int | None) -> list[StageRun]:
    return _runs(study.id, store().events.last_id(study.id), number)


def results(study: Study, number: int | None) -> dict[str, dict[str, Any]]:
    """Results of the stages of a trial, or of the teacher, by job name."""
    return {r.stage: dict(r.result) for r in stage_runs(study, number) if r.state != "failed"}


def samples(study: Study, number: int | None, metric: str) -> dict[str, tuple[float, ...]]:
    """Raw samples of a figure by target."""
    subject = "teacher" if number is None else str(number)
    return {
        m.target: m.samples
        for m in store().measurements.of(study.id, subject)
        if m.metric == metric and m.samples
    }


def notes(study: Study, number: int | None = -1) -> list[Note]:
    """Notes of a study; of one trial where a number is given, of the study itself for None."""
    found = store().notes.of(study.id)
    return found if number == -1 else [n for n in found if n.trial_number == number]


def events(study: Study) -> pd.DataFrame:
    rows = store().events.of(study.id, _EVENTS)
    return pd.DataFrame(
        {
            "time": [pd.Timestamp.fromtimestamp(e.at) for e in rows][::-1],
            "what": [e.kind for e in rows][::-1],
            "message": [e.message for e in rows][::-1],
            "trial": pd.array([e.trial_number for e in rows][::-1], dtype="Int64"),
        }
    )


@st.cache_data(show_spinner=False, max_entries=4)
def _dev(corpus: str) -> list[Utterance]:
    return dev_utterances(home().workspace().corpus(corpus)) if corpus else []


def dev_set(study: Study) -> list[Utterance]:
    """The dev utterances; empty where the prepared data are no longer there."""
    return _dev(str(study.facts.get("corpus", "")))


@st.cache_data(show_spinner=False, max_entries=32)
def read_json(digest: str) -> Any:
    """An artifact that is JSON."""
    with tempfile.TemporaryDirectory() as folder:
        return json.loads(artifacts().fetch(digest, Path(folder) / "it.json").read_text())


def texts(study: Study, number: int | None, label: str) -> list[str] | None:
    """What a runtime wrote of dev, utterance by utterance; None where it is not kept."""
    said = results(study, number).get(f"score@{label}") or (
        results(study, number).get("teacher_targets") if number is None else None
    )
    digest = (said or {}).get("artifacts", {}).get("texts")
    try:
        return None if digest is None else list(read_json(digest))
    except ArtifactError:
        return None
