"""`search compress` refuses models, steps, limits and data that it cannot use."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from bundles import write_onnx
from lists import Corpus
from refusals import Refused
from students import make

from spaces.families import SeparableConv
from spaces.front_end import FrontEnd
from workers.data.text import write_tokens

BAD = {
    "a model that is not there": ("--model {none}", "--model: {none}: no such file or folder"),
    "a model of text": (
        "--model {text}",
        "--model: {text}: is none of .safetensors, .onnx, a bundle,",
    ),
    "a checkpoint of text": ("--model {text}.safetensors", "is not a safetensors checkpoint"),
    "an ONNX file without tokens": ("--model {text}.onnx", "tokens.txt: no such file; name the"),
    "tokens of a checkpoint": ("--model {net} --tokens {text}", "--tokens: goes with an ONNX file"),
    "a Hugging Face model of nothing": (
        "--model {hf}",
        "--model: huggingface: {hf}: cannot be loaded (",
    ),
    "a Hugging Face model to be pruned": (
        "--model {hf} --steps prune --train {list}",
        '--steps: "prune" needs a network to train again; a graph is none',
    ),
    "samples as recorded of features": (
        "--model {bundle}/model.onnx --as-recorded",
        "--as-recorded: goes with an ONNX file on raw samples",
    ),
    "samples as recorded of a checkpoint": (
        "--model {net} --as-recorded",
        "--as-recorded: goes with an ONNX file on raw samples",
    ),
    "a checkpoint that hears otherwise": (
        "--model {deaf}",
        "has a front end of its own",
    ),
    "a device of no kind": ("--model {net} --device gpu", '--device: "gpu" is none of auto, cpu'),
    "a target of nothing": (
        "--model {net} --target-file {text}",
        "{text}: ",
    ),
    "two targets": (
        "--model {net} --target-file {targets}",
        "names 2 targets (cpu, board); a model is made smaller for one",
    ),
    "a target on another device": (
        "--model {net} --target-file {device}",
        "pi5 is another device; steps are timed on this machine",
    ),
    "a target by adb": (
        "--model {net} --target-file {phone}",
        "phone is another device; steps are timed on this machine",
    ),
    "a target of another runtime": (
        "--model {net} --target-file {other}",
        "npu is of openvino; the steps are those of ONNX Runtime",
    ),
    "a folder of nothing": ("--model {empty}", "{empty}: is not a bundle"),
    "an unknown step": (
        "--model {net} --steps quantise",
        '--steps: "quantise" is no step; did you mean "quantize"?',
    ),
    "no step": ("--model {net} --steps ''", '--steps: "" is no step; known: prune, quantize, fp16'),
    "a ratio of everything": ("--model {net} --steps prune:1", '"prune:1": has to be a share'),
    "a ratio in words": ("--model {net} --steps prune:half", '"prune:half": has to be a share'),
    "a format with a number": (
        "--model {net} --steps int8:2",
        '"int8:2": only prune takes a number',
    ),
    "a limit below 0": (
        "--model {net} --loss-limit -1",
        "--loss-limit: -1: is how many points of WER a step may lose, 0 to 100",
    ),
    "a limit in words": ("--model {net} --loss-limit little", '"little" is not a number of points'),
    "a limit of no number": (
        "--model {net} --loss-limit nan",
        "--loss-limit: nan: is how many points",
    ),
    "two limits for three steps": (
        "--model {net} --steps fp16,int8,int4 --loss-limit 1,2",
        "--loss-limit: 2 limits for 3 steps; give one for all, or one each",
    ),
    "pruning without training data": (
        "--model {net} --steps prune",
        '--steps: "prune" needs --train: a network whose units',
    ),
    "pruning of an ONNX file": (
        "--model {bundle} --steps prune --train {list}",
        '--steps: "prune" needs a network to train again; a graph is none',
    ),
    "data that is not there": ("--model {net} --data {none}", "{none}: no such"),
    "data of text": ("--model {net} --data {text}.jsonl", "{text}.jsonl:1: "),
    "too little data": ("--model {net} --data {few}", "--data: {few}: holds 4 utterances: too few"),
    "epochs of none": ("--model {net} --epochs 0", "0 is not in the range x>=1"),
    "a rate of none": ("--model {net} --learning-rate 0", "is not in the range 0<x<=1"),
}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained network."""
    return make(SeparableConv(channels=16, blocks=1), tmp_path_factory.mktemp("net")).network


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that hears 8 kHz."""
    dims = SeparableConv(channels=16, blocks=1, front_end=FrontEnd(sample_rate_hz=8000))
    return make(dims, tmp_path_factory.mktemp("deaf")).network


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_compressed_is_refused(
    kind: str, refused: Refused, net: Path, deaf: Path, corpus: Corpus, tmp_path: Path
) -> None:
    places = {
        "none": tmp_path / "none",
        "text": tmp_path / "text",
        "net": net,
        "deaf": deaf,
        "bundle": tmp_path / "bundle",
        "hf": tmp_path / "hf",
        "empty": tmp_path / "empty",
        "few": corpus.train,
        "list": corpus.train,
        "targets": tmp_path / "targets.yaml",
        "other": tmp_path / "other.yaml",
        "device": tmp_path / "device.yaml",
        "phone": tmp_path / "phone.yaml",
    }
    agent = "agent: 'https://pi5.local:8765', token_env: SEARCH_PI5_TOKEN"
    places["device"].write_text(f"{{name: pi5, {agent}}}")
    places["phone"].write_text("{name: phone, adb: R58M}")
    places["targets"].write_text("targets: {cpu: {}, board: {threads: 2}}")
    places["other"].write_text("{name: npu, backend: openvino}")
    for name in ("bundle", "hf", "empty"):
        places[name].mkdir()
    write_onnx(places["bundle"] / "model.onnx")
    write_tokens(("<blk>", "a", "b"), places["bundle"] / "tokens.txt")
    (places["bundle"] / "bundle.json").write_text("{}")
    (places["hf"] / "config.json").write_text("{}")
    for suffix in ("", ".onnx", ".safetensors", ".jsonl"):
        Path(f"{places['text']}{suffix}").write_text("hello\n")
    options, said = (text.format(**places) for text in BAD[kind])
    if "--data" not in options:
        options += f" --data {corpus.dev}"
    out = tmp_path / "out"
    assert said in refused("--home", tmp_path / "home", "compress", *shlex.split(options), out)
    assert not out.exists()
