"""Files that are no teacher: told before anything starts."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import write_onnx, write_samples_onnx, write_tokens
from lists import Corpus
from refusals import Refused
from safetensors.numpy import save_file


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of file that is not a teacher."""
    folder = tmp_path_factory.mktemp("teachers")
    write_onnx(folder / "good.onnx")
    write_onnx(folder / "one-input.onnx", has_lengths=False)
    write_onnx(folder / "mels40.onnx", n_mels=40)
    (folder / "junk.onnx").write_bytes(b"junk")
    write_tokens(folder / "good.txt", "<blk>", "▁a", "b")
    write_tokens(folder / "few.txt", "<blk>", "a")
    write_tokens(folder / "no-blank.txt", "x", "a", "b")
    (folder / "gap.txt").write_text("<blk> 0\na 1\nb 3\n")
    (folder / "twice.txt").write_text("<blk> 0\na 1\nb 1\n")
    (folder / "words.txt").write_text("<blk> 0\nno number\n")
    (folder / "empty.txt").touch()
    (folder / "junk.safetensors").write_bytes(b"junk junk junk junk")
    tensors = {"weight": np.zeros(3, np.float32)}
    save_file(tensors, folder / "other.safetensors", metadata={"format": "pt"})
    header = {"format": "compression-search student 1", "dims": {"family": "separable_conv"}}
    ours = {"header": json.dumps({**header, "symbols": ["<blk>", "a"]})}
    save_file(tensors, folder / "damaged.safetensors", metadata=ours)
    (folder / "no-model").mkdir()
    write_samples_onnx(folder / "samples.onnx")
    (folder / "vocab.json").write_text('{"<pad>": 0, "a": 1, "b": 2}')
    (folder / "list.json").write_text('{"<pad>": 0, "a": 5}')
    for name, model_types in SHERPA_FOLDERS.items():
        (folder / name).mkdir()
        (folder / name / "tokens.txt").write_text("<blk> 0\na 1\n")
        for file, model_type in model_types.items():
            write_onnx(folder / name / file, model_type=model_type)
    (folder / "two" / "tokens.txt").unlink()
    for name, body in PROGRAMS.items():
        (folder / name).write_text(f"#!{sys.executable}\n{body}\n")
        (folder / name).chmod(0o755)
    (folder / "not-executable").write_text("print('a')")
    return folder


SHERPA_FOLDERS = {
    "empty": {},
    "two": {"a.onnx": "zipformer2_ctc"},
    "several": {"a.onnx": "zipformer2_ctc", "b.onnx": "zipformer2_ctc"},
    "unknown": {"a.onnx": "resnet"},
    "half": {"encoder.onnx": "zipformer2", "joiner.onnx": ""},
    "wrong": {"a.onnx": "EncDecCTCModel"},
}
PROGRAMS = {
    "fails": "import sys; sys.exit('no model')",
    "hangs": "import time; time.sleep(99)",
    "two-lines": "print('a'); print('b')",
    "binary": "import sys; sys.stdout.buffer.write(bytes([200, 201]))",
    "escapes": "print('a\\x1b[2Jb')",
}


def command_teacher(program: str) -> str:
    return f'command: [{{folder}}/{program}, "{{{{audio}}}}"], time_limit_s: 5'


def onnx_teacher(model: str, tokens: str = "good") -> str:
    return f"onnx: {{folder}}/{model}.onnx, tokens: {{folder}}/{tokens}.txt"


