from __future__ import annotations

import pytest
from places import AN4, HOME

from spaces.load import load_space
from workers.data.batches import Corpus
from workers.data.prepare import prepare
from workers.jobs import Place


@pytest.fixture(scope="session")
def place() -> Place:
    """Kept between runs: the teacher of a benchmark is trained once. BENCH_HOME names another."""
    return Place(
        artifacts=str(HOME / "artifacts"),
        cache=HOME / "cache",
        work=HOME / "work",
        locks=HOME / "locks",
    )


@pytest.fixture(scope="session")
def an4(place: Place) -> Corpus:
    if not AN4.exists():
        pytest.skip(f"the recorded corpus is not at {AN4}")
    folder, _ = prepare(load_space("an4.yaml"), place.cache)
    return Corpus(folder)
