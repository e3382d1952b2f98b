"""A new home for every search."""

from __future__ import annotations

import pytest

from search.home import Home


@pytest.fixture
def home(tmp_path):
    return Home.at(tmp_path)
