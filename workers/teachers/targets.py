"""What students learn from: the teacher's output over the training set, written once.

A folder, at the students' frame rate and in their tokens:

    frames.f16       float16 [frames, V]   log-probabilities
    hidden.f16       float16 [frames, C]   what the teacher's head reads (if it has one)
    index.json       shapes, where each utterance lies; or, when the teacher's tokens are not the
                     students', the token ids of its transcript of every training utterance;
                     token ids of its transcripts of unlabelled audio that are learnt from
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import jiwer
import numpy as np

from workers.atomic import new_folder, whole_or_removed
from workers.data.corpus import Corpus
from workers.data.text import Unencodable, tokenizer_of
from workers.teachers.base import Transcriber
from workers.teachers.pseudo_labels import Bounds, counted, why_not
from workers.teachers.rate import at_rate, output_steps
from workers.teachers.runner import TeacherRunner

SMALLEST_LOG_PROB = -1e4  # float16 ends at -65504, and minus infinity times zero is no number
PSEUDO_LABEL_WER = 0.10  # a teacher's transcript further than this from the reference is not used

Progress = Callable[[int, int], None]


class TargetsIndex(TypedDict):
    """`index.json`: either `vocabulary` and `at` ([first frame, frames] of each augmentation), or
    `targets`."""

    kind: Literal["frames", "transcripts"]
    vocabulary: NotRequired[int]
    hidden_size: NotRequired[int | None]
    at: NotRequired[list[list[list[int]]]]
    targets: NotRequired[list[list[int]]]
    n_pseudo_labels: NotRequired[int]
    pseudo_labels: NotRequired[dict[str, list[int]]]  # of unlabelled audio, by number
    left_out: NotRequired[dict[str, int]]  # of it: how many, by why


def targets_index(folder: Path) -> TargetsIndex:
    index: TargetsIndex = json.loads((folder / "index.json").read_text())
    if "n_taught" in index:  # the first version's word
        index["n_pseudo_labels"] = index["n_taught"]  # type: ignore[typeddict-item]
    return index


def columns_for(students: tuple[str, ...], teachers: tuple[str, ...]) -> list[int] | None:
    """Where each of the students' symbols is among the teacher's; None if one is not there."""
    places = {s: i for i, s in reversed(list(enumerate(teachers)))}
    columns = [places.get(s) for s in students]
    return None if None in columns else [c for c in columns if c is not None]


def speaks_frames(runner: TeacherRunner) -> bool:
    """Whether a teacher gives log-probabilities of the students' tokens; else only transcripts."""
    if isinstance(runner.teacher, Transcriber):
        return False
    return columns_for(runner.corpus.symbols, runner.teacher.symbols) is not None


def infer_targets(
    runner: TeacherRunner, folder: Path, subsampling_factor: int, hidden: bool, progress: Progress
) -> None:
    """Let the teacher infer the training set, if that is not done yet.

    Args:
        subsampling_factor: of the students.
        hidden: whether its hidden layer is wanted as well.
    """
    if whole_or_removed(folder):
        return
    columns, corpus = None, runner.corpus
    if not isinstance(runner.teacher, Transcriber):
        columns = columns_for(corpus.symbols, runner.teacher.symbols)
    with new_folder(folder) as partial:
        if columns is None:
            index = transcripts(corpus, runner.texts(corpus.train), progress)
            texts = runner.texts(corpus.unlabelled)
        else:
            index, written = _frames(runner, partial, columns, subsampling_factor, hidden, progress)
            texts = iter(written)
        if corpus.unlabelled:
            index |= pseudo_labels(corpus, texts, subsampling_factor, progress)
        (partial / "index.json").write_text(json.dumps(index))


def _frames(
    runner: TeacherRunner,
    folder: Path,
    columns: list[int],
    subsampling_factor: int,
    hidden: bool,
    progress: Progress,
) -> tuple[TargetsIndex, list[str]]:
    """What is written of the frames, and the texts of what is unlabelled."""
    corpus = runner.corpus
    texts: list[str] = []
    at: list[list[list[int]]] = []
    position, hidden_size = 0, None
    n_clean = len(runner.speeds)
    with (folder / "frames.f16").open("wb") as frames, (folder / "hidden.f16").open("wb") as layers:
        for i, utterance in enumerate(corpus.spoken):
            spans: list[list[int]] = []
            for augmentation in range(n_clean):
                output = runner.infer(utterance, augmentation)
                if i >= len(corpus.train) and augmentation == 0:
                    texts.append(runner.text_of(output))
                n_steps = output_steps(utterance.at[augmentation][1], subsampling_factor)
                log_probs = at_rate(normalised(output.log_probs[:, columns]), n_steps)
                frames.write(log_probs.astype(np.float16).tobytes())
                if hidden and output.hidden is not None:
                    hidden_size = output.hidden.shape[1]
                    layers.write(at_rate(output.hidden, n_steps).astype(np.float16).tobytes())
                spans.append([position, n_steps])
                position += n_steps
            # the noisy copies of an utterance share the targets of its clean ones
            at.append([spans[a % n_clean] for a in range(len(utterance.at))])
            progress(i + 1, len(corpus.spoken))
    size = len(columns)
    return {"kind": "frames", "vocabulary": size, "hidden_size": hidden_size, "at": at}, texts


def pseudo_labels(
    corpus: Corpus, texts: Iterable[str], subsampling_factor: int, progress: Progress
) -> TargetsIndex:
    """Of unlabelled audio: the transcripts that are learnt from, and why others are not."""
    tokenizer = tokenizer_of(corpus.folder, corpus.symbols)
    bounds = Bounds.of(corpus.train)
    used: dict[str, list[int]] = {}
    reasons: list[str] = []
    for i, (utterance, text) in enumerate(zip(corpus.unlabelled, texts, strict=True)):
        reason = why_not(text, utterance, bounds, tokenizer, subsampling_factor)
        if reason is None:
            used[str(len(corpus.train) + i)] = tokenizer.encode(text)
        else:
            reasons.append(reason)
        progress(len(corpus.train) + i + 1, len(corpus.spoken))
    return {"pseudo_labels": used, "left_out": counted(reasons)}  # type: ignore[typeddict-item]


def transcripts(corpus: Corpus, texts: Iterable[str], progress: Progress) -> TargetsIndex:
    """Of training audio: token ids of the transcripts that are near their references, and of the
    references where they are not."""
    tokenizer = tokenizer_of(corpus.folder, corpus.symbols)
    targets, n_pseudo_labels = [], 0
    train = corpus.train
    for i, (utterance, text) in enumerate(zip(train, texts, strict=True)):
        ids = list(utterance.ids)
        if text and jiwer.wer(utterance.text, text) <= PSEUDO_LABEL_WER:
            try:
                ids = tokenizer.encode(text)
                n_pseudo_labels += 1
            except Unencodable:
                pass  # the reference itself stands in, as for transcripts too far from it
        targets.append(ids)
        progress(i + 1, len(train))
    return {"kind": "transcripts", "targets": targets, "n_pseudo_labels": n_pseudo_labels}


def normalised(log_probs: np.ndarray) -> np.ndarray:
    """Make the chosen columns a distribution again."""
    top = log_probs.max(-1, keepdims=True)
    made = log_probs - top - np.log(np.exp(log_probs - top).sum(-1, keepdims=True))
    return np.maximum(made, SMALLEST_LOG_PROB)
