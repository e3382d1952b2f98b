"""Teachers on raw audio: a Hugging Face CTC model or a torchaudio pipeline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from workers.data.text import BLANK, WORD_START, with_blank_first
from workers.errors import MissingExtra, TeacherFault
from workers.teachers.base import TeacherOutput


class WaveformTeacher:
    """A network on raw audio."""

    wants_samples = True

    def __init__(
        self,
        network: torch.nn.Module,
        symbols: tuple[str, ...],
        run: Callable[[torch.Tensor], torch.Tensor],
        where: str,
    ) -> None:
        found = with_blank_first(symbols, where)
        self.symbols, self._order = found.symbols, list(found.order)
        self._run = run
        self.n_parameters: int | None = sum(p.numel() for p in network.parameters())

    def infer(self, features: np.ndarray) -> TeacherOutput:
        with torch.inference_mode():
            logits = self._run(torch.from_numpy(np.array(features))[None])
        log_probs = torch.log_softmax(logits[0].float(), -1).numpy()
        return TeacherOutput(log_probs[:, self._order], None)


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
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file: of safetensors, torch and Python, of many types
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
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
