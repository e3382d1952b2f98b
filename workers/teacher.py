"""The teacher: loaded, and listened to once.

Every kind of teacher is a `Teacher`: it hears an utterance and says log-probabilities over
symbols of its own. Listening turns them into what students learn from, at their frame rate and in
their tokens; where the tokens cannot be matched, the teacher's texts are used instead.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jiwer
import numpy as np
import torch

from spaces.space import Teacher as TeacherConfig
from workers.brought import open_onnx, with_blank_first
from workers.checkpoint import load_network
from workers.data.audio import read_audio
from workers.data.batches import Corpus
from workers.data.entries import Entry
from workers.data.prepare import perturbed
from workers.data.text import BLANK, WORD_START, Unencodable, decode, tokenizer_of
from workers.errors import MissingExtra, TeacherFault, UserFault
from workers.students.layers import fold_norms

_SMALLEST_LOG_PROB = -1e4  # float16 ends at -65504, and minus infinity times zero is no number
PSEUDO_LABEL_WER = 0.10  # a teacher's text further than this from the transcript is not taught


class Heard(NamedTuple):
    log_probs: np.ndarray  # float32 [T', V of the teacher]
    hidden: np.ndarray | None  # float32 [T', C]


class Teacher(Protocol):
    """A network that hears speech."""

    wants_samples: bool  # raw audio at 16 kHz instead of log-mels
    n_parameters: int | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbol 0 is the blank; a word starts with ▁ or after the token ▁."""
        ...

    def hear(self, heard: np.ndarray) -> Heard:
        """Listen to features float32 [T, 80], or to samples float32 [n]."""
        ...


class CheckpointTeacher:
    """A network of ours."""

    wants_samples = False

    def __init__(self, path: Path) -> None:
        network, self.symbols, _ = load_network(path)
        self.n_parameters: int | None = sum(p.numel() for p in network.parameters())
        self.network = fold_norms(network)

    def hear(self, heard: np.ndarray) -> Heard:
        with torch.inference_mode():
            x = torch.from_numpy(np.array(heard))[None]
            features = self.network.frontend.normalise(x)  # type: ignore[union-attr,operator]
            output = self.network(features, torch.tensor([len(heard)]))
            log_probs = torch.log_softmax(output.logits[0], -1)
        return Heard(log_probs.numpy(), output.hidden[0].numpy())


class OnnxTeacher:
    """Any ONNX CTC file in the contract of the exports."""

    wants_samples = False
    n_parameters: int | None = None

    def __init__(self, model: Path, tokens: Path) -> None:
        self._session, self.symbols = open_onnx(model, tokens)
        self._order = self.symbols.order

    def hear(self, heard: np.ndarray) -> Heard:
        log_probs = self._session.run(np.ascontiguousarray(heard))
        return Heard(log_probs[:, self._order], None)


class WaveformTeacher:
    """A network on raw audio: a Hugging Face CTC model or a torchaudio pipeline."""

    wants_samples = True

    def __init__(
        self,
        network: torch.nn.Module,
        symbols: tuple[str, ...],
        run: Callable[[torch.Tensor], torch.Tensor],
        where: str,
    ) -> None:
        self.symbols = with_blank_first(symbols, where)
        self._run = run
        self.n_parameters: int | None = sum(p.numel() for p in network.parameters())

    def hear(self, heard: np.ndarray) -> Heard:
        with torch.inference_mode():
            logits = self._run(torch.from_numpy(np.array(heard))[None])
        log_probs = torch.log_softmax(logits[0].float(), -1).numpy()
        return Heard(log_probs[:, self.symbols.order], None)


