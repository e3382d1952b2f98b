"""Folders of offline models of sherpa-onnx: their kind, and what their recogniser is told."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from workers.teachers import sherpa_folder
from workers.teachers.sherpa_folder import recognizer_of


def fake_model(path: Path, model_type: str) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    model = helper.make_model(graph)
    helper.set_model_props(model, {"model_type": model_type})
    onnx.save(model, path)


FOLDERS = {
    "from_transducer": {
        "encoder-epoch-9.onnx": "zipformer2",
        "decoder.onnx": "",
        "joiner.onnx": "",
    },
    "from_whisper": {"tiny.en-encoder.onnx": "whisper-tiny.en", "tiny.en-decoder.onnx": ""},
    "from_nemo_canary": {"encoder.onnx": "EncDecMultiTaskModel", "decoder.onnx": ""},
    "from_fire_red_asr": {"encoder.int8.onnx": "", "decoder.int8.onnx": ""},
    "from_moonshine": dict.fromkeys(
        ("preprocess.onnx", "encode.onnx", "uncached_decode.onnx", "cached_decode.onnx"), ""
    ),
    "from_paraformer": {"model.onnx": "paraformer"},
    "from_sense_voice": {"model.onnx": "sense_voice_ctc", "model.int8.onnx": "sense_voice_ctc"},
    "from_nemo_ctc": {"model.onnx": "EncDecCTCModelBPE"},
    "from_wenet_ctc": {"model.onnx": "wenet_ctc"},
    "from_zipformer_ctc": {"model.onnx": "zipformer2_ctc"},
}


@pytest.mark.parametrize("constructor", FOLDERS)
def test_the_kind_of_a_folder_is_told_by_its_files(constructor, tmp_path):
    for name, model_type in FOLDERS[constructor].items():
        fake_model(tmp_path / name, model_type)
    (tmp_path / "x-tokens.txt").write_text("<blk> 0\n")
    found, files = recognizer_of(tmp_path)
    assert found == constructor
    assert all(Path(path).is_file() for path in files.values())
    assert "model.int8.onnx" not in {Path(path).name for path in files.values()}


@pytest.mark.parametrize("constructor", FOLDERS)
def test_sherpa_onnx_has_a_constructor_for_each_kind_that_takes_these_files(constructor, tmp_path):
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    import inspect

    for name, model_type in FOLDERS[constructor].items():
        fake_model(tmp_path / name, model_type)
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    _, files = recognizer_of(tmp_path)
    taken = inspect.signature(getattr(sherpa_onnx.OfflineRecognizer, constructor)).parameters
    assert {*files, "num_threads"} <= set(taken)


TOLD = {
    "from_whisper": ({"language": "de"}, {"language": ""}),
    "from_sense_voice": ({"language": "de"}, {"language": ""}),
    "from_nemo_canary": ({"src_lang": "de", "tgt_lang": "de"}, {}),
    "from_paraformer": ({}, {}),
    "from_transducer": ({}, {}),
}


@pytest.mark.parametrize("language", ["de", ""])
@pytest.mark.parametrize("constructor", TOLD)
def test_a_language_is_told_to_who_knows_several(constructor, language, tmp_path, monkeypatch):
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    for name, model_type in FOLDERS[constructor].items():
        fake_model(tmp_path / name, model_type)
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    monkeypatch.setattr(
        sherpa_onnx.OfflineRecognizer, constructor, staticmethod(lambda **given: given)
    )
    given = sherpa_folder._opened.__wrapped__(str(tmp_path), language, 1)
    files = recognizer_of(tmp_path)[1]
    told = {k: v for k, v in given.items() if k not in files and k != "num_threads"}
    assert told == TOLD[constructor][0 if language else 1]


def test_a_transducer_of_nemo_is_told_that_it_is_one(tmp_path, monkeypatch):
    sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    for name in ("encoder.onnx", "decoder.onnx", "joiner.onnx"):
        fake_model(tmp_path / name, "EncDecRNNTBPEModel")
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    monkeypatch.setattr(
        sherpa_onnx.OfflineRecognizer, "from_transducer", staticmethod(lambda **given: given)
    )
    given = sherpa_folder._opened.__wrapped__(str(tmp_path), "", 1)
    assert given["model_type"] == "nemo_transducer"
