"""Beam search with an n-gram model: what the model says, and how it is used."""

from __future__ import annotations

import math
from pathlib import Path

import kenlm
import numpy as np
import pytest

from workers.data.ngram import name_of, write_arpa
from workers.decoding import NGRAM, SETTINGS, BeamSearch, decoder_beside, greedy
from workers.errors import BundleFault

N_TOKENS = 8
SAID = [[1, 2, 3, 1, 4], [1, 2, 3], [5, 6, 1, 2, 3], [1, 2, 3, 1, 4], []]


def ngram(folder: Path, order: int = 4, said: list[list[int]] = SAID) -> kenlm.Model:
    write_arpa(said, N_TOKENS, order, folder / NGRAM)
    return kenlm.Model(str(folder / NGRAM))


def probability(model: kenlm.Model, context: list[int], word: str) -> float:
    state, after = kenlm.State(), kenlm.State()
    model.BeginSentenceWrite(state)
    for token in context:
        model.BaseScore(state, name_of(token), after)
        state, after = after, kenlm.State()
    return 10 ** model.BaseScore(state, word, after)


# the model


@pytest.mark.parametrize("order", [2, 3, 6])
@pytest.mark.parametrize("context", [[], [1], [1, 2], [7], [4, 4], [5, 6, 1]])
def test_what_may_follow_adds_up_to_one(order: int, context: list[int], tmp_path: Path) -> None:
    model = ngram(tmp_path, order)
    assert model.order == order
    every = [*map(name_of, range(1, N_TOKENS)), "</s>", "<unk>"]
    assert sum(probability(model, context, w) for w in every) == pytest.approx(1.0, abs=1e-4)


def test_what_was_said_is_likelier_than_what_was_not(tmp_path: Path) -> None:
    model = ngram(tmp_path)
    assert probability(model, [1, 2], "t3") > 0.5
    assert probability(model, [1, 2], "t7") < 0.05
    assert probability(model, [], "t1") > probability(model, [], "t3")


def test_what_was_never_said_has_a_little(tmp_path: Path) -> None:
    model = ngram(tmp_path, said=[[1]])
    assert 0 < probability(model, [], "t7") < probability(model, [], "t1")
    assert math.isfinite(math.log(probability(model, [7, 7, 7], "t7")))


# the search


def frames(best: list[int], doubt: dict[int, int]) -> np.ndarray:
    """Log-probabilities of frames that say `best`, some nearly as well another symbol."""
    scores = np.full((len(best), N_TOKENS), -9.0, np.float32)
    for t, symbol in enumerate(best):
        scores[t, symbol] = -0.1
    for t, symbol in doubt.items():
        scores[t, symbol] = -0.2
    return scores


def beside(folder: Path, weight: float) -> Path:
    ngram(folder)
    (folder / SETTINGS).write_text(BeamSearch(16, weight).written())
    return folder / "model.onnx"


HEARD = [0, 1, 1, 0, 2, 0, 3, 3, 0, 1, 0, 5, 0]


def test_without_settings_it_is_greedy(tmp_path: Path) -> None:
    decode = decoder_beside(tmp_path / "model.onnx")
    assert decode is greedy
    assert decode(frames(HEARD, {11: 4})) == HEARD


def test_in_doubt_the_likelier_text_is_taken(tmp_path: Path) -> None:
    found = decoder_beside(beside(tmp_path, 1.0))(frames(HEARD, {11: 4}))
    assert found == [*HEARD[:11], 4, 0], "a symbol a frame, as greedily"


def test_without_doubt_what_was_heard_is_taken(tmp_path: Path) -> None:
    decode = decoder_beside(beside(tmp_path, 1.0))
    assert decode(frames(HEARD, {})) == HEARD
    assert decode(frames([0, 4, 0, 4, 0], {})) == [0, 4, 0, 4, 0], "twice the same, apart"


def test_with_no_weight_it_agrees_with_greedy(tmp_path: Path) -> None:
    assert decoder_beside(beside(tmp_path, 0.0))(frames(HEARD, {11: 4})) == HEARD


def test_nothing_is_nothing(tmp_path: Path) -> None:
    decode = decoder_beside(beside(tmp_path, 1.0))
    assert decode(np.zeros((0, N_TOKENS), np.float32)) == []


@pytest.mark.parametrize("text", ["", "[]", '{"beam": 4}', '{"beam": 4, "lm_weight": 1, "x": 2}'])
def test_settings_that_are_none_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(BundleFault, match="is not how to decode"):
        decoder_beside(tmp_path / "model.onnx")