BAD_TEACHERS = {
    "a missing checkpoint": (
        "checkpoint: {folder}/gone.safetensors",
        "{folder}/gone.safetensors: no such checkpoint",
    ),
    "no safetensors": (
        "checkpoint: {folder}/junk.safetensors",
        "{folder}/junk.safetensors: is not a safetensors checkpoint (",
    ),
    "safetensors of someone else": (
        "checkpoint: {folder}/other.safetensors",
        "{folder}/other.safetensors: is not a checkpoint written by this program; bring a network "
        "of another kind as onnx: with tokens:, or as huggingface:",
    ),
    "a missing model": (onnx_teacher("gone"), "{folder}/gone.onnx: no such file"),
    "missing tokens": (onnx_teacher("good", "gone"), "{folder}/gone.txt: cannot be read (No such"),
    "no model": (onnx_teacher("junk"), "{folder}/junk.onnx: ONNX Runtime cannot load it ("),
    "a model of other inputs": (
        onnx_teacher("one-input"),
        "{folder}/one-input.onnx: takes [('x', 'tensor(float)', ['N', 'T', 80])]; the contract is "
        "float features [N, T, 80] and int64 lengths [N]",
    ),
    "a model of other features": (
        onnx_teacher("mels40"),
        "{folder}/mels40.onnx: takes 40 mel bins; the contract is 80",
    ),
    "tokens with a gap": (
        onnx_teacher("good", "gap"),
        "{folder}/gap.txt: holds no id 2; ids count from 0 without a gap",
    ),
    "tokens with an id twice": (
        onnx_teacher("good", "twice"),
        "{folder}/twice.txt:3: id 1 is given twice",
    ),
    "tokens without ids": (
        onnx_teacher("good", "words"),
        "{folder}/words.txt:2: is not `symbol id`",
    ),
    "no tokens": (onnx_teacher("good", "empty"), "{folder}/empty.txt: holds no id 0; ids count"),
    "tokens without a blank": (
        onnx_teacher("good", "no-blank"),
        "{folder}/no-blank.txt: holds no <blk> (nor <blank>, <pad>, [PAD], -): name the blank of",
    ),
    "a model on raw samples": (
        onnx_teacher("samples"),
        "int64 lengths [N]; a teacher that takes raw samples is brought as waveform:",
    ),
    "a model on features as one on raw samples": (
        "waveform: {folder}/good.onnx, tokens: {folder}/good.txt",
        "a model on raw audio takes float samples [N, n], and at most an int64 attention mask",
    ),
    "a missing model on raw samples": (
        "waveform: {folder}/gone.onnx, tokens: {folder}/good.txt",
        "{folder}/gone.onnx: no such file",
    ),
    "no model on raw samples": (
        "waveform: {folder}/junk.onnx, tokens: {folder}/good.txt",
        "{folder}/junk.onnx: ONNX Runtime cannot load it (",
    ),
    "a model on raw samples with tokens of another": (
        "waveform: {folder}/samples.onnx, tokens: {folder}/few.txt",
        "{folder}/samples.onnx: writes 3 symbols, but {folder}/few.txt lists 2",
    ),
    "a model on raw samples with a vocabulary with a gap": (
        "waveform: {folder}/samples.onnx, tokens: {folder}/list.json",
        "{folder}/list.json: is no vocabulary: symbols with ids from 0 on",
    ),
    "a missing folder": ("sherpa: {folder}/gone", "sherpa: {folder}/gone: no such folder"),
    "a folder without a model": (
        "sherpa: {folder}/empty",
        "sherpa: {folder}/empty: holds no model (.onnx), so it is no offline model of sherpa-onnx",
    ),
    "a folder without tokens": (
        "sherpa: {folder}/two",
        "sherpa: {folder}/two: holds no tokens.txt",
    ),
    "a folder of several models": (
        "sherpa: {folder}/several",
        "holds several files that may be the model (.onnx): a.onnx, b.onnx; leave one",
    ),
    "a folder of an unknown kind": (
        "sherpa: {folder}/unknown",
        "sherpa: {folder}/unknown/a.onnx: its model_type is 'resnet'; known: paraformer,",
    ),
    "half a transducer": ("sherpa: {folder}/half", "sherpa: {folder}/half: holds no decoder"),
    "a model that sherpa-onnx does not take": (
        "sherpa: {folder}/wrong",
        "sherpa: {folder}/wrong: cannot be loaded (",
    ),
    "a program that is not there": (
        command_teacher("gone"),
        "command: {folder}/gone: no such program that can be run",
    ),
    "a program that may not be run": (
        command_teacher("not-executable"),
        "command: {folder}/not-executable: no such program that can be run",
    ),
    "a program that fails": (
        command_teacher("fails"),
        "command: {folder}/fails on a second of a tone: ended with 1: no model",
    ),
    "a program that hangs": (
        command_teacher("hangs"),
        "command: {folder}/hangs on a second of a tone: took more than 5 s and was ended",
    ),
    "a program that prints two lines": (
        command_teacher("two-lines"),
        "on a second of a tone: printed 2 lines and not one ('a', …)",
    ),
    "a program that prints binary": (
        command_teacher("binary"),
        "on a second of a tone: printed what is not UTF-8 text",
    ),
    "a program that prints escapes": (
        command_teacher("escapes"),
        "on a second of a tone: printed control characters (",
    ),
    "tokens of another model": (
        onnx_teacher("good", "few"),
        "{folder}/good.onnx: writes 3 symbols, but {folder}/few.txt lists 2",
    ),
}


@pytest.mark.parametrize("command", ["validate", "launch"])
@pytest.mark.parametrize("kind", BAD_TEACHERS)
def test_a_file_that_is_no_teacher_is_told_before_anything_starts(
    refused: Refused, home: Path, corpus: Corpus, teachers: Path, kind: str, command: str
) -> None:
    teacher, fault = BAD_TEACHERS[kind]
    space = corpus.space(teacher=teacher.format(folder=teachers))
    call = ("validate", space) if command == "validate" else ("launch", "--space", space)
    said = refused("--home", home, *call)
    assert re.search(f"teacher: .*{re.escape(fault.format(folder=teachers))}", said), said
    assert not (home / "work").exists()


def test_a_checkpoint_without_its_tensors_is_told(
    refused: Refused, home: Path, corpus: Corpus, teachers: Path
) -> None:
    path = teachers / "damaged.safetensors"
    said = refused("--home", home, "validate", corpus.space(teacher=f"checkpoint: {path}"))
    assert f"teacher: {path}: its tensors do not fit its header (" in said


def test_an_unknown_torchaudio_pipeline_is_told_with_the_known_ones(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(teacher="torchaudio: WAV2VEC2_ASR")
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert "teacher: torchaudio: no CTC pipeline WAV2VEC2_ASR (known: " in said
    assert "WAV2VEC2_ASR_BASE_960H" in said


def test_a_folder_that_is_no_hugging_face_model_is_told(
    refused: Refused, home: Path, corpus: Corpus, teachers: Path
) -> None:
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    folder = teachers / "no-model"
    space = corpus.space(teacher=f"huggingface: {folder}")
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert f"teacher: huggingface: {folder}: cannot be loaded (" in said
