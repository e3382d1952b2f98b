"""What students learn from: the teacher's output over the training set, written once.

A folder, at the students' frame rate and in their tokens:

    frames.f16       float16 [frames, V]   log-probabilities; of a large vocabulary and much audio
                     the likeliest only (`log_probs.py`)
    hidden.f16       float16 [frames, C]   what the teacher's head reads (if it has one), after
                     what it has at half its depth where that is wanted as well
    index.json       shapes, where each utterance lies; or, when the teacher's tokens are not the
                     students', the token ids of its transcript of every training utterance;
                     token ids of its transcripts of unlabelled audio that are learnt from
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, NotRequired, TypedDict

import jiwer
import numpy as np
from filelock import FileLock

from workers.atomic import new_folder, whole_or_removed
from workers.data.corpus import Corpus
from workers.data.text import Unencodable, tokenizer_of
from workers.data.utterances import Utterance
from workers.teachers.base import TeacherOutput, Transcriber
from workers.teachers.draft import Draft
from workers.teachers.log_probs import rows_there, size_of, writing
from workers.teachers.pseudo_labels import Bounds, counted, why_not
from workers.teachers.rate import at_rate, output_steps
from workers.teachers.runner import TeacherRunner

SMALLEST_LOG_PROB = -1e4  # float16 ends at -65504, and minus infinity times zero is no number
_MOST_WHOLE_BYTES = 20e9  # of log-probabilities; beyond, the likeliest of each frame are kept
_USUAL_TOP_K = 16
_HIDDEN = "hidden.f16"
PSEUDO_LABEL_WER = 0.10  # a teacher's transcript further than this from the reference is not used

Progress = Callable[[int, int], None]


class TargetsIndex(TypedDict):
    """`index.json`: either `vocabulary` and `at` ([first frame, frames] of each augmentation), or
    `targets`."""

    kind: Literal["frames", "transcripts"]
    vocabulary: NotRequired[int]
    top_k: NotRequired[int | None]
    hidden_size: NotRequired[int | None]
    halfway_size: NotRequired[int]  # of these, how many come from half the depth
    at: NotRequired[list[list[list[int]]]]
    targets: NotRequired[list[list[int]]]
    n_pseudo_labels: NotRequired[int]
    pseudo_labels: NotRequired[dict[str, list[int]]]  # of unlabelled audio, by number
    left_out: NotRequired[dict[str, int]]  # of it: how many, by why


class Layers(NamedTuple):
    """Which hidden layers of a teacher are wanted: the last, and the one at half its depth."""

    last: bool = False
    halfway: bool = False

    def of(self, output: TeacherOutput) -> list[np.ndarray]:
        """Those that there are, the last one last."""
        if not self.last or output.hidden is None:
            return []
        first = [output.halfway] if self.halfway and output.halfway is not None else []
        return [*first, output.hidden]


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
    runner: TeacherRunner,
    folder: Path,
    subsampling_factor: int,
    hidden: Layers,
    progress: Progress,
    top_k: int | None = None,
) -> None:
    """Let the teacher infer the training set, if that is not done yet, from where it was cut off.

    Args:
        subsampling_factor: of the students.
        hidden: which hidden layers are wanted as well.
        top_k: how many log-probabilities of each frame are kept; None for all, if that is not too
            much.
    """
    if whole_or_removed(folder):
        return
    columns, corpus = None, runner.corpus
    if not isinstance(runner.teacher, Transcriber):
        columns = columns_for(corpus.symbols, runner.teacher.symbols)
    draft_folder = folder.with_name(f".{folder.name}.draft")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Another study with this teacher among several works in the same place.
    with FileLock(folder.with_name(f".{folder.name}.lock")), new_folder(folder) as partial:
        if whole_or_removed(folder):
            return
        if columns is None:
            index = transcripts(corpus, _drafted(runner, corpus.train, draft_folder), progress)
            texts = runner.texts(corpus.unlabelled)
        else:
            size = len(columns)
            n_rows = int(corpus.n_frames[:, : len(runner.speeds)].sum()) // subsampling_factor
            if top_k is None and n_rows * size * 2 > _MOST_WHOLE_BYTES:
                top_k = _USUAL_TOP_K
            if top_k is not None and top_k >= size:
                top_k = None
            pass_ = _Pass(runner, columns, subsampling_factor, hidden, top_k)
            index, written = pass_.run(draft_folder, progress)
            texts = iter(written)
        if corpus.unlabelled:
            index |= pseudo_labels(corpus, texts, subsampling_factor, progress)
        (partial / "index.json").write_text(json.dumps(index))
        for path in draft_folder.glob("*.?16"):
            _link(path, partial / path.name)
    shutil.rmtree(draft_folder, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """The draft keeps what it has until the folder is there."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _drafted(runner: TeacherRunner, utterances: Sequence[Utterance], folder: Path) -> Iterator[str]:
    """The teacher's transcripts, those of an earlier attempt first."""
    draft = Draft(folder, ["texts", len(utterances)])
    done = list(draft.notes)
    yield from done
    for text in runner.texts(utterances[len(done) :]):
        draft.add(text, _nothing)
        yield text
    draft.keep(_nothing)


