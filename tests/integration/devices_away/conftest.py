"""A home whose study measures on a device too."""

from __future__ import annotations

from pathlib import Path

import pytest
from away import Home_


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home_:
    monkeypatch.setenv("SEARCH_PI5_TOKEN", "secret")
    return Home_(tmp_path)
