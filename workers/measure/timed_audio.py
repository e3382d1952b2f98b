"""The utterances that are timed, and what to ask of a target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spaces.backends import backend_info
from spaces.front_end import USUAL, FrontEnd
from spaces.space import Target
from workers.atomic import new_folder, whole_or_removed
from workers.data.corpus import Corpus, spread
from workers.data.utterances import Utterance
from workers.probe.request import Candidate, LatencyRequest

N_TIMED = 12


def timed_utterances(corpus: Corpus) -> list[Utterance]:
    """The dev utterances that are timed, short to long."""
    return spread(sorted(corpus.dev, key=lambda u: u.seconds), N_TIMED)


def timed_audio(corpus: Corpus) -> tuple[Path, ...]:
    """Their samples, as .npy for the process that times."""
    folder = corpus.folder / "timed"
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            for i, u in enumerate(timed_utterances(corpus)):
                np.save(partial / f"{i:02d}.npy", corpus.samples(u))
    return tuple(sorted(folder.glob("*.npy")))


class TimedModel(NamedTuple):
    """A prepared model: its backend, main file and tokens, and what it hears."""

    backend: str
    model: Path
    tokens: Path
    front_end: FrontEnd = USUAL


def request_for(
    target: Target, corpus: Corpus, models: Sequence[TimedModel], is_quick: bool = False
) -> LatencyRequest:
    """What to ask of a target, for models timed in turn.

    A quick one, for screening, is a single process without details.
    """
    return LatencyRequest(
        candidates=tuple(
            Candidate(
                backend=m.backend,
                model=str(m.model),
                tokens=str(m.tokens),
                settings=target.settings(),
                front_end=m.front_end.code,
                filter_bank=target.filter_bank,
            )
            for m in models
        ),
        audio=tuple(map(str, timed_audio(corpus))),
        audio_s=tuple(u.seconds for u in timed_utterances(corpus)),
        threads=target.threads,
        min_runs=min(target.runs, 24) if is_quick else target.runs,
        max_s=min(target.max_s, 2.0) if is_quick else target.max_s,
        within=0.05 if is_quick else target.within,
        restarts=1 if is_quick else target.restarts,
        tries=target.tries,
        details=not is_quick,
        gpu=backend_info(target.backend).gpu,
    )