def huggingface_teacher(name: str) -> WaveformTeacher:
    """A CTC model from a local folder, or from the hub where the network allows.

    Only safetensors weights are read: the older format is pickle.
    """
    try:
        from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer
    except ModuleNotFoundError as error:
        raise MissingExtra("a Hugging Face teacher", "hf") from error
    try:
        network = AutoModelForCTC.from_pretrained(name, use_safetensors=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(name)
        extractor = AutoFeatureExtractor.from_pretrained(name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = (
            str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        )
        raise TeacherFault(f"huggingface: {name}: cannot be loaded ({reason})") from error
    vocabulary = tokenizer.get_vocab()
    space = getattr(tokenizer, "word_delimiter_token", "|")
    by_id = {i: s for s, i in vocabulary.items()}
    n_symbols = int(network.config.vocab_size)
    symbols = [_folded(by_id.get(i, f"<{i}>"), space) for i in range(n_symbols)]
    blank = network.config.pad_token_id
    symbols = [s if i != blank else BLANK for i, s in enumerate(symbols)]
    normalises = bool(getattr(extractor, "do_normalize", True))

    def run(samples: torch.Tensor) -> torch.Tensor:
        if normalises:
            samples = (samples - samples.mean()) / (samples.var() + 1e-7).sqrt()
        logits: torch.Tensor = network(samples).logits
        return logits

    return WaveformTeacher(network, tuple(symbols), run, name)


def torchaudio_teacher(name: str) -> WaveformTeacher:
    """A CTC bundle of torchaudio.pipelines, such as WAV2VEC2_ASR_BASE_960H; weights are fetched
    by torchaudio on first use, which needs the network."""
    import torchaudio

    bundle = getattr(torchaudio.pipelines, name, None)
    if bundle is None or not hasattr(bundle, "get_labels"):
        known = [n for n in dir(torchaudio.pipelines) if "_ASR_" in n]
        raise TeacherFault(f"torchaudio: no CTC pipeline {name} (known: {', '.join(known)})")
    try:
        network = bundle.get_model(dl_kwargs={"weights_only": True}).eval()
    except Exception as error:  # urllib, hashing and unpickling errors of many types
        raise TeacherFault(f"torchaudio: {name}: weights cannot be fetched ({error})") from error
    symbols = tuple(_folded(s, "|") for s in bundle.get_labels())
    return WaveformTeacher(network, symbols, lambda samples: network(samples)[0], name)


def _folded(symbol: str, space: str) -> str:
    if symbol == space:
        return WORD_START
    return symbol if symbol.startswith(("<", "[")) else symbol.lower()


def load_teacher(config: TeacherConfig) -> Teacher:
    """The teacher of these files or that name; one trained here is a checkpoint by now.

    Raises:
        TeacherFault: saying what is wrong with it.
        MissingExtra: naming the extra.
    """
    try:
        if config.checkpoint is not None:
            return CheckpointTeacher(Path(config.checkpoint))
        if config.onnx is not None:
            assert config.tokens is not None
            return OnnxTeacher(Path(config.onnx), Path(config.tokens))
        if config.huggingface is not None:
            return huggingface_teacher(config.huggingface)
        assert config.torchaudio is not None
        return torchaudio_teacher(config.torchaudio)
    except UserFault as error:
        raise TeacherFault(f"teacher: {error}") from error


@dataclass(frozen=True)
class Ear:
    """Lets a teacher hear the utterances of a corpus."""

    teacher: Teacher
    corpus: Corpus
    speeds: tuple[float, ...]  # of the views, the plain one first

    def hear(self, entry: Entry, view: int = 0) -> Heard:
        """Noisy views are heard without their noise: the teacher knows the clean speech."""
        view %= len(self.speeds)
        if not self.teacher.wants_samples:
            return self.teacher.hear(self.corpus.frames(entry, view))
        samples = read_audio(entry.audio, entry.offset_s, entry.duration_s)
        return self.teacher.hear(perturbed(samples, self.speeds[view]))

    def text(self, entry: Entry) -> str:
        log_probs = self.hear(entry).log_probs
        return decode(log_probs.argmax(-1).tolist(), self.teacher.symbols)


def columns_for(students: tuple[str, ...], teachers: tuple[str, ...]) -> list[int] | None:
    """Where each of the students' symbols is among the teacher's; None if one is not there."""
    places = {s: i for i, s in reversed(list(enumerate(teachers)))}
    columns = [places.get(s) for s in students]
    return None if None in columns else [c for c in columns if c is not None]


def listen(
    ear: Ear, cache: Path, key: str, hidden: bool, progress: Callable[[int, int], None]
) -> Path:
    """Let the teacher hear the training set once; returns the folder with what it said."""
    folder = cache / "teachers" / key[:32]
    if folder.exists():
        return folder
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    columns = columns_for(ear.corpus.symbols, ear.teacher.symbols)
    if columns is None:
        index = _texts(ear, progress)
    else:
        index = _frames(ear, partial, columns, hidden, progress)
    (partial / "index.json").write_text(json.dumps(index))
    try:
        partial.rename(folder)
    except OSError:  # another process was first with the same content
        shutil.rmtree(partial)
    return folder


def _frames(
    ear: Ear, folder: Path, columns: list[int], hidden: bool, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    at: list[list[list[int]]] = []
    position, hidden_size = 0, None
    n_clean = len(ear.speeds)
    with (folder / "frames.f16").open("wb") as frames, (folder / "hidden.f16").open("wb") as layers:
        for i, entry in enumerate(ear.corpus.train):
            spans: list[list[int]] = []
            for view in range(n_clean):
                heard = ear.hear(entry, view)
                n_steps = output_steps(entry.at[view][1])
                log_probs = at_rate(normalised(heard.log_probs[:, columns]), n_steps)
                frames.write(log_probs.astype(np.float16).tobytes())
                if hidden and heard.hidden is not None:
                    hidden_size = heard.hidden.shape[1]
                    layers.write(at_rate(heard.hidden, n_steps).astype(np.float16).tobytes())
                spans.append([position, n_steps])
                position += n_steps
            # the noisy copies of an utterance share what was heard of its clean ones
            at.append([spans[v % n_clean] for v in range(len(entry.at))])
            progress(i + 1, len(ear.corpus.train))
    return {
        "kind": "frames",
        "vocabulary": len(columns),
        "hidden_size": hidden_size,
        "at": at,
    }


def _texts(ear: Ear, progress: Callable[[int, int], None]) -> dict[str, Any]:
    tokenizer = tokenizer_of(ear.corpus.folder, ear.corpus.symbols)
    targets, n_taught = [], 0
    for i, entry in enumerate(ear.corpus.train):
        text = ear.corpus.normalise(ear.text(entry))
        ids = list(entry.ids)
        if text and jiwer.wer(entry.text, text) <= PSEUDO_LABEL_WER:
            try:
                ids = tokenizer.encode(text)
                n_taught += 1
            except Unencodable:
                pass  # the transcript itself stands in, as for texts too far from it
        targets.append(ids)
        progress(i + 1, len(ear.corpus.train))
    return {"kind": "transcripts", "targets": targets, "n_taught": n_taught}


def output_steps(n_frames: int) -> int:
    """Frames of a student's output: two stride-2 convolutions."""
    return ((n_frames + 1) // 2 + 1) // 2


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
