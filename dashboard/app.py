"""The dashboard: `search dashboard` runs this with Streamlit."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.auth import has_sign_in, why_read_only
from dashboard.context import store
from dashboard.parts.address import PAGES, link, links_are_drawn
from dashboard.parts.choice import choose_study
from dashboard.parts.copy_link import copy_link
from dashboard.parts.pulse import watch
from search.report.redaction import plain, redact
from spaces.errors import SpaceError
from storage.errors import StorageError

HERE = Path(__file__).parent
_NAME = "Compression search"
_PAGES = {
    "studies": ("Studies", ":material/list:"),
    "front": ("Front", ":material/scatter_plot:"),
    "trial": ("Trial", ":material/search:"),
    "compare": ("Compare", ":material/compare_arrows:"),
    "try_it": ("Try it", ":material/mic:"),
}


def main() -> None:
    st.set_page_config(page_title=_NAME, page_icon=str(HERE / "icon.svg"), layout="wide")
    st.html(HERE / "app.css")
    if has_sign_in() and not st.user.is_logged_in:
        st.title(_NAME)
        st.button("Sign in", on_click=st.login, type="primary")
        return
    try:
        store()
    except StorageError as error:
        st.title(_NAME)
        st.error("The store cannot be opened.")
        st.text(type(error).__name__)
        return
    page = st.navigation(
        [
            st.Page(PAGES / f"{name}.py", title=title, icon=icon, default=name == "studies")
            for name, (title, icon) in _PAGES.items()
        ],
        position="hidden",  # its own links would drop the address
    )
    with st.sidebar:
        study = choose_study()
        for name, (title, icon) in _PAGES.items():
            link(name, title, icon, study)
        links_are_drawn()
        if study is not None:
            copy_link()
        reason = why_read_only()
        if reason is not None:
            st.caption(reason)
        if has_sign_in():
            st.button("Sign out", on_click=st.logout)
    told = f"{page.title} · {plain(study, 60)} · {_NAME}" if study else _NAME
    st.set_page_config(page_title=told)
    try:
        if study is not None:
            watch(study)
        page.run()
    except SpaceError as error:
        st.title(_NAME)
        st.error("The space of this study cannot be used as it stands.")
        st.text(redact(error))


main()
