"""The dashboard: `search dashboard` runs this with Streamlit."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.auth import has_sign_in, why_read_only
from dashboard.context import store
from dashboard.parts.choice import choose_study
from search.report.redaction import redact
from spaces.errors import SpaceError
from storage.errors import StorageError

HERE = Path(__file__).parent
PAGES = HERE / "app_pages"
# In the dark the theme's colour is light, and so what is written on it has to be dark.
_STYLE = """<style>
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primary"] p,
[data-tag], [data-tag] * { color: light-dark(#fff, #000); }
</style>"""


def main() -> None:
    st.set_page_config(
        page_title="Compression search", page_icon=str(HERE / "icon.svg"), layout="wide"
    )
    st.html(_STYLE)
    if has_sign_in() and not st.user.is_logged_in:
        st.title("Compression search")
        st.button("Sign in", on_click=st.login, type="primary")
        return
    try:
        store()
    except StorageError as error:
        st.title("Compression search")
        st.error("The store cannot be opened.")
        st.text(type(error).__name__)
        return
    page = st.navigation(
        [
            st.Page(PAGES / "studies.py", title="Studies", icon=":material/list:", default=True),
            st.Page(PAGES / "front.py", title="Front", icon=":material/scatter_plot:"),
            st.Page(PAGES / "trial.py", title="Trial", icon=":material/search:"),
            st.Page(PAGES / "compare.py", title="Compare", icon=":material/compare_arrows:"),
            st.Page(PAGES / "try_it.py", title="Try it", icon=":material/mic:"),
        ]
    )
    with st.sidebar:
        choose_study()
        reason = why_read_only()
        if reason is not None:
            st.caption(reason)
        if has_sign_in():
            st.button("Sign out", on_click=st.logout)
    try:
        page.run()
    except SpaceError as error:
        st.title("Compression search")
        st.error("The space of this study cannot be used as it stands.")
        st.text(redact(error))


main()
