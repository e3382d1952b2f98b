"""Who may do what: Streamlit's own sign-in, and the addresses that may steer."""

from __future__ import annotations

import os

import streamlit as st

READ_ONLY = "SEARCH_DASHBOARD_READ_ONLY"


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
