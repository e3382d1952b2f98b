"""What agents are asked to measure."""

from __future__ import annotations

import agents
import pytest

from workers.probe.request import LatencyRequest


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> LatencyRequest:
    folder = tmp_path_factory.mktemp("asked")
    return agents.request(agents.student(folder / "model"), folder / "audio")
