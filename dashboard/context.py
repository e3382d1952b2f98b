"""What the pages work with: where the home is, the open store, who may do what."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from search.home import Home
from storage.artifacts import ArtifactStore
from storage.store import Store

READ_ONLY = "SEARCH_DASHBOARD_READ_ONLY"


def home() -> Home:
    return Home.at(
        Path(os.environ.get("SEARCH_HOME", ".search")),
        os.environ.get("SEARCH_STORE"),
        os.environ.get("SEARCH_ARTIFACTS"),
    )


@st.cache_resource(show_spinner=False)
def store() -> Store:
    return Store(home().store_url)


@st.cache_resource(show_spinner=False)
def artifacts() -> ArtifactStore:
    return ArtifactStore(home().artifacts_url)


def has_sign_in() -> bool:
    """Whether Streamlit's own OIDC sign-in is configured (`[auth]` in its secrets)."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:  # no secrets at all; `in` reads them
        return False


def operators() -> tuple[str, ...]:
    """Mail addresses that may steer studies: `operators` under `[roles]` in the secrets."""
    return tuple(st.secrets.get("roles", {}).get("operators", ())) if has_sign_in() else ()


def user_name() -> str:
    if has_sign_in() and st.user.is_logged_in:
        return str(st.user.get("email", "signed in"))
    return "local"


def why_read_only() -> str | None:
    """Why this visitor may look but not steer; None where all is allowed."""
    if os.environ.get(READ_ONLY) == "1":
        return "This dashboard is read-only."
    if has_sign_in() and user_name() not in operators():
        return "Your account may look but not steer: it is not among the operators."
    return None
