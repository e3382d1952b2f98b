"""Times two students in turn, in the same processes: the sharpest comparison there is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from search.analysis.compare import Difference, Side, paired_difference
from search.errors import UsageFault
from search.results import model_of
from spaces.space import Space
from storage.artifacts import ArtifactStore
from storage.records import Study
from workers.data.corpus import Corpus
from workers.measure.timed_audio import TimedModel, request_for
from workers.models import fetch_model
from workers.targets.reach import measure_on
from workers.workspace import Workspace

_RESTARTS = 5


def time_paired(
    study: Study,
    space: Space,
    workspace: Workspace,
    sides: tuple[Side, Side],
    target: str | None,
) -> Difference:
    """Run both in turn on a target now; how much longer the second takes.

    Raises:
        UsageFault: for a target that is not of the space, or data that are no longer there.
    """
    name = target or space.first_target
    if name not in space.targets:
        raise UsageFault(f'no target "{name}" (targets: {", ".join(space.targets)})')
    if space.targets[name].metrics is not None:
        raise UsageFault(f"{name}: a phone by adb runs no anchor to compare by")
    if sides[0].front_end.sample_rate_hz != sides[1].front_end.sample_rate_hz:
        raise UsageFault("one hears 8 kHz and the other 16: no recording can be given to both")
    folder = workspace.corpus(sides[0].front_end.heard(study.corpus or ""))
    if not (folder / "index.json").is_file():
        raise UsageFault("the prepared data of this study are gone; `search launch` makes them")
    corpus, artifacts = Corpus(folder), ArtifactStore(workspace.artifacts)
    with tempfile.TemporaryDirectory() as work:
        models = []
        for side, into in zip(sides, (Path(work) / "a", Path(work) / "b"), strict=True):
            model, tokens = model_of(space, name, side.results)
            main = fetch_model(model, artifacts, into)
            written = artifacts.fetch(tokens, into / "tokens.txt")
            models.append(TimedModel(model.backend, main, written, side.front_end))
        request = request_for(space.targets[name], corpus, models)
        request = replace(request, restarts=_RESTARTS, details=False)
        a, b = measure_on(space.targets[name], request, workspace.locks)
    pairs = zip(a.samples, b.samples, strict=True)
    ratios = [theirs.anchor_ratio / ours.anchor_ratio for ours, theirs in pairs]
    values = tuple(
        float(np.median([s.anchor_ratio * s.anchor_ms for s in side.samples])) for side in (a, b)
    )
    return paired_difference(name, ratios, (values[0], values[1]))
