"""What the visitor looks at: a study, a target."""

from __future__ import annotations

import streamlit as st

from dashboard.context import store
from dashboard.parts.address import STUDY, open_study, study_asked
from search.report.redaction import markdown
from spaces.space import Space
from storage.errors import NoSuchStudy
from storage.records import Study

_CHOSEN = "study_name"


def choose_study() -> str | None:
    """The study of all pages, from the address; without one the latest. None where there is none
    of that name."""
    names = [s.name for s in store().studies.all()]
    asked = study_asked()
    if not names or (asked is not None and asked not in names):
        return None
    name = asked or names[-1]
    if asked is None:
        st.query_params[STUDY] = name
    st.session_state[_CHOSEN] = name
    st.selectbox("Study", names, key=_CHOSEN, on_change=_other_study)
    return name


def _other_study() -> None:
    open_study(str(st.session_state[_CHOSEN]))


def study_or_stop() -> Study:
    """The chosen study; without any the page says how to begin, and what there is instead of one
    that is not there."""
    studies = store().studies.all()
    asked = study_asked()
    found = next((s for s in studies if s.name == asked), None)
    if found is not None:
        return found
    if studies:
        st.title("No such study")
        st.write(f"There is no study **{markdown(asked or '', 60)}** in this store. There is:")
        for study in studies[::-1][:_MOST]:
            st.button(
                markdown(study.name, 60),
                key=f"open-{study.id}",
                on_click=open_study,
                args=(study.name,),
            )
    else:
        st.title("No studies yet")
        st.write("Start one, and it appears here by itself:")
        st.code("search launch --space quickstart.yaml", language=None)
    st.fragment(_look_again, run_every=4)([s.id for s in studies])
    st.stop()
    raise AssertionError  # it never comes here


_MOST = 20


def same_study(name: str) -> Study:
    """The study as it is now, for a part of a page that runs again by itself; the whole page starts
    again where it is no longer there."""
    try:
        return store().studies.get(name)
    except NoSuchStudy:
        st.rerun()
        raise


def _look_again(known: list[int]) -> None:
    if [s.id for s in store().studies.all()] != known:
        st.rerun()


def choose_target(space: Space, key: str, bind: bool = False) -> str:
    """One of the space's targets."""
    names = list(space.targets)
    if len(names) == 1:
        return names[0]
    return str(
        st.selectbox(
            "Target",
            names,
            key=key,
            help="Where times and memory were measured",
            bind="query-params" if bind else None,
        )
    )
