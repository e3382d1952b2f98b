"""What the visitor looks at: a study, a target, trials. Kept in the session and in the address."""

from __future__ import annotations

import re
from collections.abc import Sequence

import streamlit as st

from dashboard.context import store
from spaces.space import Space
from storage.errors import NoSuchStudy
from storage.records import Study

STUDY, TRIAL = "study", "trial"


def choose_study() -> None:
    """The study of all pages, from the address at first."""
    names = [s.name for s in store().studies.all()]
    if not names:
        st.session_state.pop("study_name", None)
        return
    asked = st.query_params.get(STUDY)
    if "study_name" not in st.session_state or st.session_state["study_name"] not in names:
        st.session_state["study_name"] = asked if asked in names else names[-1]
    st.selectbox("Study", names, key="study_name", on_change=_forget_trial)
    st.query_params[STUDY] = st.session_state["study_name"]


def _forget_trial() -> None:
    for key in ("trial_number", "compared", "compared_by_hand", "boxed"):
        st.session_state.pop(key, None)
    st.query_params.pop(TRIAL, None)


def study_or_stop() -> Study:
    """The chosen study; without any the page says how to begin."""
    name = st.session_state.get("study_name")
    if name is None:
        st.title("No studies yet")
        st.write("Start one, and it appears here by itself:")
        st.code("search launch --space quickstart.yaml", language=None)
        st.fragment(_look_again, run_every=2)()
        st.stop()
    return store().studies.get(name)


def same_study(name: str) -> Study:
    """The study as it is now, for a part of a page that refreshes by itself; the whole page starts
    again where it is no longer there."""
    try:
        return store().studies.get(name)
    except NoSuchStudy:
        st.rerun()
        raise


def _look_again() -> None:
    if store().studies.all():
        st.rerun()


def chosen_trial(numbers: Sequence[int]) -> int | None:
    """The trial in question, from the session or the address; None where there is none."""
    number = st.session_state.get("trial_number")
    asked = str(st.query_params.get(TRIAL, ""))
    if number is None and re.fullmatch(r"[0-9]{1,9}", asked):
        number = int(asked)
    if number not in numbers:
        return None
    open_trial(int(number))
    return int(number)


def open_trial(number: int) -> None:
    st.session_state["trial_number"] = number
    st.query_params[TRIAL] = str(number)


def choose_target(space: Space, key: str) -> str:
    """One of the space's targets."""
    names = list(space.targets)
    if len(names) == 1:
        return names[0]
    return str(st.selectbox("Target", names, key=key, help="Where times and memory were measured"))