def _nothing() -> None:
    """No files beside the notes."""


@dataclass(frozen=True)
class _Pass:
    """What is written of the frames of a training set."""

    runner: TeacherRunner
    columns: list[int]
    subsampling_factor: int
    hidden: Layers
    top_k: int | None

    def run(self, folder: Path, progress: Progress) -> tuple[TargetsIndex, list[str]]:
        """The index, and the texts of what is unlabelled; the files are in the folder."""
        corpus, size = self.runner.corpus, len(self.columns)
        n_clean, n_train = len(self.runner.speeds), len(corpus.train)
        draft = Draft(folder, ["frames", size, self.top_k, self.hidden, n_clean])
        hidden_size = draft.notes[0]["hidden_size"] if draft.notes else None
        halfway_size = draft.notes[0].get("halfway_size", 0) if draft.notes else 0
        n_there = rows_there(folder, size, self.top_k)
        if hidden_size:
            n_there = min(n_there, size_of(folder / _HIDDEN) // (2 * hidden_size))
        draft.keep_first(lambda note: sum(note["spans"][-1]) <= n_there)
        position = sum(draft.notes[-1]["spans"][-1]) if draft.notes else 0
        with (
            writing(folder, size, self.top_k, position) as frames,
            (folder / _HIDDEN).open("ab") as layers,
        ):
            layers.truncate(position * (hidden_size or 0) * 2)

            def flush() -> None:
                frames.flush()
                layers.flush()

            for i in range(len(draft.notes), len(corpus.spoken)):
                utterance = corpus.spoken[i]
                spans: list[list[int]] = []
                text = None
                for augmentation in range(n_clean):
                    output = self.runner.infer(utterance, augmentation)
                    if i >= n_train and augmentation == 0:
                        text = self.runner.text_of(output)
                    n_frames = utterance.at[augmentation][1]
                    n_steps = output_steps(n_frames, self.subsampling_factor)
                    frames.write(at_rate(normalised(output.log_probs[:, self.columns]), n_steps))
                    if wanted := self.hidden.of(output):
                        hidden_size = sum(layer.shape[1] for layer in wanted)
                        halfway_size = hidden_size - wanted[-1].shape[1]
                        rows = at_rate(np.concatenate(wanted, 1), n_steps)
                        layers.write(rows.astype(np.float16).tobytes())
                    spans.append([position, n_steps])
                    position += n_steps
                sizes = {"hidden_size": hidden_size, "halfway_size": halfway_size}
                draft.add({"spans": spans, "text": text, **sizes}, flush)
                progress(i + 1, len(corpus.spoken))
            draft.keep(flush)
        n_copies = corpus.n_augmentations
        # the noisy copies of an utterance share the targets of its clean ones
        at = [[note["spans"][a % n_clean] for a in range(n_copies)] for note in draft.notes]
        index: TargetsIndex = {
            "kind": "frames",
            "vocabulary": size,
            "top_k": self.top_k,
            "hidden_size": hidden_size,
            "halfway_size": halfway_size,
            "at": at,
        }
        return index, [note["text"] for note in draft.notes[n_train:]]


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
