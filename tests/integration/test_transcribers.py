"""Teachers that give a text and nothing else: any program, sherpa-onnx, models with a decoder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
import soundfile
import torch
from onnx import helper
from transducers import write_transducer

from spaces.families import SeparableConv
from spaces.space import TeacherSource
from workers.data.audio import read_audio
from workers.data.text import write_tokens
from workers.errors import TeacherFault
from workers.export import names
from workers.export.names import with_our_names
from workers.export.onnx import export_onnx
from workers.students.base import untrained_student
from workers.teachers.base import Transcriber, Transcript
from workers.teachers.load import load_teacher
from workers.teachers.onnx import OnnxTeacher
from workers.teachers.runner import TeacherRunner, checked, without_foreign_marks
from workers.teachers.targets import Layers, infer_targets, targets_index

_TONE = (0.1 * np.sin(np.arange(16_000) / 8)).astype(np.float32)


@pytest.fixture(scope="module")
def student(corpus, tmp_path_factory):
    """An untrained student, exported; what it writes is nonsense, but its own."""
    folder = tmp_path_factory.mktemp("student")
    torch.manual_seed(0)
    network = untrained_student(SeparableConv(channels=16, blocks=2), corpus).eval()
    export_onnx(network, corpus.symbols, folder / "model.onnx")
    write_tokens(corpus.symbols, folder / "tokens.txt")
    return folder


def command(tmp_path: Path, body: str, **more: object) -> Transcriber:
    program = tmp_path / "asr.py"
    program.write_text(body)
    words = (sys.executable, str(program), "{audio}")
    teacher = load_teacher(TeacherSource(command=words, **more))
    assert isinstance(teacher, Transcriber)
    return teacher


def test_a_program_is_given_a_wav_file_and_its_line_is_the_transcript(tmp_path):
    said = "import sys, soundfile; a, r = soundfile.read(sys.argv[1]); print(len(a), r, a.ndim)"
    teacher = command(tmp_path, said, at_once=2)
    utterances = [_TONE[: 1000 * i] for i in range(1, 6)]
    found = [t.text for t in teacher.transcribe(utterances)]
    assert found == [f"{1000 * i} 16000 1" for i in range(1, 6)]


BAD_PROGRAMS = {
    "fails": ("import sys; sys.exit('no model')", "ended with 1: no model"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    "hangs": ("import time; time.sleep(60)", "took more than 1 s and was ended"),
    "prints two lines": ("print('a\\nb')", "printed 2 lines and not one ('a', …)"),
    "prints binary": (
        "import sys; sys.stdout.buffer.write(bytes(range(128, 256)))",
        "printed what is not UTF-8 text",
    ),
    "prints control characters": ("print('a\\x1b[31mb')", "printed control characters ("),
    "prints without end": ("while True: print('ab ' * 5000, end='')", "took more than 1 s"),
    "prints much": ("print('ab ' * 100000)", "printed more than 100000 bytes"),
}


@pytest.mark.parametrize("kind", BAD_PROGRAMS)
def test_a_program_at_fault_says_how(tmp_path, kind):
    body, said = BAD_PROGRAMS[kind]
    limit_s = 1.0 if "1 s" in said else 20.0
    (found,) = command(tmp_path, body, time_limit_s=limit_s).transcribe([_TONE])
    assert found.text == ""
    assert said in str(found.fault)


def test_a_program_sees_no_shell(tmp_path):
    source = TeacherSource(command=("/bin/echo", "$HOME; rm -rf {audio}"))
    (found,) = load_teacher(source).transcribe([_TONE])
    assert found.text.startswith("$HOME; rm -rf /")


def test_few_faults_are_allowed_and_more_are_told_by_file():
    files = [f"{i}.wav" for i in range(100)]
    some = [Transcript("a") if i % 60 else Transcript("", "hung") for i in range(100)]
    assert list(checked(some, files)).count("") == 2
    with pytest.raises(
        TeacherFault, match=r"failed on 3 of the first 41 .*: 0\.wav: hung; 20\.wav"
    ):
        list(checked((Transcript("a", "hung" if i % 20 == 0 else None) for i in range(100)), files))


def test_a_teacher_that_writes_nothing_at_first_is_told():
    with pytest.raises(TeacherFault, match=r"wrote nothing for the first 20 .* 0\.wav"):
        list(checked((Transcript(" ") for _ in range(30)), [f"{i}.wav" for i in range(30)]))


def test_punctuation_that_no_transcript_holds_is_left_out():
    assert without_foreign_marks("It's five, please!", frozenset("its fvepla'")) == (
        "It's five  please "
    )


@pytest.mark.parametrize("kind", ["zipformer2_ctc", "transducer"])
def test_a_folder_of_sherpa_onnx_writes_what_its_network_does(kind, student, corpus, tmp_path):
    pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    folder = student
    if kind == "transducer":
        folder = write_transducer(student / "model.onnx", corpus.symbols, tmp_path / "transducer")
    same = TeacherRunner(
        OnnxTeacher(student / "model.onnx", student / "tokens.txt"), corpus, (1.0,)
    )
    teacher = load_teacher(TeacherSource(sherpa=str(folder)))
    found = list(TeacherRunner(teacher, corpus, (1.0,)).texts(corpus.dev))
    assert found == list(same.texts(corpus.dev))
    assert any(found)


def test_a_model_that_ends_sherpa_onnx_ends_no_more_than_its_process(student, tmp_path):
    pytest.importorskip("sherpa_onnx", reason="the extra sherpa is not installed")
    folder = tmp_path / "paraformer"
    folder.mkdir()
    model = onnx.load(student / "model.onnx")
    del model.metadata_props[:]
    helper.set_model_props(model, {"model_type": "paraformer"})
    onnx.save(model, folder / "model.onnx")
    (folder / "tokens.txt").write_bytes((student / "tokens.txt").read_bytes())
    with pytest.raises(TeacherFault, match=r"teacher: sherpa: .*paraformer: cannot be loaded"):
        load_teacher(TeacherSource(sherpa=str(folder)))


def test_transcripts_of_a_transcriber_are_the_pseudo_labels(corpus, tmp_path):
    """One that writes with capitals and commas, and is wrong about every other utterance."""
    by_length = {len(read_audio(u.audio, u.offset_s, u.duration_s)): u.text for u in corpus.train}
    wrong = {n: t for i, (n, t) in enumerate(by_length.items()) if i % 2}
    table = {n: "no no no" if n in wrong else f"{t.title()}." for n, t in by_length.items()}
    (tmp_path / "table.json").write_text(json.dumps(table))
    said = (
        "import sys, json, soundfile; a, r = soundfile.read(sys.argv[1]); "
        f"print(json.load(open({str(tmp_path / 'table.json')!r}))[str(len(a))])"
    )
    teacher = command(tmp_path, said, at_once=4)
    infer_targets(
        TeacherRunner(teacher, corpus, (1.0,)), tmp_path / "t", 4, Layers(), lambda *_: None
    )
    index = targets_index(tmp_path / "t")
    assert index["kind"] == "transcripts"
    assert index["targets"] == [list(u.ids) for u in corpus.train]  # the reference stands in
    assert 0 < index["n_pseudo_labels"] < len(corpus.train)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A Whisper of a few thousand random weights, saved as transformers does."""
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    folder = tmp_path_factory.mktemp("whisper")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>"]
    special += ["<|notimestamps|>"]
    vocabulary = {c: i for i, c in enumerate([*"abcdefghij", *special])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        vocab_size=len(vocabulary),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=16,
        pad_token_id=10,
        bos_token_id=10,
        eos_token_id=10,
        decoder_start_token_id=11,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config.max_length = 12
    model.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")  # of transformers' own making
def test_a_model_with_a_decoder_transcribes(whisper):
    teacher = load_teacher(TeacherSource(huggingface=str(whisper)))
    assert isinstance(teacher, Transcriber)
    assert teacher.n_parameters
    assert [t.fault for t in teacher.transcribe([_TONE, _TONE[:8000]])] == [None, None]


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_writes_no_text_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    transformers.BertConfig(hidden_size=16, num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(TeacherFault, match="is a bert model, which writes no text of speech"):
        load_teacher(TeacherSource(huggingface=str(tmp_path)))


class OnSamples(torch.nn.Module):
    """A small network on raw samples, in the place of a wav2vec 2.0."""

    def __init__(self, n_symbols: int) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(1, 8, 400, 320)
        self.head = torch.nn.Linear(8, n_symbols)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.conv(samples[:, None])).transpose(1, 2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter of a test's network
@pytest.mark.parametrize("tokens", ["tokens.txt", "vocab.json"])
def test_an_onnx_model_on_raw_samples_infers_as_its_network(tokens, tmp_path):
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDE'"]
    torch.manual_seed(0)
    network = OnSamples(len(letters)).eval()
    axes = {"input_values": {0: "N", 1: "n"}, "logits": {0: "N", 1: "T"}}
    torch.onnx.export(
        network,
        (torch.zeros(1, 16_000),),
        tmp_path / "model.onnx",
        input_names=["input_values"],
        output_names=["logits"],
        dynamic_axes=axes,
        dynamo=False,
    )
    if tokens == "tokens.txt":
        write_tokens(tuple(letters), tmp_path / tokens)
    else:
        (tmp_path / tokens).write_text(json.dumps({s: i for i, s in enumerate(letters)}))
    source = TeacherSource(waveform=str(tmp_path / "model.onnx"), tokens=str(tmp_path / tokens))
    teacher = load_teacher(source)
    assert teacher.symbols == ("<blk>", "<s>", "</s>", "<unk>", "▁", *"abcde'")
    heard = torch.from_numpy((_TONE - _TONE.mean()) / _TONE.std())
    expected = torch.log_softmax(network(heard[None])[0], -1).detach().numpy()
    assert np.allclose(teacher.infer(_TONE).log_probs, expected, atol=1e-3)


def test_a_wav_file_of_a_program_holds_the_samples(tmp_path):
    kept = tmp_path / "kept.wav"
    said = f"import sys, shutil; shutil.copyfile(sys.argv[1], {str(kept)!r}); print('a')"
    list(command(tmp_path, said).transcribe([_TONE]))
    found, _ = soundfile.read(kept, dtype="float32")
    assert np.abs(found - _TONE).max() < 1e-4


def test_a_program_ends_with_the_stage_that_runs_it(tmp_path):
    pid = tmp_path / "pid"
    body = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    (tmp_path / "asr.py").write_text(body)
    words = (sys.executable, str(tmp_path / "asr.py"), "{audio}")
    stage = (
        "import numpy as np; from workers.teachers.command import CommandTeacher; "
        f"list(CommandTeacher({words!r}, 1, 600.0).transcribe([np.zeros(1600, np.float32)]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", stage])
    wait_until(lambda: pid.exists() and pid.read_text())
    program = psutil.Process(int(pid.read_text()))
    parent.kill()
    parent.wait()
    wait_until(lambda: not program.is_running() or program.status() == psutil.STATUS_ZOMBIE)


def wait_until(holds, time_s=60.0):
    end = time.monotonic() + time_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore")
def test_an_utterance_that_a_model_with_a_decoder_does_not_take_is_a_fault_of_it(whisper):
    teacher = load_teacher(TeacherSource(huggingface=str(whisper)))
    first, second = teacher.transcribe([np.zeros((2, 2, 2), np.float32), _TONE])
    assert first.fault and not first.text
    assert second.fault is None


def test_a_file_with_other_names_is_the_same_under_ours(student, tmp_path):
    model = onnx.load(student / "model.onnx")
    sherpa_names = {"x": "speech", "x_lens": "speech_lengths", "log_probs": "x"}
    names.rename(model.graph, sherpa_names)
    onnx.save(model, tmp_path / "other.onnx")
    renamed = with_our_names(tmp_path / "other.onnx", tmp_path / "ours.onnx")
    assert [i.name for i in onnx.load(renamed).graph.input] == ["x", "x_lens"]
    assert with_our_names(renamed, tmp_path / "again.onnx") == renamed
    tokens = student / "tokens.txt"
    features = np.random.default_rng(0).normal(size=(50, 80)).astype(np.float32)
    expected = OnnxTeacher(student / "model.onnx", tokens).infer(features).log_probs
    assert np.allclose(OnnxTeacher(renamed, tokens).infer(features).log_probs, expected)
