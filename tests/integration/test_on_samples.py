"""A model on raw samples says in the contract of what is measured what it said as it came."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from wav2vec2 import write_wav2vec2

from spaces.front_end import SAMPLES
from spaces.space import TeacherSource
from workers.backends.base import Source, load_backend, open_session
from workers.data.features import fbank, framed
from workers.errors import TeacherFault, UserFault
from workers.export.names import SAMPLES_MODEL, SAMPLES_TOKENS
from workers.export.on_samples import in_contract
from workers.isolated_call import call
from workers.teachers.load import load_teacher
from workers.teachers.waveform_onnx import WaveformOnnxTeacher, symbols_of, takes_samples

SYMBOLS = ["a", "b", "<blk>", "c", "▁"]
LENGTHS = (400, 1600, 16_000, 43_200)  # whole frames: of others the last is filled with silence


def speech(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    return (0.05 * rng.normal(size=n) + 0.02).astype(np.float32)


@pytest.fixture(params=[(11, False), (13, False), (17, True), (18, False), (20, True)], ids=str)
def brought(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A convolution on samples, of an opset, with an attention mask or without; before opset 13 of
    an old version of the format, whose weights are inputs as well. From 17 on it goes through a
    branch that reads what is outside, and gives half precision, as exports by others may."""
    opset, has_mask = request.param
    rng = np.random.default_rng(0)
    weights = {"kernel": rng.normal(size=(5, 1, 400)), "lift": np.array([1])}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "n"])]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "lift"], ["channel"]),
        helper.make_node("Conv", ["channel", "kernel"], ["convolved"], strides=[320]),
        helper.make_node("Transpose", ["convolved"], ["steps"], perm=[0, 2, 1]),
    ]
    if opset < 13:
        nodes[0] = helper.make_node("Unsqueeze", ["x"], ["channel"], axes=[1])
        del weights["lift"]
    is_branching = opset >= 17
    if is_branching:
        chosen = [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, ["N", "T", 5])]
        scaled = helper.make_node("Mul", ["steps", "twice"], ["chosen"])
        as_it_is = helper.make_node("Identity", ["steps"], ["chosen"])
        weights["twice"], weights["always"] = np.array(2.0), np.array(True)
        nodes += [
            helper.make_node(
                "If",
                ["always"],
                ["log_probs"],
                then_branch=helper.make_graph([scaled], "then", [], chosen),
                else_branch=helper.make_graph([as_it_is], "else", [], chosen),
            ),
            helper.make_node("Cast", ["log_probs"], ["logits"], to=TensorProto.FLOAT16),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["steps"], ["logits"]))
    if has_mask:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", "n"]))
        nodes[0].input[0] = "masked"
        nodes[:0] = [
            helper.make_node("Cast", ["mask"], ["float mask"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "float mask"], ["masked"]),
        ]
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs,
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT16 if is_branching else TensorProto.FLOAT, ["N", "T", 5]
            )
        ],
        [
            numpy_helper.from_array(v if v.dtype != np.float64 else v.astype(np.float32), n)
            for n, v in weights.items()
        ],
    )
    if opset < 13:
        graph.input.extend(
            helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in graph.initializer
        )
    opsets, version = [helper.make_opsetid("", opset)], 8 if opset >= 13 else 3
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=version), tmp_path / "m.onnx"
    )
    lines = (f"{symbol} {i}\n" for i, symbol in enumerate(SYMBOLS))
    (tmp_path / "tokens.txt").write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize("as_recorded", [False, True])
def test_it_says_the_same_in_the_contract(brought: Path, as_recorded: bool) -> None:
    model, tokens, target = (brought / n for n in ("m.onnx", "tokens.txt", "contract.onnx"))
    assert takes_samples(model)
    found = symbols_of(tokens)
    in_contract(model, found.order, target, as_recorded=as_recorded)
    assert not takes_samples(target)
    onnx.checker.check_model(str(target), full_check=True)
    teacher = WaveformOnnxTeacher(model, tokens, as_recorded=as_recorded)
    session = open_session("onnxruntime", target)
    for n in LENGTHS:
        samples = speech(-(-n // 160) * 160)
        wanted = teacher.infer(samples).log_probs
        np.testing.assert_allclose(session.run(fbank(samples, SAMPLES)), wanted, atol=2e-3)


def test_it_can_be_had_in_every_number_format(brought: Path) -> None:
    found = symbols_of(brought / "tokens.txt")
    in_contract(brought / "m.onnx", found.order, brought / "c.onnx", as_recorded=True)
    heard = [framed(speech(16_000))] * 3
    for scheme in ("fp16", "int8_dynamic", "int8_static", "int4"):
        folder = brought / scheme
        folder.mkdir()
        source = Source(onnx=brought / "c.onnx", formats=(scheme,) * 3, calibration=heard)
        (name,) = load_backend("onnxruntime").prepare(source, folder)
        says = open_session("onnxruntime", folder / name).run(heard[0])
        np.testing.assert_allclose(np.exp(says).sum(-1), 1, atol=1e-3)


def test_samples_come_in_frames_as_long_as_those_of_features() -> None:
    for n in (0, 1, 79, 80, 160, 239, 240, 16_001):
        frames, usual = framed(speech(n)), (n + 80) // 160
        assert frames.shape == (usual, 160)
        whole = min(n, usual * 160)
        np.testing.assert_array_equal(frames.ravel()[:whole], speech(n)[:whole])
        assert not frames.ravel()[whole:].any()


@pytest.mark.filterwarnings("ignore")  # of transformers' own making
def test_a_hugging_face_model_says_in_the_contract_what_it_says_in_torch(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    folder = write_wav2vec2(tmp_path / "hf")
    told = call("huggingface_to_onnx", {"name": str(folder), "folder": str(tmp_path)})
    assert told == {"as_recorded": False}
    tokens, target = tmp_path / SAMPLES_TOKENS, tmp_path / "contract.onnx"
    in_contract(tmp_path / SAMPLES_MODEL, symbols_of(tokens).order, target, as_recorded=False)
    teacher = load_teacher(TeacherSource(huggingface=str(folder)))
    assert symbols_of(tokens).symbols == teacher.symbols
    session = open_session("onnxruntime", target)
    for n in LENGTHS[1:]:
        samples = speech(n)
        with torch.inference_mode():
            wanted = teacher.infer(samples).log_probs
        np.testing.assert_allclose(session.run(framed(samples)), wanted, atol=2e-3)


@pytest.mark.filterwarnings("ignore")  # of transformers' own making
def test_a_model_that_hears_another_rate_is_refused(tmp_path: Path) -> None:
    folder = write_wav2vec2(tmp_path)
    told = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**told, "sampling_rate": 8000}))
    with pytest.raises(TeacherFault, match=r"hears 8000 Hz; a CTC model here hears samples"):
        load_teacher(TeacherSource(huggingface=str(folder)))


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_hears_features_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    folder = write_wav2vec2(tmp_path)
    monkeypatch.setattr(transformers.Wav2Vec2ForCTC, "main_input_name", "input_features")
    with pytest.raises(TeacherFault, match="hears input features; a CTC model here hears samples"):
        load_teacher(TeacherSource(huggingface=str(folder)))


def test_a_model_of_nobodys_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    (tmp_path / "config.json").write_text('{"model_type": "none such"}')
    asked = {"name": str(tmp_path), "folder": str(tmp_path)}
    with pytest.raises(UserFault, match=f"huggingface: {tmp_path}: cannot be loaded"):
        call("huggingface_to_onnx", asked)
