"""A network of every family."""

from __future__ import annotations

import pytest
from networks import DIMS, lively
from torch import nn


@pytest.fixture(scope="module", params=DIMS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return lively(DIMS[request.param])
