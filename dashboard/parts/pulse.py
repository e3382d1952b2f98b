"""What a page looks at between two drawings: one light read, shared by all who look.

A page is drawn anew when the study's state has changed, and when trials have come: at most every
minute (`--redraw-s`), and not while something is being measured, since drawing takes a
processor that the measurement may be on. In between only one line in the side bar moves.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass

import streamlit as st

from dashboard.context import is_gone, is_replaced, store
from dashboard.queries import is_alive
from search.progress import LiveStatus, RunningStage
from search.report.labels import clock
from search.report.redaction import markdown
from storage.errors import NoSuchStudy
from storage.records import Study

_LOOK_S = 6.0
_LOOK_IDLE_S = 10.0  # at a study that nobody runs
REDRAW_S = "SEARCH_REDRAW_S"
_DRAWN = "drawn-last"

Version = tuple[object, ...]


@dataclass(frozen=True)
class Pulse:
    """What changed since: the study's own `standing`, and the `tally` of its trials."""

    study: Study | None
    standing: Version
    tally: Version

    @property
    def live(self) -> LiveStatus | None:
        if self.study is None or not is_alive(self.study):
            return None
        return LiveStatus.of(self.study)

    @property
    def measures(self) -> RunningStage | None:
        """A measurement under way."""
        running = () if self.live is None else self.live.running
        return next((r for r in running if r.stage.startswith(("measure", "confirm"))), None)


@st.cache_resource(ttl=_LOOK_S - 1, show_spinner=False, max_entries=64)
def pulse(name: str) -> Pulse:
    """How a study is, a few seconds old at most: one read for all sessions."""
    try:
        study = store().studies.get(name)
    except NoSuchStudy:
        return Pulse(None, (), ())
    standing = (study.id, study.state, study.trials_wanted, is_alive(study))
    return Pulse(study, standing, store().trials.tally(study.id))


def watch(name: str) -> None:
    """Draw the page anew when it would look otherwise; meanwhile a line tells what goes on."""
    found = pulse(name)
    is_live = found.study is not None and found.study.state.is_live
    st.session_state[_DRAWN] = time.monotonic()
    with st.sidebar:
        every_s = _LOOK_S if is_live else _LOOK_IDLE_S
        st.fragment(_look, run_every=every_s)(name, found.standing, found.tally)


@st.cache_resource(show_spinner=False)
def _leave_what_stays() -> bool:
    """Streamlit collects garbage after every run, however small: it need not walk each time through
    what was loaded for good, which took 150 ms of a look of nearly as many."""
    gc.collect()
    gc.freeze()
    return True


def _look(name: str, standing: Version, tally: Version) -> None:
    _leave_what_stays()
    if is_gone():  # it is not made anew by who only looks
        st.warning("The file of the store is gone; what is shown is what was read of it.")
        return
    if is_replaced():
        st.cache_resource.clear()
        st.cache_data.clear()
        st.rerun()
    found = pulse(name)
    if found.live is not None:
        st.caption(_line(found, found.live))
    if found.standing != standing:  # it ended, or somebody steers it
        st.rerun()
    is_time = time.monotonic() - st.session_state[_DRAWN] >= float(os.environ[REDRAW_S])
    if found.tally != tally and found.measures is None and is_time:
        st.rerun()


def _line(found: Pulse, live: LiveStatus) -> str:
    """What is under way, how far, and how long it still takes."""
    doing = found.measures or next(iter(live.running), None)
    if doing is None:
        told = "nothing is at work"
    else:
        far = doing.progress
        who = "study" if doing.trial is None else f"trial {doing.trial}"
        told = f"{who}: {doing.stage}" + (f", {far.what} {far.done} of {far.of}" if far else "")
    eta = "" if live.eta_s is None else f" · about {clock(live.eta_s)} to go"
    waits = " · this page waits until it is measured" if found.measures else ""
    return markdown(f"{told}{eta}{waits}", 200)
