"""Times two students in turn, in the same processes: the sharpest comparison there is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from search.compare import Difference, Side, taken_together
from search.errors import UsageFault
from search.plan import model_of
from spaces.space import Space
from storage.artifacts import ArtifactStore
from storage.records import Study
from workers.data.batches import Corpus
from workers.jobs import Place
from workers.measure.on_target import measure_on, request_for
from workers.trial import fetch_model

_RESTARTS = 5


def measure_together(
    study: Study, space: Space, place: Place, sides: tuple[Side, Side], target: str | None
) -> Difference:
    """Run both in turn on a target now; how much longer the second takes.

    Raises:
        UsageFault: for a target that is not of the space, or data that are no longer there.
    """
    from dataclasses import replace

    name = target or next(iter(space.targets))
    if name not in space.targets:
        raise UsageFault(f'no target "{name}" (targets: {", ".join(space.targets)})')
    if space.targets[name].metrics is not None:
        raise UsageFault(f"{name}: a phone by adb runs no anchor to compare by")
    folder = place.corpus(str(study.facts.get("corpus", "")))
    if not (folder / "index.json").is_file():
        raise UsageFault("the prepared data of this study are gone; `search launch` makes them")
    corpus, artifacts = Corpus(folder), ArtifactStore(place.artifacts)
    with tempfile.TemporaryDirectory() as work:
        models = []
        for side, into in zip(sides, (Path(work) / "a", Path(work) / "b"), strict=True):
            model, tokens = model_of(space, name, side.results)
            main = fetch_model(model, artifacts, into)
            models.append((model.backend, main, artifacts.fetch(tokens, into / "tokens.txt")))
        request = replace(
            request_for(space.targets[name], corpus, models), restarts=_RESTARTS, details=False
        )
        a, b = measure_on(space.targets[name], request, place)
    ratios = [y.anchor_ratio / x.anchor_ratio for x, y in zip(a.restarts, b.restarts, strict=True)]
    values = tuple(
        float(np.median([r.anchor_ratio * r.anchor_ms for r in s.restarts])) for s in (a, b)
    )
    return taken_together(name, ratios, (values[0], values[1]))
