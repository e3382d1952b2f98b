"""What the pages work with: where the home is, the open store, its artifacts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import streamlit as st

from search.home import Home
from storage.artifacts import ArtifactStore
from storage.store import Store

_FILE = "sqlite:///"


def home() -> Home:
    return Home.at(
        Path(os.environ.get("SEARCH_HOME", ".search")),
        os.environ.get("SEARCH_STORE"),
        os.environ.get("SEARCH_ARTIFACTS"),
    )


@st.cache_resource(show_spinner=False)
def store() -> Store:
    opened = Store(home().store_url)
    _file_at_opening()
    return opened


def is_gone() -> bool:
    """Whether the store's file is no longer there, or not yet again."""
    path = _path()
    return path is not None and not path.exists()


def is_replaced() -> bool:
    """Whether the file of the store is no longer the one that was opened; never of a server's."""
    opened, path = _file_at_opening(), _path()
    if opened is None or path is None:
        return False
    try:
        return not os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except OSError:
        return True


@st.cache_resource(show_spinner=False)
def _file_at_opening() -> BinaryIO | None:
    """Held open, so that no other file is given its place on the disk."""
    path = _path()
    return None if path is None else path.open("rb")


def _path() -> Path | None:
    """The file of the store; None where a server keeps it."""
    url = home().store_url.removeprefix(_FILE)
    return None if "://" in url else Path(url)


@st.cache_resource(show_spinner=False)
def artifacts() -> ArtifactStore:
    return ArtifactStore(home().artifacts_url)
