"""What lies in a folder of an offline model of sherpa-onnx, and its recogniser.

Imported in a child process only. Kinds are told apart by the names of the files and by the
`model_type` that sherpa-onnx's own export scripts write into a model
(https://k2-fsa.github.io/sherpa/onnx/pretrained_models/).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from workers.errors import MissingExtra, UserFault
from workers.isolated_call import Request

_SAMPLE_RATE_HZ = 16_000
# model_type of a single file, by how it begins: the constructor and what it calls the file
_SINGLE = {
    "paraformer": ("from_paraformer", "paraformer"),
    "sense_voice": ("from_sense_voice", "model"),
    "EncDecCTC": ("from_nemo_ctc", "model"),
    "EncDecHybrid": ("from_nemo_ctc", "model"),
    "zipformer2_ctc": ("from_zipformer_ctc", "model"),
    "wenet_ctc": ("from_wenet_ctc", "model"),
    "telespeech_ctc": ("from_telespeech_ctc", "model"),
    "tdnn": ("from_tdnn_ctc", "model"),
    "dolphin": ("from_dolphin_ctc", "model"),
}
_PARTS = ("preprocess", "uncached_decode", "cached_decode", "encode", "decode", "join")
# Whisper's own default is English, whatever is spoken; Canary translates between two languages.
_LANGUAGE: dict[str, tuple[str, ...]] = {
    "from_whisper": ("language",),
    "from_sense_voice": ("language",),
    "from_nemo_canary": ("src_lang", "tgt_lang"),
}


def transcribe(request: Request) -> str:
    """The text of one utterance; the model stays loaded for the next."""
    recognizer = _opened(request["folder"], request["language"], request["threads"])
    stream = recognizer.create_stream()
    stream.accept_waveform(_SAMPLE_RATE_HZ, np.fromfile(request["samples"], np.float32))
    recognizer.decode_stream(stream)
    return str(stream.result.text)


@lru_cache(1)
def _opened(folder: str, language: str, threads: int) -> Any:
    try:
        from sherpa_onnx import OfflineRecognizer
    except ModuleNotFoundError as error:
        raise MissingExtra("a teacher of sherpa-onnx", "sherpa") from error
    constructor, files = recognizer_of(Path(folder))
    told = dict.fromkeys(_LANGUAGE.get(constructor, ()), language)
    if not language and constructor == "from_nemo_canary":
        told = {}
    if constructor == "from_transducer" and _is_nemo(Path(files["encoder"])):
        told["model_type"] = "nemo_transducer"
    try:
        return getattr(OfflineRecognizer, constructor)(**files, **told, num_threads=threads)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UserFault(f"{folder}: sherpa-onnx cannot load it ({error})") from error


def recognizer_of(folder: Path) -> tuple[str, dict[str, str]]:
    """The constructor of sherpa-onnx's OfflineRecognizer for a folder, and its files.

    Raises:
        UserFault: for a folder that holds no offline model, or one of an unknown kind.
    """
    tokens = _only(folder, [p for p in folder.glob("*.txt") if "tokens" in p.name], "tokens.txt")
    models = sorted(p for p in folder.iterdir() if p.suffix in (".onnx", ".ort"))
    parts = {part: found for part in _PARTS if (found := _of_part(models, part))}
    if not parts:
        constructor, files = _single(_only(folder, models, "model (.onnx)"))
    elif "uncached_decode" in parts:
        constructor = "from_moonshine"
        files = {
            "preprocessor": _only(folder, parts.get("preprocess", []), "preprocessor"),
            "encoder": _only(folder, parts.get("encode", []), "encoder"),
            "uncached_decoder": _only(folder, parts["uncached_decode"], "uncached decoder"),
            "cached_decoder": _only(folder, parts.get("cached_decode", []), "cached decoder"),
        }
    else:
        files = {
            "encoder": _only(folder, parts.get("encode", []), "encoder"),
            "decoder": _only(folder, parts.get("decode", []), "decoder"),
        }
        if "join" in parts:
            constructor = "from_transducer"
            files["joiner"] = _only(folder, parts["join"], "joiner")
        else:
            constructor = _of_encoder(files["encoder"])
    named = {name: str(path) for name, path in files.items()}
    return constructor, {**named, "tokens": str(tokens)}


def _of_part(models: list[Path], part: str) -> list[Path]:
    """`cached_decode` is also in the name of the uncached one, and `decode` in both."""
    first = {p: next((known for known in _PARTS if known in p.name), None) for p in models}
    return [p for p in models if first[p] == part]


def _only(folder: Path, found: list[Path], what: str) -> Path:
    """The file in question; of a model that lies there in 8 bits as well, the other one."""
    if len(found) > 1:
        found = [p for p in found if not any(f in p.name for f in ("int8", "fp16"))] or found
    if not found:
        raise UserFault(f"{folder}: holds no {what}, so it is no offline model of sherpa-onnx")
    if len(found) > 1:
        names = ", ".join(sorted(p.name for p in found))
        raise UserFault(f"{folder}: holds several files that may be the {what}: {names}; leave one")
    return found[0]


def _single(model: Path) -> tuple[str, dict[str, Path]]:
    model_type = _model_type(model)
    for begins, (constructor, name) in _SINGLE.items():
        if model_type.startswith(begins):
            return constructor, {name: model}
    raise UserFault(
        f"{model}: its model_type is {model_type!r}; known: {', '.join(_SINGLE)}, or a folder with "
        "encoder and decoder"
    )


def _of_encoder(encoder: Path) -> str:
    """Whisper, Canary or FireRedASR."""
    model_type = _model_type(encoder)
    if model_type.startswith("whisper"):
        return "from_whisper"
    return "from_nemo_canary" if model_type.startswith("EncDecMultiTask") else "from_fire_red_asr"


def _is_nemo(encoder: Path) -> bool:
    return _model_type(encoder).startswith("EncDec")


def _model_type(model: Path) -> str:
    import onnx

    try:
        properties = onnx.load(str(model), load_external_data=False).metadata_props
    except Exception as error:  # of protobuf, of several types
        raise UserFault(f"{model}: is no ONNX model") from error
    return next((p.value for p in properties if p.key == "model_type"), "")
