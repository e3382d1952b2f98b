from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # fakes.py

from search.home import Home
from spaces.load import parse_space
from workers.data.batches import Corpus
from workers.data.prepare import prepare
from workers.jobs import Place

TINY = """
name: tiny
data:
  synthetic: {train_utterances: 40, dev_utterances: 10, speakers: 6}
  speeds: [1.0]
teacher: {train: {}}
students: {separable_conv: {channels: [16]}}
"""


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
