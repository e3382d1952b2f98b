"""What the pages work with: where the home is, the open store, its artifacts."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from search.home import Home
from storage.artifacts import ArtifactStore
from storage.store import Store


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
