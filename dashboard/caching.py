"""The same reads kept between reruns, until something happens to the study."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import queries
from dashboard.context import artifacts, home, store
from search.added_targets import with_added
from search.analysis.costs import StageCost, stage_costs
from search.analysis.trial_frame import study_frame
from search.results import TrialResults
from spaces.load import parse_space
from spaces.space import Space
from storage.records import StageRun, Study
from workers.data.utterances import Utterance, dev_utterances


@st.cache_resource(show_spinner=False, max_entries=16)
def _space(text: str, path: str, name: str) -> Space:
    return parse_space(text, path).model_copy(update={"name": name})


def space_of(study: Study) -> Space:
    return with_added(_space(study.space_yaml, study.space_path, study.name), study)


# Shared between visitors and never changed by them: copying thousands of rows costs a rerun.
@st.cache_resource(show_spinner="Reading trials …", max_entries=6)
def _frame(study_id: int, version: int, name: str) -> pd.DataFrame:  # noqa: ARG001
    study = store().studies.get(name)
    return study_frame(store(), study, space_of(study))


def frame(study: Study) -> pd.DataFrame:
    """Every trial of a study, as `search.analysis.trial_frame` gives it; not to be written to."""
    return _frame(study.id, store().events.last_id(study.id), study.name)


@st.cache_resource(show_spinner=False, max_entries=64)
def _runs(study_id: int, version: int, number: int | None) -> list[StageRun]:  # noqa: ARG001
    return store().stage_runs.of(study_id, number)


def stage_runs(study: Study, number: int | None) -> list[StageRun]:
    """Attempts at the stages of a trial, or of the study itself (None)."""
    return _runs(study.id, store().events.last_id(study.id), number)


@st.cache_resource(show_spinner="Reading stages …", max_entries=6)
def _costs(study_id: int, version: int) -> list[StageCost]:  # noqa: ARG001
    return stage_costs(store().stage_runs.of(study_id))


def costs(study: Study) -> list[StageCost]:
    """Where the compute of a study went, stage by stage."""
    return _costs(study.id, store().events.last_id(study.id))


@st.cache_resource(show_spinner=False, max_entries=64)
def _results(study_id: int, version: int, number: int | None) -> TrialResults:
    return TrialResults.of(_runs(study_id, version, number))


def results(study: Study, number: int | None) -> TrialResults:
    """Results of the stages of a trial, or of the teacher (None)."""
    return _results(study.id, store().events.last_id(study.id), number)


@st.cache_data(show_spinner=False, max_entries=4)
def _dev(corpus: str) -> list[Utterance]:
    return dev_utterances(home().workspace().corpus(corpus)) if corpus else []


def dev_set(study: Study) -> list[Utterance]:
    """The dev utterances; empty where the prepared data are no longer there."""
    return _dev(study.corpus or "")


@st.cache_data(show_spinner=False, max_entries=32)
def _texts(digest: str) -> list[str] | None:
    return queries.read_texts(artifacts(), digest)


def texts(study: Study, number: int | None, label: str) -> list[str] | None:
    """What a runtime wrote of dev, utterance by utterance; None where it is not kept."""
    digest = queries.texts_digest(results(study, number), label, is_teacher=number is None)
    return None if digest is None else _texts(digest)
