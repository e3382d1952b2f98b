"""A study and its trials, as the tests of a store write them."""

from __future__ import annotations

from typing import Any

from storage.records import Study, Trial
from storage.store import Store

STUDY: dict[str, Any] = {
    "name": "edge",
    "space_yaml": "name: edge\n# größe, 語\n",
    "space_path": "/spaces/edge.yaml",
    "space_digest": "d" * 64,
    "seed": 7,
    "deterministic": True,
    "trials_wanted": 24,
}
VALUES = {"family": "conformer", "conformer.channels": 96, "distil.weight": 0.1 + 0.2}
RECIPE = {"student": {"family": "conformer", "channels": 96}, "losses": [{"name": "größe ▁"}]}


def add_trial(store: Store, study: Study, number: int = 0, **columns: Any) -> Trial:
    given: dict[str, Any] = {
        "values": VALUES,
        "recipe": RECIPE,
        "recipe_digest": f"{number:064x}",
        "label": "größe ▁",
        "source": "sampler",
    }
    return store.trials.add(study.id, number=number, **{**given, **columns})
