"""What students learn from: the teacher's output over the training set, written once.

A folder, at the students' frame rate and in their tokens:

    frames.f16       float16 [frames, V]   log-probabilities
    hidden.f16       float16 [frames, C]   what the teacher's head reads (if it has one)
    index.json       shapes, where each utterance lies; or, when the teacher's tokens are not the
                     students', the token ids of its transcript of every training utterance
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import jiwer
import numpy as np

from workers.atomic import new_folder, whole_or_removed
from workers.data.text import Unencodable, tokenizer_of
from workers.teachers.base import Transcriber
from workers.teachers.runner import TeacherRunner

_SMALLEST_LOG_PROB = -1e4  # float16 ends at -65504, and minus infinity times zero is no number
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
    columns = None
    if not isinstance(runner.teacher, Transcriber):
        columns = columns_for(runner.corpus.symbols, runner.teacher.symbols)
    with new_folder(folder) as partial:
        if columns is None:
            index = _transcripts(runner, progress)
        else:
            index = _frames(runner, partial, columns, subsampling_factor, hidden, progress)
        (partial / "index.json").write_text(json.dumps(index))


def _frames(
    runner: TeacherRunner,
    folder: Path,
    columns: list[int],
    subsampling_factor: int,
    hidden: bool,
    progress: Progress,
) -> TargetsIndex:
    at: list[list[list[int]]] = []
    position, hidden_size = 0, None
    n_clean = len(runner.speeds)
    with (folder / "frames.f16").open("wb") as frames, (folder / "hidden.f16").open("wb") as layers:
        for i, utterance in enumerate(runner.corpus.train):
            spans: list[list[int]] = []
            for augmentation in range(n_clean):
                output = runner.infer(utterance, augmentation)
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
            progress(i + 1, len(runner.corpus.train))
    return {"kind": "frames", "vocabulary": len(columns), "hidden_size": hidden_size, "at": at}


def _transcripts(runner: TeacherRunner, progress: Progress) -> TargetsIndex:
    tokenizer = tokenizer_of(runner.corpus.folder, runner.corpus.symbols)
    targets, n_pseudo_labels = [], 0
    train = runner.corpus.train
    for i, (utterance, text) in enumerate(zip(train, runner.texts(train), strict=True)):
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


def output_steps(n_frames: int, subsampling_factor: int) -> int:
    """Frames of a student's output, whose strided layers pad to whole steps: ceil(n / factor)."""
    return -(-n_frames // subsampling_factor)


def normalised(log_probs: np.ndarray) -> np.ndarray:
    """Make the chosen columns a distribution again."""
    top = log_probs.max(-1, keepdims=True)
    made = log_probs - top - np.log(np.exp(log_probs - top).sum(-1, keepdims=True))
    return np.maximum(made, _SMALLEST_LOG_PROB)


def at_rate(rows: np.ndarray, n_steps: int) -> np.ndarray:
    """Rows [T, D] interpolated to [n_steps, D]; a teacher may have another frame rate."""
    if len(rows) == n_steps:
        return rows
    position = (np.arange(n_steps) + 0.5) * len(rows) / n_steps - 0.5
    low = np.clip(np.floor(position).astype(int), 0, len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    share = np.clip(position - low, 0, 1)[:, None]
    return (1 - share) * rows[low] + share * rows[high]
