from __future__ import annotations

import pytest
from folders import AN4, HOME

from spaces.load import load_space
from workers.data.corpus import Corpus
from workers.data.prepare import prepare
from workers.workspace import Workspace


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """Kept between runs: the teacher of a benchmark is trained once. BENCH_HOME names another."""
    return Workspace(
        artifacts=str(HOME / "artifacts"),
        cache=HOME / "cache",
        work=HOME / "work",
        locks=HOME / "locks",
    )


@pytest.fixture(scope="session")
def an4(workspace: Workspace) -> Corpus:
    if not AN4.exists():
        pytest.skip(f"the recorded corpus is not at {AN4}")
    space = load_space("an4.yaml")
    factor = space.contract.subsampling_factor
    folder, _ = prepare(space.data, space.tokens, factor, workspace.cache)
    return Corpus(folder)
