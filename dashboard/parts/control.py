"""Steering: stop, pause, resume, extend, cancel; notes and tags."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.auth import user_name, why_read_only
from dashboard.context import store
from dashboard.parts.choice import same_study
from dashboard.queries import is_alive, notes
from search.cli.towards import parse_towards
from search.errors import UsageFault
from search.report.redaction import markdown, plain
from storage.records import Note, Study, StudyState

_MOST_TEXT = 4000
_DROPPED = "note-dropped"


def steer_study(study: Study) -> None:
    """Buttons for a running study; for one that ended, how to go on."""
    with st.expander("Steer this study"):
        reason = why_read_only()
        if reason is not None:
            st.caption(reason)
            return
        alive = is_alive(study)
        columns = st.columns(4)
        paused = study.state is StudyState.PAUSED
        _button(columns[0], "Pause", study, "pause", disabled=not alive or paused)
        _button(columns[1], "Resume", study, "resume", disabled=not alive or not paused)
        with columns[2].popover("Stop", disabled=not alive, width="stretch"):
            st.write(
                "Trials under way are left where they are; the same command goes on with them."
            )
            _button(st.container(), "Stop the study", study, "stop", disabled=not alive)
        with columns[3].popover("Extend", width="stretch"):
            more = st.number_input("How many more trials", 1, 100_000, 10, key="more-trials")
            st.button("Add trials", on_click=_extend, args=(study, int(more)))
            if not alive:
                st.caption("Nobody runs this study: they are begun by the command below.")
        if not alive:
            st.caption("The study is not running. Go on with the same command it was begun with:")
            st.code(_go_on(study), language=None)


def _button(column: DeltaGenerator, label: str, study: Study, kind: str, disabled: bool) -> None:
    column.button(
        label, on_click=_command, args=(study, kind, None), disabled=disabled, width="stretch"
    )


def _go_on(study: Study) -> str:
    """The command that continues a study, as far as a page may know it."""
    space = shlex.quote(plain(study.space_path.rpartition("/")[2] or "SPACE"))
    return f"search launch --space {space} --study {shlex.quote(plain(study.name))}"


def _command(study: Study, kind: str, argument: int | None) -> None:
    if why_read_only() is None:  # a page that was open before the rules changed
        store().commands.add(study.id, kind, argument)
        st.toast(f"{markdown(study.name, 60)}: {kind} is asked for; it takes effect within seconds")


def _extend(study: Study, more: int, towards: Mapping[str, str] | None = None) -> None:
    if why_read_only() is not None:
        return
    store().studies.extend(study.id, more, towards)
    store().commands.add(study.id, "extend", more)  # for who runs it; the next launch drops it
    name = markdown(study.name, 60)
    if is_alive(same_study(study.name)):  # this page may have been drawn a while ago
        st.toast(f"{name}: extend is asked for; it takes effect within seconds")
    else:
        how = markdown(_go_on(study), 300)
        st.toast(f"{name}: {more} trials are added. Nobody runs the study: {how} begins them")


def search_further(study: Study, limits: Mapping[str, float]) -> None:
    """Trials added to a study that are to lie within limits, at most or at least as is better."""
    given = [f"{metric}={value:g}" for metric, value in limits.items()]
    try:
        towards = parse_towards(given, study, store().trials.of(study.id))
    except UsageFault as fault:
        st.caption(f"The search cannot go on towards these limits: {plain(str(fault))}")
        return
    options = " ".join(f"--towards {text}" for text in given)
    name = shlex.quote(plain(study.name))
    with st.popover("Search further here", key="further"):
        more = st.number_input("How many more trials", 1, 100_000, 10, key="further-trials")
        if (reason := why_read_only()) is not None:
            st.caption(reason)
        else:
            st.button("Add these trials", on_click=_extend, args=(study, int(more), towards))
        st.caption("They begin beside the students nearest to these limits. In a shell:")
        st.code(f"search extend {name} --trials {int(more)} {options}", language=None)
        if not is_alive(study):
            st.caption("Nobody runs this study; these trials are begun by")
            st.code(_go_on(study), language=None)


def cancel_trial(study: Study, number: int) -> None:
    """A button that ends one trial for good."""
    if why_read_only() is None and is_alive(study):
        st.button("Cancel this trial", on_click=_command, args=(study, "cancel", number))


def write_notes(study: Study, number: int | None) -> None:
    """Notes and tags of a trial, or of the study; anybody who may steer may write."""
    found = notes(store(), study, number)
    what = "the study" if number is None else f"trial {number}"
    with st.expander(f"Notes and tags ({len(found)})", expanded=bool(found)):
        for note in found:
            text, button = st.columns([6, 1])
            day = time.strftime("%Y-%m-%d %H:%M", time.localtime(note.at))
            text.caption(f"{note.kind} · {day}")
            text.text(f"{plain(note.author, 60)}: {plain(note.text, _MOST_TEXT)}")
            if why_read_only() is None:
                button.button("Drop", key=f"drop-{note.id}", on_click=_drop, args=(study, note))
        _undo(study, number)
        if why_read_only() is None:
            with st.form(f"note-{number}", clear_on_submit=True, border=False):
                kind = st.radio("Kind", ["note", "tag"], horizontal=True)
                written = st.text_area(f"About {what}", max_chars=_MOST_TEXT, height=80)
                if st.form_submit_button("Keep") and written.strip():
                    store().notes.add(study.id, number, str(kind), written.strip(), user_name())
                    st.rerun()


def _drop(study: Study, note: Note) -> None:
    if why_read_only() is None:
        store().notes.drop(study.id, note.id)
        st.session_state[_DROPPED] = (study.id, note)


def _undo(study: Study, number: int | None) -> None:
    """Take back what was dropped last on this page."""
    of, note = st.session_state.get(_DROPPED, (None, None))
    if of != study.id or note.trial_number != number:
        return
    st.button("Undo the last drop", on_click=_keep_again, args=(study, note), key="undrop")


def _keep_again(study: Study, note: Note) -> None:
    if why_read_only() is None and st.session_state.pop(_DROPPED, None) is not None:
        store().notes.add(study.id, note.trial_number, note.kind, note.text, note.author)
