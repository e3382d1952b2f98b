from __future__ import annotations

import pytest
from corpora import TINY

from search.home import Home
from spaces.load import parse_space
from workers.data.batches import Corpus
from workers.data.prepare import prepare
from workers.jobs import Place


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def place(home: Home) -> Place:
    return home.place()


@pytest.fixture(scope="session")
def corpus(place: Place) -> Corpus:
    """Forty spoken utterances, prepared."""
    folder, _ = prepare(parse_space(TINY, "tiny.yaml"), place.cache)
    return Corpus(folder)
