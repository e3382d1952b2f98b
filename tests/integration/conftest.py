from __future__ import annotations

import pytest
from corpora import TINY

from search.home import Home
from spaces.load import parse_space
from workers.data.corpus import Corpus
from workers.data.prepare import prepare
from workers.workspace import Workspace


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def workspace(home: Home) -> Workspace:
    return home.workspace()


@pytest.fixture(scope="session")
def corpus(workspace: Workspace) -> Corpus:
    """Forty spoken utterances, prepared."""
    space = parse_space(TINY, "tiny.yaml")
    factor = space.contract.subsampling_factor
    folder, _ = prepare(space.data, space.tokens, factor, workspace.cache)
    return Corpus(folder)
