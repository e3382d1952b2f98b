"""What several teachers say together.

Where all give log-probabilities in the students' tokens, their probabilities are averaged frame by
frame. Else their transcripts are combined: of three and more by vote, of two the one is taken that
makes fewer errors on dev.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np

from workers.atomic import new_folder, whole_or_removed
from workers.data.corpus import Corpus
from workers.data.text import decode
from workers.teachers.log_probs import LogProbs, writing
from workers.teachers.rover import rover
from workers.teachers.runner import TeacherRunner
from workers.teachers.targets import (
    SMALLEST_LOG_PROB,
    TargetsIndex,
    pseudo_labels,
    speaks_frames,
    targets_index,
    transcripts,
)

_LEAST_TO_VOTE = 3
_TEXTS = "texts.json"


@dataclass(frozen=True)
class Asked:
    """One teacher, with the folder of what it says, what writes that, and a folder for its
    transcripts alone."""

    runner: TeacherRunner
    folder: Path
    infer: Callable[[], None]
    texts_folder: Path


def combine(
    asked: Sequence[Asked],
    corpus: Corpus,
    folder: Path,
    subsampling_factor: int,
    progress: Callable[[str, int, int], None],
) -> str:
    """Write what teachers say together, if that is not done yet.

    Args:
        asked: the first is the teacher of the study.

    Returns:
        How they were combined, in words.
    """
    if all(speaks_frames(one.runner) for one in asked):
        for one in asked:
            one.infer()
        if not whole_or_removed(folder):
            indexes = [targets_index(one.folder) for one in asked]
            with new_folder(folder) as partial:
                index = _averaged(asked, indexes, corpus, partial, subsampling_factor, progress)
                (partial / "index.json").write_text(json.dumps(index))
        return f"soft targets of {len(asked)} teachers are averaged"
    texts = [_texts(one, corpus, progress) for one in asked]
    order = _best_first(texts, corpus)
    n_dev = len(corpus.dev)
    if len(asked) < _LEAST_TO_VOTE:
        together = texts[order[0]][n_dev:]
        how = f"transcripts are of teacher {order[0] + 1}, who makes fewer errors on dev"
    else:
        ranked = [texts[i][n_dev:] for i in order]
        together = [rover(each) for each in zip(*ranked, strict=True)]
        how = f"transcripts of {len(asked)} teachers are voted on"
    if not whole_or_removed(folder):
        with new_folder(folder) as partial:
            index = _spoken(together, corpus, subsampling_factor, progress)
            (partial / "index.json").write_text(json.dumps(index))
    return how


def _averaged(
    asked: Sequence[Asked],
    indexes: Sequence[TargetsIndex],
    corpus: Corpus,
    folder: Path,
    subsampling_factor: int,
    progress: Callable[[str, int, int], None],
) -> TargetsIndex:
    """Log of the mean of probabilities, float16 [frames, V] as each has them; hidden layers are
    the first teacher's."""
    size, top_k = indexes[0]["vocabulary"], indexes[0].get("top_k")
    tables = [
        LogProbs(one.folder, size, index.get("top_k"))
        for one, index in zip(asked, indexes, strict=True)
    ]
    texts: list[str] = []
    with writing(folder, size, top_k) as frames:
        for i, spans in enumerate(indexes[0]["at"]):
            for start, count in dict.fromkeys(tuple(span) for span in spans):
                rows = np.stack([table.rows(start, count) for table in tables])
                mean = np.logaddexp.reduce(rows, axis=0) - np.log(len(rows))
                mean = np.maximum(mean, SMALLEST_LOG_PROB)
                frames.write(mean)
                if i >= len(corpus.train) and [start, count] == list(spans[0]):
                    ids = mean.argmax(-1).tolist()
                    texts.append(corpus.normalise(decode(ids, corpus.symbols)))
            progress("averaging", i + 1, len(indexes[0]["at"]))
    shutil.copyfile(asked[0].folder / "hidden.f16", folder / "hidden.f16")
    index = indexes[0].copy()
    if corpus.unlabelled:
        index |= pseudo_labels(corpus, texts, subsampling_factor, _quiet)
    return index


def _spoken(
    texts: Sequence[str],
    corpus: Corpus,
    subsampling_factor: int,
    progress: Callable[[str, int, int], None],
) -> TargetsIndex:
    n_train = len(corpus.train)
    index = transcripts(corpus, texts[:n_train], lambda i, n: progress("transcripts", i, n))
    if corpus.unlabelled:
        index |= pseudo_labels(corpus, texts[n_train:], subsampling_factor, _quiet)
    return index


def _texts(one: Asked, corpus: Corpus, progress: Callable[[str, int, int], None]) -> list[str]:
    """Its transcripts of dev, then of all that is learnt from; written down once."""
    utterances = [*corpus.dev, *corpus.spoken]
    if not whole_or_removed(one.texts_folder):
        with new_folder(one.texts_folder) as partial:
            texts = []
            for text in one.runner.texts(utterances):
                texts.append(text)
                progress("transcripts of a teacher", len(texts), len(utterances))
            (partial / _TEXTS).write_text(json.dumps(texts))
    found: list[str] = json.loads((one.texts_folder / _TEXTS).read_text())
    return found


def _best_first(texts: Sequence[Sequence[str]], corpus: Corpus) -> list[int]:
    """Numbers of the teachers by their errors on dev."""
    references = [u.text for u in corpus.dev]
    errors = [jiwer.wer(references, list(each[: len(references)])) for each in texts]
    return sorted(range(len(texts)), key=lambda i: errors[i])


def _quiet(_done: int, _of: int) -> None:
    pass
