"""Where the visitor is: study, trial and what is compared live in the address, and nowhere else.

A link opens the same view in another browser, and Back goes where one was. What widgets of a page
choose (view, target, budgets) is in the address by `bind="query-params"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import streamlit as st

STUDY, TRIAL, COMPARED, LISTENERS = "study", "trial", "compare", "listen"
PAGES = Path(__file__).parent.parent / "app_pages"
_OF_FRONT = "address-of-front"
_BEFORE = "trial-opened-before"
_LINKED = "address-of-links"
_MOST_COMPARED = 4


def study_asked() -> str | None:
    return st.query_params.get(STUDY)


def open_study(name: str) -> None:
    """Another study: no trial of it is chosen yet, and no box is drawn."""
    for key in (TRIAL, COMPARED, LISTENERS):
        st.query_params.pop(key, None)
    st.session_state.pop("boxed", None)
    st.query_params[STUDY] = name


def links_are_drawn() -> None:
    """The links of the side bar hold what is chosen now."""
    st.session_state[_LINKED] = _chosen()


def keep_links() -> None:
    """Draw the whole page where a part of it has chosen what its links do not hold."""
    if st.session_state.get(_LINKED) != _chosen():
        st.rerun()


def _chosen() -> tuple[str | None, ...]:
    return tuple(st.query_params.get(key) for key in (TRIAL, COMPARED))


def trial_asked() -> str | None:
    """The trial of the address, which may be none of the study's."""
    return st.query_params.get(TRIAL) or None


def chosen_trial(numbers: Iterable[int]) -> int | None:
    """The trial in question; None where there is none."""
    asked = trial_asked()
    if asked is None or not re.fullmatch(r"[0-9]{1,9}", asked):
        return None
    return int(asked) if int(asked) in set(numbers) else None


def open_trial(number: int) -> None:
    before = trial_asked()
    if before != str(number):
        st.session_state[_BEFORE] = (study_asked(), before)
    st.query_params[TRIAL] = str(number)


def opened_before(numbers: Iterable[int]) -> int | None:
    """The trial that was opened before the chosen one; None where there is none."""
    study, asked = st.session_state.get(_BEFORE, (None, None))
    if asked is None or study != study_asked() or asked == trial_asked():
        return None
    return next((n for n in numbers if str(n) == asked), None)


def close_trial() -> None:
    st.query_params.pop(TRIAL, None)


def compared(numbers: Iterable[int]) -> list[int]:
    """The trials that are compared, as chosen."""
    return _listed(COMPARED, numbers)[:_MOST_COMPARED]


def compare(numbers: Sequence[int]) -> None:
    st.query_params[COMPARED] = ",".join(map(str, numbers[:_MOST_COMPARED]))


def add_to_compare(number: int, numbers: Iterable[int]) -> None:
    compare([*compared(numbers), number])


def may_compare_more(numbers: Iterable[int]) -> bool:
    return len(compared(numbers)) < _MOST_COMPARED


def listeners(numbers: Iterable[int]) -> list[int]:
    """Who listens on Try it, as a link asked for."""
    return _listed(LISTENERS, numbers)


def _listed(key: str, numbers: Iterable[int]) -> list[int]:
    known = set(numbers)
    asked = re.findall(r"[0-9]{1,9}", st.query_params.get(key, ""))
    return list(dict.fromkeys(int(n) for n in asked if int(n) in known))


def remember_front() -> None:
    """What is chosen on the Front page is there again when one comes back."""
    others = (STUDY, TRIAL, COMPARED, LISTENERS)
    kept = {k: st.query_params.get_all(k) for k in st.query_params if k not in others}
    st.session_state[_OF_FRONT] = (study_asked(), kept)


def link(page: str, label: str, icon: str, study: str | None, **changes: str) -> None:
    """A link to a page that keeps where one is, but for changes."""
    asked: dict[str, str | list[str]] = {}
    if study is not None:
        asked[STUDY] = study
        kept = (TRIAL, COMPARED)
        asked |= {key: st.query_params[key] for key in kept if key in st.query_params}
    if page == "front":
        of, kept_there = st.session_state.get(_OF_FRONT, (None, {}))
        asked |= kept_there if of == study else {}
    st.page_link(
        str(PAGES / f"{page}.py"), label=label, icon=icon, query_params={**asked, **changes}
    )
