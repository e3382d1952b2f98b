"""Real features, from which quantizers take ranges."""

from __future__ import annotations

import numpy as np

from workers.data.corpus import Corpus, spread

_N_UTTERANCES = 32


def calibration_features(corpus: Corpus) -> list[np.ndarray]:
    """float32 [T, 80] each, of training audio."""
    return [np.array(corpus.frames(u)) for u in spread(corpus.train, _N_UTTERANCES)]
