"""The card that answers: which student to ship, why, and the ways on."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.parts.address import link, open_trial
from dashboard.parts.export import bundle_name, export_button, other_forms
from search.analysis.answer import Answer, answer_of
from search.analysis.pick import Limit
from search.report.answer import answer_line, others_line, rule_line, settled_line
from search.report.redaction import markdown
from spaces.space import Space
from storage.records import Study

_RULES = {"size_mb": "smallest", "latency_p95_ms": "fastest"}


def answer_card(
    study: Study,
    space: Space,
    trials: pd.DataFrame,
    limits: Sequence[Limit] = (),
    target: str = "",
) -> Answer | None:
    """Which trial to ship within limits, and buttons for it; None where there is none yet.

    Args:
        trials: all of the study (`search.analysis.trial_frame`).
        target: whose figures count; the first of the space by default.
    """
    where = "" if target == space.first_target else target
    with st.container(border=True, key="answer"):
        words = st.container()
        by = _choose_rule()
        answer = answer_of(trials, limits, where, by)
        with words:
            _told(study, space, trials, limits, target or space.first_target, answer)
    return answer


def _told(
    study: Study,
    space: Space,
    trials: pd.DataFrame,
    limits: Sequence[Limit],
    target: str,
    answer: Answer | None,
) -> None:
    if answer is None:
        _no_answer(trials, limits)
    else:
        st.markdown(f"#### {markdown(answer_line(answer), 400)}")
        st.markdown(markdown(others_line(answer), 600))
        n_left = study.trials_wanted - int(trials["finished_at"].notna().sum())
        if study.state.is_live and n_left > 0:
            st.markdown(markdown(settled_line(answer, n_left), 300))
        _ways_on(study, space, answer, target)
        zipped = bundle_name(study.name, answer.number, target)
        st.code(f"search transcribe {zipped} recording.wav", language=None, wrap_lines=True)
        st.caption(markdown(rule_line(answer), 400))


def _no_answer(trials: pd.DataFrame, limits: Sequence[Limit]) -> None:
    n_complete = int((trials["state"] == "complete").sum())
    if not n_complete:
        st.markdown("#### Nothing to ship yet: no trial is complete.")
    elif limits:
        st.markdown(f"#### None of {n_complete} complete trials meets these budgets.")
        st.markdown("Loosen one, or let the search go on towards them.")
    else:
        st.markdown(f"#### None of {n_complete} complete trials was measured so on this target.")


def _ways_on(study: Study, space: Space, answer: Answer, target: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        export_button(study, space, answer.number, target, key="answer-export")
        other_forms(study, space, answer.number, target)
        st.button(
            f"Open trial {answer.number}",
            on_click=open_trial,
            args=(answer.number,),
            key="answer-open",  # or a label that changes under the finger loses the click
        )
        link("try_it", "Listen", ":material/mic:", study.name, listen=str(answer.number))
        other = answer.fewest or answer.below
        if other is not None:
            both = f"{answer.number},{other.number}"
            link("compare", "Compare", ":material/compare_arrows:", study.name, compare=both)


def _choose_rule() -> str:
    return str(
        st.segmented_control(
            "Of those that are as good, ship the",
            list(_RULES),
            default="size_mb",
            required=True,
            format_func=_RULES.get,
            key="by",
            bind="query-params",
        )
    )
