"""Teachers of Hugging Face transformers: a CTC model, or one with a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from workers.data.features import SAMPLE_RATE_HZ
from workers.data.text import BLANK, folded
from workers.errors import MissingExtra, TeacherFault
from workers.teachers.base import Transcript
from workers.teachers.waveform import WaveformTeacher

CPU = torch.device("cpu")
_T = TypeVar("_T")
_WINDOW_S = 30.0  # Whisper hears so much at once; longer audio it goes through with timestamps


class DecoderTeacher:
    """Whisper, Moonshine, Speech2Text …: the transcripts of transformers' pipeline."""

    def __init__(self, pipeline: Any, language: str | None) -> None:
        self._pipeline = pipeline
        self.n_parameters: int | None = sum(p.numel() for p in pipeline.model.parameters())
        is_whisper = pipeline.model.config.model_type == "whisper"
        self._is_windowed = is_whisper
        is_multilingual = getattr(pipeline.model.generation_config, "is_multilingual", False)
        asks = {"language": language, "task": "transcribe"} if language and is_multilingual else {}
        self._generate = {**asks, "do_sample": False, "num_beams": 1}

    def transcribe(self, utterances: Iterable[np.ndarray]) -> Iterator[Transcript]:
        for samples in utterances:
            try:
                yield Transcript(self._text(samples))
            except MemoryError:
                raise
            except Exception as error:  # of utterances too short or long for it, of many types
                reason = next(iter(str(error).strip().splitlines()), "")
                yield Transcript("", f"{type(error).__name__}: {reason}"[:300])

    def _text(self, samples: np.ndarray) -> str:
        is_long = self._is_windowed and len(samples) > _WINDOW_S * SAMPLE_RATE_HZ
        with torch.inference_mode():
            found = self._pipeline(
                {"raw": samples, "sampling_rate": SAMPLE_RATE_HZ},
                generate_kwargs=self._generate,
                **({"return_timestamps": True} if is_long else {}),
            )
        return str(found["text"]).strip()


def huggingface_teacher(
    name: str, language: str | None = None, device: torch.device = CPU
) -> WaveformTeacher | DecoderTeacher:
    """A model from a local folder, or from the hub where the network allows.

    Only safetensors weights are read: the older format is pickle.

    Raises:
        TeacherFault: when it cannot be loaded, or is no speech-to-text model.
        MissingExtra: naming the extra.
    """

    def ctc(transformers: Any) -> WaveformTeacher | DecoderTeacher:
        return _ctc(transformers, name, device)

    return _loaded(
        name, ctc, lambda transformers: _with_decoder(transformers, name, language, device)
    )


def huggingface_ctc(name: str) -> CtcModel:
    """The network of a CTC model.

    Raises:
        TeacherFault, MissingExtra: as above; also for a model with a decoder.
    """

    def refused(_: Any) -> CtcModel:
        raise TeacherFault(
            f"huggingface: {name}: has a decoder, which is no single graph; a CTC model is one"
        )

    return _loaded(
        name, ctc=lambda transformers: _ctc_model(transformers, name), with_decoder=refused
    )


def _loaded(name: str, ctc: Callable[[Any], _T], with_decoder: Callable[[Any], _T]) -> _T:
    try:
        import transformers
        from transformers.models.auto import modeling_auto
    except ModuleNotFoundError as error:
        raise MissingExtra("a Hugging Face model", "hf") from error
    try:
        kind = type(transformers.AutoConfig.from_pretrained(name))
        if kind in modeling_auto.MODEL_FOR_CTC_MAPPING:
            return ctc(transformers)
        if kind in modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING:
            return with_decoder(transformers)
    except (MemoryError, TeacherFault):
        raise
    except Exception as error:  # of a damaged file: of safetensors, torch and Python, of many types
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise TeacherFault(f"huggingface: {name}: cannot be loaded ({reason})") from error
    raise TeacherFault(
        f"huggingface: {name}: is a {kind.model_type} model, which writes no text of speech; it "
        "has to have a CTC head or a decoder"
    )


def _with_decoder(
    transformers: Any, name: str, language: str | None, device: torch.device
) -> DecoderTeacher:
    auto = transformers.AutoModelForSpeechSeq2Seq
    network = auto.from_pretrained(name, use_safetensors=True).eval()
    return DecoderTeacher(
        transformers.pipeline(
            "automatic-speech-recognition",
            model=network,
            tokenizer=transformers.AutoTokenizer.from_pretrained(name),
            feature_extractor=transformers.AutoFeatureExtractor.from_pretrained(name),
            device=device,
        ),
        language,
    )


@dataclass(frozen=True)
class CtcModel:
    """A CTC model on samples [N, n], and its symbols in their order."""

    network: Any
    symbols: tuple[str, ...]
    normalises: bool  # it was trained on samples of mean 0 and variance 1


def _ctc(transformers: Any, name: str, device: torch.device) -> WaveformTeacher:
    model = _ctc_model(transformers, name)

    def run(samples: torch.Tensor) -> torch.Tensor:
        if model.normalises:
            samples = (samples - samples.mean()) / (samples.var() + 1e-7).sqrt()
        logits: torch.Tensor = model.network(samples).logits
        return logits

    return WaveformTeacher(model.network, model.symbols, run, name, device)


def _ctc_model(transformers: Any, name: str) -> CtcModel:
    network = transformers.AutoModelForCTC.from_pretrained(name, use_safetensors=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(name)
    heard, rate_hz = network.main_input_name, getattr(extractor, "sampling_rate", SAMPLE_RATE_HZ)
    if heard != "input_values" or rate_hz != SAMPLE_RATE_HZ:
        what = f"{rate_hz} Hz" if heard == "input_values" else heard.replace("_", " ")
        raise TeacherFault(
            f"huggingface: {name}: hears {what}; a CTC model here hears samples at "
            f"{SAMPLE_RATE_HZ} Hz"
        )
    vocabulary = tokenizer.get_vocab()
    space = getattr(tokenizer, "word_delimiter_token", "|")
    by_id = {i: s for s, i in vocabulary.items()}
    n_symbols = int(network.config.vocab_size)
    symbols = [folded(by_id.get(i, f"<{i}>"), space) for i in range(n_symbols)]
    blank = network.config.pad_token_id
    symbols = [s if i != blank else BLANK for i, s in enumerate(symbols)]
    return CtcModel(network, tuple(symbols), bool(getattr(extractor, "do_normalize", True)))
