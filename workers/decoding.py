"""From log-probabilities to symbols: greedily, or by beam search with an n-gram model that lies
beside the model. Known on a device: no torch; beam search where flashlight-text is installed.

A frame's symbol is what the best path has there, so that words and their times are read from it in
one way, however it was found.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.data.ngram import name_of
from workers.data.text import BLANK_ID
from workers.errors import BundleFault, MissingExtra

SETTINGS, NGRAM = "decoding.json", "ngram.arpa"  # beside a model
_THRESHOLD = 25.0  # of scores below the best that are given up

Decoder = Callable[[np.ndarray], list[int]]


@dataclass(frozen=True)
class BeamSearch:
    """How many hypotheses are kept, and what the n-gram model counts beside what was heard."""

    beam: int
    lm_weight: float

    def written(self) -> str:
        return json.dumps(asdict(self), sort_keys=True) + "\n"


def greedy(log_probs: np.ndarray) -> list[int]:
    """The likeliest symbol of each frame of float32 [T', V]."""
    ids: list[int] = log_probs.argmax(-1).tolist()
    return ids


def decoder_beside(model: Path) -> Decoder:
    """What decodes the output of a model: beam search where its settings lie beside it.

    Raises:
        MissingExtra: when that cannot be done here.
        BundleFault: for settings that are none.
    """
    path = model.parent / SETTINGS
    if not path.is_file():
        return greedy
    try:
        search = BeamSearch(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BundleFault(f"{path}: is not how to decode ({error})") from error
    return _Beam(search, model.parent / NGRAM)


class _Beam:
    """Made for the number of symbols when it first hears."""

    def __init__(self, search: BeamSearch, ngram: Path) -> None:
        try:
            import kenlm  # noqa: F401
            from flashlight.lib.text import decoder
        except ModuleNotFoundError as error:
            raise MissingExtra("beam search", "beam") from error
        self._library: Any = decoder
        self._search, self._ngram = search, ngram
        self._made: Any = None
        self._n_symbols = 0

    def __call__(self, log_probs: np.ndarray) -> list[int]:
        n_frames, n_symbols = log_probs.shape
        if n_frames == 0:
            return []
        if self._made is None or self._n_symbols != n_symbols:
            self._made, self._n_symbols = self._decoder(n_symbols), n_symbols
        emissions = np.ascontiguousarray(log_probs, np.float32)
        best = self._made.decode(emissions.ctypes.data, n_frames, n_symbols)[0]
        return [int(token) for token in best.tokens[1 : n_frames + 1]]

    def _decoder(self, n_symbols: int) -> Any:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        names = Dictionary([name_of(i) for i in range(n_symbols)])
        options = self._library.LexiconFreeDecoderOptions(
            beam_size=self._search.beam,
            beam_size_token=n_symbols,
            beam_threshold=_THRESHOLD,
            lm_weight=self._search.lm_weight,
            sil_score=0.0,
            log_add=True,
            criterion_type=self._library.CriterionType.CTC,
        )
        self._lm = KenLM(str(self._ngram), names)  # the decoder keeps no reference of its own
        return self._library.LexiconFreeDecoder(options, self._lm, BLANK_ID, BLANK_ID, [])
