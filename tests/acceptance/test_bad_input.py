"""Bad input at the public door: exit code 2 and a message that says what, where and what to do."""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from search.cli.main import run
from spaces.families import SeparableConv
from spaces.recipe import Recipe
from storage.records import StudyState, TrialState
from storage.store import Store

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command line that must be refused; gives all that it said."""

    def call(*arguments: object) -> str:
        capsys.readouterr()
        code = run([str(a) for a in arguments])
        said = "".join(capsys.readouterr())
        assert "Traceback" not in said, said
        assert code == 2, f"exit code {code}: {said}"
        return said

    return call


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


# space files

SPACE = """\
name: tiny
data:
  synthetic: {train_utterances: 20, dev_utterances: 5, speakers: 4}
teacher:
  train: {}
students:
  separable_conv:
    channels: [32, 64]
    kernel: 11
objectives: [wer, latency_p95_ms, size_mb]
budgets:
  size_mb: "<= 5"
forbid: []
targets:
  cpu: {backend: onnxruntime, threads: 1}
search:
  trials: 2
"""
CHANNELS, AXIS = "students.separable_conv.channels", "[32, 64]"
STUDENTS = SPACE[SPACE.index("students:") : SPACE.index("objectives:")]
SYNTHETIC = "  synthetic: {train_utterances: 20, dev_utterances: 5, speakers: 4}"
NO_MAPPING = "is not a mapping of keys such as name:, data:, …"
ONE_TEACHER = "needs exactly one of train, checkpoint, onnx, huggingface, torchaudio; has"
LIMIT = 'write "<= 15" or "<= teacher + 0.012"'

# a fault: what is replaced in the space, by what, and what is said of which line
SPACE_FAULTS: dict[str, tuple[str, str, int, str]] = {
    "a bracket that closes another": (
        "[wer,",
        "{wer,",
        10,
        "is not YAML: while parsing a flow mapping, expected ',' or '}', but got ']'",
    ),
    "a tab": ("  syn", "\tsyn", 3, "start any token; indent with spaces, not tabs"),
    "a second document": ("forbid: []", "---", 13, "is not YAML: expected a single document"),
    "an alias of nothing": ("[]", "*f", 13, "is not YAML: found undefined alias 'f'"),
    "a Python object": ("tiny", "!!python/name:os.system", 1, "is not YAML: could not determine"),
    "an anchor inside itself": (
        "[]",
        "&f [*f]",
        13,
        "forbid.0: refers to itself; write the values",
    ),
    "a key given twice": ("forbid: []", "name: other", 13, "name: is given twice"),
    "a list": (SPACE, "- name: tiny\n", 1, NO_MAPPING),
    "nothing": (SPACE, "", 1, NO_MAPPING),
    "only a remark": (SPACE, "# tiny\n", 1, NO_MAPPING),
    "an unknown key": ("search:", "serach:", 16, 'serach: unknown key; did you mean "search"?'),
    "a key like none": ("trials", "xyz", 17, "search.xyz: unknown key; known: sampler, trials,"),
    "a key that is a number": ("forbid: []", "3: 4", 13, "3: 3: keys should be strings"),
    "an unknown key of the teacher": (
        "{}",
        "{trainig: {epochs: 3}}",
        5,
        'teacher.train.trainig: unknown key; did you mean "training"?',
    ),
    "an unknown family": (
        "separable_conv:",
        "seperable_conv:",
        7,
        'students.seperable_conv: unknown student family; did you mean "separable_conv"?',
    ),
    "a teacher of no family": (
        "{}",
        "{student: {channels: 64}}",
        5,
        "teacher.train.student: needs family: one of separable_conv, conformer,",
    ),
    "a teacher of an unknown family": (
        "{}",
        "{student: {family: confomer}}",
        5,
        'teacher.train.student: unknown student family; did you mean "conformer"?',
    ),
    "a family that lists its axes": (
        "    channels: [32, 64]\n    kernel: 11",
        "    - channels",
        7,
        "students.separable_conv: holds the axes of the family, one a line: `channels: [64, 128]`",
    ),
    "students without a family": (
        STUDENTS,
        "students: {}\n",
        6,
        "students: is empty: it needs at least one",
    ),
    "a list of students": (
        STUDENTS,
        "students: [separable_conv]\n",
        6,
        "students: is no mapping of keys",
    ),
    "an unknown axis": ("channels:", "chanels:", 8, 'unknown axis; did you mean "channels"?'),
    "low above high": (AXIS, "{int: [64, 32]}", 8, f"{CHANNELS}: low 64 is above high 32"),
    "a logarithm from 0": (
        AXIS,
        "{int: [0, 64], log: true}",
        8,
        f"{CHANNELS}: a logarithmic range starts above 0, not at 0",
    ),
    "text in a range of whole numbers": (
        AXIS,
        "{int: [few, many]}",
        8,
        f"{CHANNELS}: int: needs two whole numbers, [low, high], not ['few', 'many']",
    ),
    "real numbers for a whole one": (
        AXIS,
        "{float: [32, 64]}",
        8,
        f"{CHANNELS}: takes whole numbers: write {{int: [low, high]}}",
    ),
    "a range of two kinds": (
        AXIS,
        "{int: [32, 64], choice: [32]}",
        8,
        f"{CHANNELS}: an axis has exactly one of choice:, int: or float:",
    ),
    "a step of 0": (AXIS, "{int: [32, 64], step: 0}", 8, "step: is a number above 0, not 0"),
    "NaN": (AXIS, "[32, .nan]", 8, f"{CHANNELS}: nan is not a finite number"),
    "an empty list": (AXIS, "[]", 8, f"{CHANNELS}: a choice needs a list of at least one value"),
    "a choice given twice": (AXIS, "[32, 32]", 8, "the choice [32, 32] names a value twice"),
    "an empty axis": (AXIS, "", 8, f"{CHANNELS}: is empty: write a value, a list of values, or"),
    "text for a number": (AXIS, "[wide]", 8, f"{CHANNELS}: 'wide': input should be a valid"),
    "a network too wide": (AXIS, "[9999]", 8, "9999: input should be less than or equal to 2048"),
    "an even kernel": (
        "kernel: 11",
        "kernel: {int: [9, 15]}",
        9,
        "kernel: a kernel is an odd number of frames (with a range: odd low, step 2)",
    ),
    "epochs below 0": (
        "forbid: []",
        "training: {epochs: -3}",
        13,
        "training.epochs: -3: input should be greater than or equal to 1",
    ),
    "all of a network pruned": (
        "forbid: []",
        "prune: {ratio: [0, 1]}",
        13,
        "prune.ratio: 1: input should be less than 0.95",
    ),
    "an unknown number format": (
        "forbid: []",
        "quantize: {scheme: int7}",
        13,
        "quantize.scheme: 'int7' is no number format (known: fp32, fp16, int8, int8_dynamic,",
    ),
    "an unknown objective": ("[wer", "[wre", 10, '"wre" is no metric; did you mean "wer"?'),
    "an objective twice": ("[wer", "[size_mb", 10, "objectives: names size_mb twice"),
    "an objective on an unknown target": (
        "latency_p95_ms",
        "latency_p95_ms@pi5",
        10,
        "objectives.1: latency_p95_ms@pi5: no target pi5 (targets: cpu)",
    ),
    "a budget on an unknown target": (
        "  size_mb",
        "  rtf@pi5",
        12,
        "budgets.rtf@pi5: rtf@pi5: no target pi5 (targets: cpu)",
    ),
    "a budget on no metric": (
        "  size_mb",
        "  size_gb",
        12,
        'budgets.size_gb: "size_gb" is no metric; did you mean "size_mb"?',
    ),
    "a budget from the wrong side": (
        "<= 5",
        ">= 5",
        12,
        f"budgets.size_mb: '>= 5' limits size_mb from the wrong side: {LIMIT}",
    ),
    "a budget that is none": (
        '"<= 5"',
        "small",
        12,
        f"budgets.size_mb: 'small' is no budget: {LIMIT}",
    ),
    "synthetic and own data": (
        SYNTHETIC,
        f"{SYNTHETIC}\n  train: a.jsonl\n  dev: b.jsonl",
        2,
        "data: give either synthetic: or train: and dev:, not both",
    ),
    "no data": (
        SYNTHETIC,
        "  speeds: [1.0]",
        2,
        "data: needs train: and dev: (or synthetic: {} for the embedded corpus)",
    ),
    "a corpus of 3": (
        "rances: 20",
        "rances: 3",
        3,
        "data.synthetic.train_utterances: 3: input should be greater than or equal to 20",
    ),
    "two teachers": (
        "  train: {}",
        "  train: {}\n  checkpoint: teacher.safetensors",
        4,
        f"teacher: {ONE_TEACHER} train and checkpoint",
    ),
    "a teacher of no kind": (
        "teacher:\n  train: {}",
        "teacher: {}",
        4,
        f"teacher: {ONE_TEACHER} none",
    ),
    "no teacher": ("teacher:\n  train: {}\n", "", 1, "teacher: is missing"),
    "a teacher left empty": (
        "teacher:\n  train: {}",
        "teacher:",
        4,
        "teacher: is no mapping of keys; known: train, checkpoint, onnx, tokens, huggingface,",
    ),
    "an ONNX teacher without tokens": (
        "train: {}",
        "onnx: teacher.onnx",
        4,
        "teacher: onnx: and tokens: (its tokens.txt) go together",
    ),
    "a rule on an unknown axis": (
        "[]",
        "[{chanels: 32}]",
        13,
        'forbid.0.chanels: unknown axis; did you mean "channels"?',
    ),
    "rules that forbid everything": (
        "[]",
        "[{family: separable_conv}]",
        13,
        "forbid: forbids every recipe of the space; take a rule out",
    ),
    "an unknown backend": (
        "onnxruntime",
        "onxruntime",
        15,
        'targets.cpu.backend: no backend "onxruntime"; did you mean "onnxruntime"?',
    ),
    "a backend like none": (
        "onnxruntime",
        "zzz",
        15,
        'targets.cpu.backend: no backend "zzz"; known: onnxruntime, openvino, litert,',
    ),
    "a setting of another backend": (
        "onnxruntime, threads: 1",
        "openvino, spinning: true",
        15,
        "targets.cpu: spinning: no setting of openvino (its own: precision)",
    ),
    "a family that its target cannot run": (
        "    channels: [32, 64]\n    kernel: 11\nobjectives: [wer, latency_p95_ms, size_mb]\n"
        'budgets:\n  size_mb: "<= 5"\nforbid: []\ntargets:\n  cpu: {backend: onnxruntime',
        "    channels: [32]\n  recurrent: {}\ntargets:\n  cpu: {backend: litert",
        9,
        "students.recurrent: no target combination runs it (cpu: litert does not run recurrent); "
        "take the family, the format or the target out",
    ),
    "an agent without its token": (
        "threads: 1",
        'agent: "https://pi5:8765"',
        15,
        "targets.cpu: agent: (its address) and token_env: (the variable with its token) go",
    ),
    "an agent over the open net": (
        "threads: 1",
        'agent: "http://pi5:8765", token_env: PI5',
        15,
        "targets.cpu.agent: 'http://pi5:8765': would send the token in the clear; use https://",
    ),
    "a token in the address": (
        "threads: 1",
        'agent: "https://me:secret@pi5:8765", token_env: PI5',
        15,
        "is an address alone; the token comes from token_env",
    ),
    "a gate from the wrong side": (
        "forbid: []",
        'gate: {qoi: "<= 0.95"}',
        13,
        "gate.qoi: '<= 0.95': write \">= 0.95\", or true for just that",
    ),
    "an unknown gate": (
        "forbid: []",
        "gate: {empty: true}",
        13,
        'gate.empty: unknown key; did you mean "empty_output"?',
    ),
    "a gate against nothing": (
        "forbid: []",
        "gate: {regression: {}}",
        13,
        "gate.regression.against: is missing",
    ),
    "a target's name with a space": (
        "cpu:",
        "my pc:",
        14,
        "targets: 'my pc': a target's name is letters, digits, - and _",
    ),
    "a name with a slash": (
        "tiny",
        "a/b",
        1,
        'name: "a/b" is no name: a letter or digit, then up to 63 letters, digits, ".", "-" or "_"',
    ),
    "no trials": ("trials: 2", "trials: 0", 17, "search.trials: 0: input should be greater than"),
    "a seed too large": (
        "trials: 2",
        "seed: 3000000000",
        17,
        "search.seed: 3000000000: input should be less than 2147483648",
    ),
    "pieces without their number": (
        "forbid: []",
        "tokens: {kind: bpe}",
        13,
        "tokens: kind: bpe needs vocabulary:, the number of pieces",
    ),
}


@pytest.mark.parametrize("kind", SPACE_FAULTS)
def test_a_fault_of_a_space_is_told_with_its_line(
    refused: Refused, tmp_path: Path, kind: str
) -> None:
    old, new, line, said = SPACE_FAULTS[kind]
    assert old in SPACE
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE.replace(old, new))
    text = refused("validate", path, "--quick")
    start = f"{path}: 1 fault; nothing was started\n  {path}:{line}: "
    assert start in text
    assert said in text.partition(start)[2]


def test_all_faults_of_a_space_are_in_one_message(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    text = SPACE
    for change in (
        ("channels:", "chanels:"),
        ("kernel: 11", "kernel: 10"),
        ("[wer", "[wre"),
        ("<= 5", ">= 5"),
        ("threads: 1", "threads: 0"),
        ("trials:", "trails:"),
    ):
        text = text.replace(*change)
    path.write_text(text)
    said = refused("validate", path, "--quick")
    assert f"{path}: 6 faults; nothing was started" in said
    for fault in (
        '8: students.separable_conv.chanels: unknown axis; did you mean "channels"?',
        "9: students.separable_conv.kernel: a kernel is an odd number of frames",
        '10: objectives.0: "wre" is no metric; did you mean "wer"?',
        f"12: budgets.size_mb: '>= 5' limits size_mb from the wrong side: {LIMIT}",
        "15: targets.cpu.threads: 0: input should be greater than or equal to 1",
        '17: search.trails: unknown key; did you mean "trials"?',
    ):
        assert f"\n  {path}:{fault}" in said


def test_aliases_that_multiply_are_refused_at_once(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for a, b in itertools.pairwise("abcdefghi"):
        lines.append(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]")
    path.write_text("\n".join(lines))
    said = refused("validate", path, "--quick")
    assert f"{path}:5: e: its aliases stand for more than 100,000 values; write the values" in said


SHIPPED = "shipped spaces: an4.yaml, edge.yaml, quickstart.yaml"
NO_SPACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, f": no such file; {SHIPPED}"),
    "a folder": (Path.mkdir, f": is a folder, not a file; {SHIPPED}"),
    "empty": (Path.touch, f":1: {NO_MAPPING}"),
    "not UTF-8": (
        lambda path: path.write_bytes(b"name: tiny\ndescription: caf\xe9\n"),
        ":2: is not UTF-8 text; save it as UTF-8",
    ),
    "binary": (
        lambda path: path.write_bytes(b"name: \0\1\2"),
        ":1: is not YAML: unacceptable character #x0000",
    ),
    "a megabyte": (
        lambda path: path.write_text("#" * 1_100_000),
        ": is 1,100,000 bytes: no space file",
    ),
}


@pytest.mark.parametrize("command", ["validate", "launch"])
@pytest.mark.parametrize("kind", NO_SPACES)
def test_a_file_that_is_no_space_is_refused(
    refused: Refused, tmp_path: Path, home: Path, kind: str, command: str
) -> None:
    make, said = NO_SPACES[kind]
    path = tmp_path / "tiny.yaml"
    make(path)
    call = ("validate", path) if command == "validate" else ("launch", "--space", path)
    assert f"{path}: 1 fault; nothing was started\n  {path}{said}" in refused("--home", home, *call)
    assert not home.exists()


def test_a_shipped_space_misspelt_is_suggested(refused: Refused) -> None:
    said = refused("validate", "quikstart.yaml")
    assert (
        'no such file (did you mean the shipped space "quickstart.yaml"?); shipped spaces:' in said
    )


def test_the_process_itself_ends_with_2_and_complains_on_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE.replace("trials:", "trails:"))
    done = subprocess.run(
        [sys.executable, "-c", "from search.cli import main; main()", "validate", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"search: {path}: 1 fault; nothing was started\n"
        f'  {path}:17: search.trails: unknown key; did you mean "trials"?\n'
    )


# data

N_GOOD = 4  # lines of the good train list; what is added lies on the line after


def noise(seconds: float, seed: int) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16_000)) * 0.1
    return samples.astype(np.float32)


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good recordings and every kind of bad one."""
    folder = tmp_path_factory.mktemp("audio")
    for i in range(N_GOOD):
        soundfile.write(folder / f"train{i}.wav", noise(1, i), 16_000)
    for i in range(2):
        soundfile.write(folder / f"dev{i}.wav", noise(1, 10 + i), 16_000)
    for name, samples in {
        "silent": np.zeros(16_000, np.float32),
        "nan": np.where(np.arange(16_000) == 5, np.nan, noise(1, 20)).astype(np.float32),
        "short": noise(0.03, 21),
        "brief": noise(0.1, 22),
        "long": noise(1.5, 23),
        "none": np.zeros(0, np.float32),
    }.items():
        soundfile.write(folder / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    whole = (folder / "train0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "train0.raw").write_bytes(whole)
    soundfile.write(folder / "cut.flac", noise(1, 24), 16_000)
    flac = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    (folder / "empty.wav").touch()
    (folder / "words.wav").write_text("these are words, not sounds")
    (folder / "folder.wav").mkdir()
    return folder


Row = dict[str, object] | str


class Corpus:
    """A space on lists of its own, in a folder of its own."""

    def __init__(self, folder: Path, audio: Path) -> None:
        self.folder, self.audio = folder, audio
        self.train, self.dev = folder / "train.jsonl", folder / "dev.jsonl"
        self.write(self.train, *(self.row(f"train{i}.wav") for i in range(N_GOOD)))
        self.write(self.dev, *(self.row(f"dev{i}.wav") for i in range(2)))

    def row(self, name: str = "train0.wav", text: object = "ab ba", **more: object) -> Row:
        return {"audio_filepath": str(self.audio / name), "text": text, **more}

    def write(self, path: Path, *rows: Row) -> None:
        lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, path: Path, *rows: Row) -> None:
        """Write more lines below those of a list."""
        before = path.read_text().splitlines()
        self.write(path, *before, *rows)

    def space(
        self, train: Path | None = None, more: str = "", teacher: str = "train: {}", end: str = ""
    ) -> Path:
        path = self.folder / "mine.yaml"
        path.write_text(
            f"name: mine\n"
            f"data: {{train: {train or self.train}, dev: {self.dev}{more}}}\n"
            f"teacher: {{{teacher}}}\n"
            f"students: {{separable_conv: {{channels: 16, blocks: 1}}}}\n{end}"
        )
        return path


@pytest.fixture
def corpus(tmp_path: Path, audio: Path) -> Corpus:
    return Corpus(tmp_path, audio)


ADVICE = "mend them, or raise data.max_faulty (now 1.00% of a split)"
BAD_ROWS: dict[str, tuple[Callable[[Corpus], Row], str]] = {
    "no JSON": (lambda c: '{"text": oops}', "is not JSON: Expecting value"),
    "a number without end": (lambda c: "1" * 5000, "is not JSON: Exceeds the limit"),
    "JSON but no object": (lambda c: '["train0.wav", "ab"]', "is not a JSON object"),
    "no text": (lambda c: {"audio_filepath": "a.wav"}, 'has no "text"'),
    "a number for a text": (lambda c: c.row(text=5), 'has no "text"'),
    "no audio": (lambda c: {"text": "ab"}, 'has no "audio_filepath"'),
    "half a character": (lambda c: c.row(text="a\ud800"), r"holds '\ud800', which is half a char"),
    "a negative length": (lambda c: c.row(duration=-1), '"duration" is -1, not a length of time'),
    "a length that is no number": (
        lambda c: c.row(duration=float("nan")),
        '"duration" is nan, not a length of time',
    ),
    "a length in words": (
        lambda c: c.row(duration="long"),
        "\"duration\" is 'long', not a number of seconds",
    ),
    "a length beyond all numbers": (
        lambda c: c.row(duration=10**400),
        '"duration" is 1000000000000000000000000000000000000000, not a length of time',
    ),
    "an offset behind the end": (
        lambda c: c.row(offset=50),
        "{audio}/train0.wav: offset 50 s lies after its end",
    ),
    "no words": (lambda c: c.row(text=" "), "its transcript is empty (train0.wav)"),
    "missing audio": (lambda c: c.row("gone.wav"), "{audio}/gone.wav: no such file"),
    "audio of a user there is not": (
        lambda c: {**c.row(), "audio_filepath": "~nobody-here/a.wav"},  # type: ignore[dict-item]
        "~nobody-here/a.wav: no such file",
    ),
    "a name too long for audio": (lambda c: c.row("x" * 300), "xxx: no such file"),
    "empty audio": (lambda c: c.row("empty.wav"), "{audio}/empty.wav: is an empty file"),
    "a folder for audio": (
        lambda c: c.row("folder.wav"),
        "{audio}/folder.wav: is a folder, not an audio file",
    ),
    "truncated WAV": (
        lambda c: c.row("cut.wav"),
        "{audio}/cut.wav: is truncated (16,022 bytes of 32,044)",
    ),
    "truncated FLAC": (
        lambda c: c.row("cut.flac"),
        "{audio}/cut.flac: is no audio that can be read (",
    ),
    "text named .wav": (
        lambda c: c.row("words.wav"),
        "{audio}/words.wav: is no audio that can be read (Format not recognised)",
    ),
    "samples without a rate": (
        lambda c: c.row("train0.raw"),
        "{audio}/train0.raw: is raw samples without a rate; write it as WAV",
    ),
    "silence": (
        lambda c: c.row("silent.wav"),
        "{audio}/silent.wav: is silent (peak below -70 dB)",
    ),
    "samples that are no numbers": (
        lambda c: c.row("nan.wav"),
        "{audio}/nan.wav: holds samples that are not finite (NaN or infinity)",
    ),
    "no samples": (lambda c: c.row("none.wav"), "{audio}/none.wav: holds no samples"),
    "30 ms": (lambda c: c.row("short.wav"), "{audio}/short.wav: lasts 30 ms; too short"),
    "audio shorter than listed": (
        lambda c: c.row(duration=5),
        "{audio}/train0.wav: is truncated (1.00 s of the 5 s listed)",
    ),
    "audio longer than allowed": (
        lambda c: c.row("long.wav"),
        "{audio}/long.wav: lasts 1.5 s, above data.max_duration_s (1.2 s)",
    ),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_faulty_line_of_a_list_is_told_with_its_number(
    refused: Refused, home: Path, corpus: Corpus, kind: str
) -> None:
    make, fault = BAD_ROWS[kind]
    corpus.add(corpus.train, make(corpus))
    said = refused("--home", home, "validate", corpus.space(more=", max_duration_s: 1.2"))
    place = f"  {corpus.train}:{N_GOOD + 1}: "
    assert place in said
    assert fault.format(audio=corpus.audio) in said.partition(place)[2].splitlines()[0]
    assert f"1 fault:\n{place}" in said
    assert f"REFUSED: 1 of 5 items of train are faulty; {ADVICE}" in said


def test_all_faults_of_the_data_are_in_one_report(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, "{", corpus.row("gone.wav"), corpus.row(text=""))
    corpus.add(corpus.dev, corpus.row("silent.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert "4 faults:" in said
    for place in (f"{corpus.train}:5", f"{corpus.train}:6", f"{corpus.train}:7", f"{corpus.dev}:3"):
        assert f"\n  {place}: " in said
    refusal = "3 of 7 items of train are faulty; 1 of 3 items of dev are faulty"
    assert f"REFUSED: {refusal}; {ADVICE}" in said


def test_a_list_without_one_good_line_is_refused_without_further_complaints(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.write(corpus.train, corpus.row("gone.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert "1 fault:" in said
    assert "REFUSED: 1 of 1 items of train are faulty; train holds no usable utterance" in said


def test_audio_too_short_for_its_transcript_is_told(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, corpus.row("brief.wav", "ab ba ab ba ab ba"))
    said = refused("--home", home, "validate", corpus.space())
    assert (
        f"{corpus.train}:5: brief.wav lasts 0.10 s (2 output steps), too short for the 17 "
        "tokens of its transcript"
    ) in said
    assert f"REFUSED: 1 of 5 transcripts of train do not fit the tokens; {ADVICE}" in said


@pytest.mark.parametrize(
    ("tokens", "fault"),
    [
        ("characters", "character 'z' is not in the token set, which is made from the transcripts"),
        (
            "words",
            "word 'zoo' is not in the token set, which is made from the transcripts of train",
        ),
    ],
)
def test_what_only_dev_says_is_told(
    refused: Refused, home: Path, corpus: Corpus, tokens: str, fault: str
) -> None:
    corpus.add(corpus.dev, corpus.row("dev0.wav", "zoo"))
    space = corpus.space(end=f"tokens: {{kind: {tokens}}}\n")
    said = refused("--home", home, "validate", space)
    assert f"{corpus.dev}:3: {fault}" in said
    assert f"REFUSED: 1 of 3 transcripts of dev do not fit the tokens; {ADVICE}" in said


def test_more_pieces_than_the_transcripts_hold_are_refused(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end="tokens: {kind: bpe, vocabulary: 5000}\n")
    said = refused("--home", home, "validate", space)
    assert (
        "tokens: no 5000 pieces can be made of these transcripts (Vocabulary size too high" in said
    )


def test_an_utterance_in_train_and_dev_is_told(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.dev, corpus.row("train2.wav"))
    said = refused("--home", home, "validate", corpus.space())
    assert f"{corpus.train}:3: the same utterance is in dev ({corpus.dev}:3)" in said
    assert f"REFUSED: 1 utterances are in train and dev; {ADVICE}" in said


def test_a_speaker_in_train_and_dev_is_told(refused: Refused, home: Path, corpus: Corpus) -> None:
    corpus.write(corpus.train, *(corpus.row(f"train{i}.wav", speaker="ann") for i in range(N_GOOD)))
    corpus.write(corpus.dev, *(corpus.row(f"dev{i}.wav", speaker="ann") for i in range(2)))
    said = refused("--home", home, "validate", corpus.space())
    assert "  speaker ann: in train (4 utterances) and in dev (2)" in said
    assert "REFUSED: 1 speakers are in train and dev (if that is meant: data.allow_shared_s" in said


# name of the list, what is in it, keys of the space, what is said of it
BAD_LISTS: dict[str, tuple[str, bytes | None, str, str]] = {
    "missing": (
        "gone.jsonl",
        None,
        "",
        ": no such file or folder (data.train and data.dev are relative to the space)",
    ),
    "empty": ("list.jsonl", b"", "", ": holds no utterances"),
    "blank lines": ("list.jsonl", b"\n \n", "", ": holds no utterances"),
    "not UTF-8": ("list.jsonl", b"\n{\xff}\n", "", ":2: is not UTF-8 text; save it as UTF-8"),
    "an unknown format": (
        "list.txt",
        b"a ab\n",
        "",
        ": of what format? Name it .jsonl, .csv or .tsv, or set format: in the space",
    ),
    "a file for a folder": (
        "list.jsonl",
        b"{}",
        ", format: timit",
        ": is a file, which format: timit does not read",
    ),
    "CSV of other columns": (
        "list.csv",
        b"sound,words\na.wav,ab\n",
        "",
        ":1: has no column 'path or audio_filepath or audio or file or filename or wav' for the "
        "audio; its columns are sound, words; name it by data.audio_column",
    ),
    "CSV without the column named": (
        "list.csv",
        b"path,sentence\na.wav,ab\n",
        ", text_column: words",
        ":1: has no column 'words' for the text; its columns are path, sentence; name it by "
        "data.text_column",
    ),
    "CSV without the speakers named": (
        "list.csv",
        b"path,sentence\na.wav,ab\n",
        ", speaker_column: who",
        ":1: has no column 'who' for the speaker; its columns are path, sentence; name it by "
        "data.speaker_column",
    ),
    "CSV with a short line": (
        "list.csv",
        b"path,sentence\na.wav\n",
        "",
        ":2: has 2 columns in its header but fewer here",
    ),
    "CSV with only a header": ("list.csv", b"path,sentence\n", "", ": holds no utterances"),
    "CSV without a header": ("list.csv", b"", "", ": holds no utterances"),
    "CSV of one endless field": (
        "list.csv",
        b"x" * 200_000,
        "",
        ":1: field larger than field limit (131072)",
    ),
}


@pytest.mark.parametrize("kind", BAD_LISTS)
def test_a_list_that_cannot_be_read_is_told(
    refused: Refused, home: Path, corpus: Corpus, kind: str
) -> None:
    name, content, keys, fault = BAD_LISTS[kind]
    path = corpus.folder / name
    if content is not None:
        path.write_bytes(content)
    said = refused("--home", home, "validate", corpus.space(train=path, more=keys))
    assert f"{path}{fault}" in said


def test_a_folder_without_transcripts_is_told(refused: Refused, home: Path, corpus: Corpus) -> None:
    said = refused("--home", home, "validate", corpus.space(train=corpus.audio))
    assert (
        f"{corpus.audio}: is neither a LibriSpeech folder (*.trans.txt) nor a TIMIT folder (*.TXT "
        "beside each *.WAV)"
    ) in said


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("1/2/1-2.trans.txt", "1-2-0001 AB BA\n", "1-2-0001.flac: no such file"),
        ("dr1/ann/sa1.txt", "0 16000 ab ba.\n", "has no audio file of the same name beside it"),
    ],
    ids=["LibriSpeech", "TIMIT"],
)
def test_a_transcript_without_its_audio_is_told(
    refused: Refused, home: Path, corpus: Corpus, name: str, content: str, fault: str
) -> None:
    path = corpus.folder / "corpus" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    said = refused("--home", home, "validate", corpus.space(train=corpus.folder / "corpus"))
    assert f"{path}:1: " in said
    assert fault in said


def test_launch_refuses_bad_data_as_validate_does_and_goes_on_when_they_are_mended(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, corpus.row("gone.wav"))
    launch = ("--home", home, "launch", "--plain", "--space")
    said = refused(*launch, corpus.space())
    assert f"the data is refused: 1 of 5 items of train are faulty; {ADVICE}" in said
    assert f"1 fault:\n  {corpus.train}:5: {corpus.audio}/gone.wav: no such file" in said
    # the advice is taken: now it is something else that is wrong, not that the space has changed
    corpus.add(corpus.dev, corpus.row("train0.wav"))
    said = refused(*launch, corpus.space(more=", max_faulty: 0.3"))
    assert "the data is refused: 1 utterances are in train and dev; mend them, or raise" in said
    assert "differs from what study" not in said


# teachers


def write_onnx(path: Path, n_mels: int = 80, n_symbols: int = 3, has_lengths: bool = True) -> None:
    """A model in the contract of the exports: every fourth frame, its first mel bins."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", n_mels])
    lengths = helper.make_tensor_value_info("x_lens", TensorProto.INT64, ["N"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "S", n_symbols])
    numbers = {"starts": [0, 0], "ends": [2**31, n_symbols], "axes": [1, 2], "steps": [4, 1]}
    constants = [helper.make_tensor(k, TensorProto.INT64, [2], v) for k, v in numbers.items()]
    graph = helper.make_graph(
        [helper.make_node("Slice", ["x", *numbers], ["y"])],
        "tiny",
        [x, lengths] if has_lengths else [x],
        [y],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def write_tokens(path: Path, *symbols: str) -> None:
    path.write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)), encoding="utf-8")


@pytest.fixture(scope="session")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of file that is no teacher."""
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
    return folder


def onnx_teacher(model: str, tokens: str = "good") -> str:
    return f"onnx: {{folder}}/{model}.onnx, tokens: {{folder}}/{tokens}.txt"


BAD_TEACHERS = {
    "a missing checkpoint": (
        "checkpoint: {folder}/gone.safetensors",
        "{folder}/gone.safetensors: no such checkpoint",
    ),
    "no safetensors": (
        "checkpoint: {folder}/junk.safetensors",
        "{folder}/junk.safetensors: is no safetensors checkpoint (",
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
    assert f"teacher: {fault.format(folder=teachers)}" in said
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


# arguments


EDGE = "launch --space edge.yaml"
SENSELESS = {
    "launhc --space edge.yaml": 'No command "launhc". Did you mean "launch"?',
    "train": "Try 'search --help' for help.\n\nError: No command \"train\".",
    "--stoer x status": "No such option '--stoer'. (Did you mean one of: '--home', '--store'?)",
    "launch --sapce edge.yaml": "No such option '--sapce'. (Did you mean one of: ",
    "launch": "Error: Missing option '--space'.",
    "launch --space": "Error: Option '--space' requires an argument.",
    f"{EDGE} more": "Error: Got unexpected extra argument (more)",
    f"{EDGE} --trials 0": "Invalid value for '--trials': 0 is not in the range x>=1.",
    f"{EDGE} --trials few": "Invalid value for '--trials': 'few' is not a valid integer range.",
    f"{EDGE} --sampler x": "Invalid value for '--sampler': 'x' is not one of 'tpe', 'nsga2',",
    f"{EDGE} --hours 0": "Invalid value for '--hours': 0.0 is not in the range x>0.",
    f"{EDGE} --hours 1e9": "--hours 1000000000.0: input should be less than or equal to 10000",
    f"{EDGE} --hours nan": "--hours nan: input should be",
    f"{EDGE} --parallel 999": "--parallel 999: input should be less than or equal to 256",
    f"{EDGE} --seed -1": "--seed -1: input should be greater than or equal to 0",
    f"{EDGE} --study ../x": '--study: "../x" is no name: a letter or digit, then up to 63',
    f"{EDGE} --study ''": '--study: "" is no name: a letter or digit, then up to 63 letters,',
    "validate": "Error: Missing argument 'SPACE'.",
    "compare 0": "Error: Missing argument 'B'.",
    "measure tiny --trial x": "Invalid value for '--trial': 'x' is not a valid integer range.",
    "devices chekc": "No such command 'chekc'.",
    "devices calibrate gpu --space edge.yaml": 'no target "gpu" (targets: cpu)',
    "backends install": "Error: Missing argument 'NAMES...'.",
    "backends install onnxruntim": 'no backend "onnxruntim"; did you mean "onnxruntime"?',
    "backends install torch zzz": 'no backend "zzz"; known: onnxruntime, openvino, litert, ncnn,',
    "export": "Error: Missing argument 'OUT'.",
    "transcribe student": "Error: Missing argument 'AUDIO...'.",
    "extend": "Error: Missing option '--trials'.",
}


@pytest.mark.parametrize("line", SENSELESS)
def test_a_command_line_that_makes_no_sense_is_refused(
    refused: Refused, home: Path, line: str
) -> None:
    assert SENSELESS[line] in refused("--home", home, *shlex.split(line))
    assert not home.exists()


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "front",
        "show 0",
        "export student --best wer",
        "stop",
        "cancel 0",
        "extend --trials 2",
        "compare 0 1",
        "measure",
        "devices list",
        "devices check --study tiny",
    ],
)
def test_where_nothing_was_launched_the_command_that_launches_is_told(
    refused: Refused, home: Path, line: str
) -> None:
    assert (
        f"no studies in {home} yet; start one with `search launch --space quickstart.yaml`, "
        "or name another place with --home"
    ) in refused("--home", home, *shlex.split(line))


BAD_STORES = {
    "nonsense": '"nonsense" is no database URL; write sqlite:///path/store.sqlite or postgresql:',
    "mysql://me@host/name": "mysql: the store is SQLite or PostgreSQL",
    "sqlite:///folder": "the store sqlite:///folder cannot be opened: unable to open database file",
    "sqlite:///text": "the store sqlite:///text cannot be opened: file is not a database",
    "sqlite:///gone/store.sqlite": "no studies in gone yet; start one with `search launch --space",
}


@pytest.mark.parametrize("url", BAD_STORES)
def test_a_store_that_cannot_be_opened_is_told(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("text").write_text("this is no database " * 100)
    assert BAD_STORES[url] in refused("--store", url, "status")


def test_a_server_that_does_not_answer_is_told_without_the_password(
    refused: Refused, home: Path
) -> None:
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    said = refused("--home", home, "--store", "postgresql://me:secret@127.0.0.1:1/name", "status")
    assert "me:***@127.0.0.1:1/name cannot be opened: connection failed" in said
    assert said.rstrip().endswith("; is the server running?")
    assert "secret" not in said


def test_artifacts_of_an_unknown_kind_of_place_are_refused(refused: Refused, home: Path) -> None:
    call = ("--artifacts", "nowhere://bucket", "launch", "--space", "quickstart.yaml")
    assert "artifacts nowhere://bucket: Protocol not known: nowhere" in refused(
        "--home", home, *call
    )


def test_a_home_that_is_a_file_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert f"Directory '{path}' is a file." in refused("--home", path, "status")
    said = refused("--home", path / "home", "launch", "--space", "quickstart.yaml")
    assert f"{path}/home/locks: Not a directory" in said


NOTHING_INITED = {
    "there.yaml": "there.yaml exists already; choose another name or give --overwrite",
    "mine.txt": "mine.txt: a space file ends in .yaml",
    "folder.yaml": "File 'folder.yaml' is a directory.",
    "mine.yaml --like egde": 'egde: no such file (did you mean the shipped space "edge.yaml"?)',
    "mine.yaml --like there.yaml": f"there.yaml:1: {NO_MAPPING}",
}


@pytest.mark.parametrize("line", NOTHING_INITED)
def test_init_says_why_it_writes_nothing(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").write_text("mine")
    Path("folder.yaml").mkdir()
    assert NOTHING_INITED[line] in refused("init", *line.split())
    assert Path("there.yaml").read_text() == "mine"
    assert not Path("mine.yaml").exists()


# studies

TRIALS = (
    (TrialState.COMPLETE, {"wer": 0.1, "latency_p95_ms": 5.0, "size_mb": 1.0}, None),
    (TrialState.SCREENED_OUT, {"size_mb": 9.0}, "breaks size_mb <= 5 (is 9)"),
    (TrialState.FAILED, {}, "train: its process was ended by SIGKILL"),
    (TrialState.RUNNING, {}, None),
)


@pytest.fixture(scope="session")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one study, written straight into the store; beside it, its space."""
    home = tmp_path_factory.mktemp("studied")
    path = home / "tiny.yaml"
    path.write_text(SPACE)
    store = Store(f"sqlite:///{home}/store.sqlite")
    study = store.studies.create(
        name="tiny",
        space_yaml=SPACE,
        space_path=str(path),
        space_digest="0" * 64,
        seed=0,
        deterministic=False,
        trials_wanted=len(TRIALS),
    )
    store.studies.change(study.id, state=StudyState.FINISHED)
    recipe = Recipe(student=SeparableConv(channels=32))
    for number, (state, metrics, reason) in enumerate(TRIALS):
        trial = store.trials.add(
            study.id,
            number=number,
            values={"family": "separable_conv"},
            recipe=recipe.model_dump(mode="json"),
            recipe_digest=recipe.digest(),
            source="expert",
        )
        store.trials.save(trial.evolve(state=state, metrics=metrics, reason=reason))
    store.close()
    return home


BEST, TRIAL = "export out --best wer", "export out --trial"
NO_STUDY = 'no study "tyni" in this store; it holds: tiny'
WHICH_STUDENT = "name the student: either --trial NUMBER or --best METRIC"
EXAMPLE = 'is no condition; write for example "size_mb<=15 and latency_p95_ms<=50"'
NOT_GIVEN = {
    "status tyni": NO_STUDY,
    "front tyni": NO_STUDY,
    f"{BEST} --study tyni": NO_STUDY,
    "stop": 'study "tiny" is finished, not running; continue it with `search launch`',
    "show 99": "the study has no trial 99; it has trials 0 to 3",
    "show abc": 'TRIAL: "abc" is no whole number',
    "cancel 0": "trial 0 is complete already",
    "extend --trials 0": "Invalid value for '--trials': 0 is not in the range x>=1.",
    "export out": WHICH_STUDENT,
    f"{BEST} --trial 0": WHICH_STUDENT,
    f"{TRIAL} 99": "the study has no trial 99; it has trials 0 to 3",
    f"{TRIAL} abc": '--trial: "abc" is no whole number',
    f"{TRIAL} -1": "--trial: -1 is below 0",
    f"{TRIAL} 1": (
        "trial 1 is screened out (breaks size_mb <= 5 (is 9)); only a measured one can be "
        "exported: `search front tiny` lists the best"
    ),
    f"{TRIAL} 2": "trial 2 is failed (train: its process was ended by SIGKILL); only a measured",
    f"{TRIAL} 3": "trial 3 is running; only a measured one can be exported: `search front tiny`",
    f"{TRIAL} 0 --where 'rtf<1'": "--where goes with --best",
    "export out --best wre": '"wre" is no metric; did you mean "wer"?',
    "export out --best cer": (
        "cer was not measured in this study (measured: wer, latency_p95_ms, size_mb)"
    ),
    f"{BEST} --where 'small, please'": f'--where: "small" {EXAMPLE}',
    f"{BEST} --where 'size_gb<=1'": '"size_gb" is no metric; did you mean "size_mb"?',
    f"{BEST} --where 'size_mb<=1.2.3'": '--where: "1.2.3" is no number',
    f"{BEST} --where 'size_mb<=0.5'": ("no complete trial meets size_mb<=0.5 (size_mb: best is 1)"),
    f"{BEST} --where 'rtf<1'": "no complete trial meets rtf<1 (rtf: not measured)",
    "export file --trial 0": "file exists already; choose another place or give --overwrite",
    "export folder --trial 0 --overwrite": (
        "folder is a folder but no bundle, so it stays; choose another place"
    ),
    "front --where best": f'--where: "best" {EXAMPLE}',
    "front --plot front.pdf": "--plot: front.pdf is neither .html nor .png",
    "front --plot folder": "Invalid value for '--plot': File 'folder' is a directory.",
    "front --plot gone/front.html": "gone/front.html: No such file or directory",
    f"{TRIAL} 0 --target nope": '--target: no target "nope" (targets: cpu)',
    f"{TRIAL} 0 --target cpu": "it has no exported file",
    "measure tyni": NO_STUDY,
    "measure --trial 99": "trial 99: not measured yet, so there is nothing to take again",
    "measure --trial 0 --trial 1 --trial 3": "trial 1, 3: not measured yet, so there is nothing",
    "measure --trial -1": "Invalid value for '--trial': -1 is not in the range x>=0.",
    "compare 0 1 --study tyni": NO_STUDY,
    "compare best 1": '"best" is neither the number of a trial nor "teacher"',
    "compare teacher 99": "the study has no trial 99; it has trials 0 to 3",
    "compare teacher 1": "trial 1 is screened out: nothing of it was measured",
    "compare 0 3": "trial 0 is complete: nothing of it was measured",
    "compare teacher teacher --again --target nope": 'no target "nope" (targets: cpu)',
    "compare teacher teacher --again": (
        "the prepared data of this study are gone; `search launch` makes them"
    ),
    "devices check --study tyni": NO_STUDY,
    "devices check --space gone.yaml": "gone.yaml: no such file; shipped spaces:",
    "devices calibrate nope": 'no target "nope" (targets: cpu)',
    "status --events -1": "Invalid value for '--events': -1 is not in the range x>=0.",
}


@pytest.mark.parametrize("line", NOT_GIVEN)
def test_what_a_study_cannot_give_is_told(
    refused: Refused, studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path("file"), Path("folder/thesis.txt")
    Path("folder").mkdir()
    for path in mine:
        path.write_text("years of work")
    assert NOT_GIVEN[line] in refused("--home", studied, *shlex.split(line))
    assert not Path("out").exists()
    assert [path.read_text() for path in mine] == ["years of work"] * 2


def test_a_study_is_not_continued_with_another_space(refused: Refused, studied: Path) -> None:
    path = studied / "changed.yaml"
    path.write_text(SPACE.replace("[32, 64]", "[32, 96]"))
    said = refused("--home", studied, "launch", "--space", path)
    assert f'the space {path} differs from what study "tiny" was started with' in said
    assert "give the new search a name of its own: --study NAME" in said


def test_the_only_study_needs_no_name_but_one_of_several_does(
    refused: Refused, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    for name in ("one", "two"):
        store.studies.create(
            name=name,
            space_yaml=SPACE,
            space_path="tiny.yaml",
            space_digest="0" * 64,
            seed=0,
            deterministic=False,
            trials_wanted=1,
        )
    store.close()
    assert "which study? The store holds one, two" in refused("--home", tmp_path, "front")


# targets

PI5 = 'targets: {pi5: {agent: "https://pi5.example:8765", token_env: NO_SUCH_TOKEN}}\n'
NO_TOKEN = "https://pi5.example:8765: the variable NO_SUCH_TOKEN with its token is not set"


def test_a_search_does_not_start_without_the_token_of_a_device(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end=PI5)
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert f"targets.pi5: {NO_TOKEN}" in said
    assert not home.exists()


def test_a_device_without_its_token_is_found_refused(
    home: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    space = corpus.space(end=PI5)
    assert run(["--home", str(home), "devices", "check", "--space", str(space)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("FAIL pi5 (onnxruntime on https://pi5.example:8765): refused: ")
    assert NO_TOKEN in said


def test_a_device_without_its_token_is_not_calibrated(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    space = corpus.space(end=PI5)
    said = refused("--home", home, "devices", "calibrate", "pi5", "--space", space)
    assert f"search: {NO_TOKEN}" in said


def test_faults_of_all_targets_are_told_at_once(
    refused: Refused, home: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.backends.environments.missing_modules", lambda info: ["openvino"])
    space = corpus.space(end=PI5.replace("{pi5:", "{ov: {backend: openvino}, pi5:"))
    said = refused("--home", home, "launch", "--plain", "--space", space)
    assert (
        'targets.ov: backend "openvino" needs the extra: pip install "compression-search[openvino]"'
    ) in said
    assert f"targets.pi5: {NO_TOKEN}" in said


def test_a_runtime_that_comes_along_is_not_installed_anew(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["backends", "install", "onnxruntime"]) == 0
    assert "onnxruntime: is installed" in capsys.readouterr().out
    monkeypatch.setattr("workers.backends.environments.is_installed", lambda info: False)
    assert ('backend "onnxruntime" needs no environment of its own: it comes along') in refused(
        "backends", "install", "onnxruntime"
    )
    assert (
        'backend "openvino" needs no environment of its own: pip install '
        '"compression-search[openvino]"'
    ) in refused("backends", "install", "openvino")


BASELINES = {
    "missing": (lambda p: p / "gone.zip", "{path}: no such bundle"),
    "no bundle": (lambda p: write_text(p / "b.zip", "no zip"), "{path}: is neither a bundle's"),
    "of another runtime": (
        lambda p: write_bundle(p / "b", '{"backend": "openvino", "main": "model.onnx"}'),
        "{path}: is made for openvino, not for ONNX Runtime",
    ),
}


@pytest.mark.parametrize("kind", BASELINES)
def test_a_baseline_that_cannot_be_compared_with_is_told_before_anything_starts(
    refused: Refused, home: Path, corpus: Corpus, tmp_path: Path, kind: str
) -> None:
    make, said = BASELINES[kind]
    path = make(tmp_path)
    space = corpus.space(end=f"gate: {{regression: {{against: {path}}}}}\n")
    told = refused("--home", home, "launch", "--plain", "--space", space)
    assert f"gate.regression: {said.format(path=path)}" in told
    assert not (home / "work").exists()
    # mended, the same study starts: here as far as its next fault
    space = corpus.space(train=tmp_path / "gone.jsonl")
    assert "gone.jsonl: no such file" in refused("--home", home, "launch", "--space", space)


@pytest.mark.parametrize("target", ["{backend: openvino}", "{adb: R58M123}"])
def test_a_baseline_that_no_target_can_run_is_told(
    refused: Refused, home: Path, corpus: Corpus, tmp_path: Path, target: str
) -> None:
    if "openvino" in target:
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
    path = write_bundle(tmp_path / "b")
    gate = f"gate: {{regression: {{against: {path}}}}}\nobjectives: [wer]\n"
    space = corpus.space(end=f"{gate}targets: {{x: {target}}}\n")
    told = refused("--home", home, "launch", "--plain", "--space", space)
    assert "gate.regression: no target runs ONNX Runtime, as the baseline does" in told


# bundles


def write_bundle(folder: Path, manifest: str | None = None, junk: bool = False) -> Path:
    folder.mkdir()
    write_onnx(folder / "model.onnx")
    write_tokens(folder / "tokens.txt", "<blk>", "▁a", "b")
    if junk:
        (folder / "model.onnx").write_bytes(b"junk")
    if manifest is not None:
        (folder / "bundle.json").write_text(manifest)
    return folder


def zipped(folder: Path, packing: int = zipfile.ZIP_STORED) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", packing) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


def torn(path: Path) -> Path:
    """Overwrite some bytes inside of what is packed first."""
    content = bytearray(path.read_bytes())
    content[120:140] = b"\xff" * 20
    path.write_bytes(content)
    return path


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def without_model(folder: Path, manifest: str | None = None) -> Path:
    write_bundle(folder, manifest)
    (folder / "model.onnx").unlink()
    return folder


def few_tokens(folder: Path) -> Path:
    write_bundle(folder)
    write_tokens(folder / "tokens.txt", "<blk>", "a")
    return folder


OTHER_MODEL = json.dumps({"files": {"model.onnx": "0" * 64}})
BAD_BUNDLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "gone", "{path}: no such bundle"),
    "an empty folder": (lambda p: p, "{path}: is no bundle (it holds no model.onnx)"),
    "a model alone": (
        lambda p: write_bundle(p / "b") / "model.onnx",
        "{path}: is neither a bundle's folder nor its zip (File is not a zip file)",
    ),
    "text named .zip": (
        lambda p: write_text(p / "b.zip", "no zip"),
        "{path}: is neither a bundle's folder nor its zip (File is not a zip file)",
    ),
    "a zip of something else": (
        lambda p: zipped(without_model(p / "b")),
        "{path}: is no bundle (it holds no bundle.json)",
    ),
    "a zip without its model": (
        lambda p: zipped(without_model(p / "b", "{}")),
        "{path}: is no bundle (it holds no model.onnx)",
    ),
    "a bundle of another runtime without its model": (
        lambda p: zipped(write_bundle(p / "b", '{"backend": "openvino", "main": "model.xml"}')),
        "{path}: is no bundle (it holds no model.xml)",
    ),
    "a bundle of an unknown runtime": (
        lambda p: write_bundle(p / "b", '{"backend": "opnvino"}'),
        'no backend "opnvino"; did you mean "openvino"?',
    ),
    "a bundle that names a file elsewhere": (
        lambda p: write_bundle(p / "b", '{"main": "../../etc/passwd"}'),
        "{path}: is no bundle (it holds no ../../etc/passwd)",
    ),
    "a damaged zip": (
        lambda p: torn(zipped(write_bundle(p / "b", "{}"), zipfile.ZIP_DEFLATED)),
        "{path}: is neither a bundle's folder nor its zip (",
    ),
    "a damaged model": (
        lambda p: write_bundle(p / "b", OTHER_MODEL),
        "{path}/model.onnx: is damaged: not the file this bundle was made with; copy or export it",
    ),
    "a damaged model in a zip": (
        lambda p: zipped(write_bundle(p / "b", OTHER_MODEL)),
        "{path}/model.onnx: is damaged: not the file this bundle was made with; copy or export it",
    ),
    "no model": (
        lambda p: zipped(write_bundle(p / "b", "{}", junk=True)),
        "{path}/model.onnx: ONNX Runtime cannot load it (",
    ),
    "tokens of another model": (
        lambda p: few_tokens(p / "b"),
        "model.onnx writes 3 symbols, but tokens.txt lists 2: they are not of one bundle",
    ),
    "a description that is no JSON": (
        lambda p: write_bundle(p / "b", "{"),
        "{path}/bundle.json: is not JSON (",
    ),
    "a description of something else": (
        lambda p: write_bundle(p / "b", '{"files": 3}'),
        "{path}/bundle.json: is not a bundle's description",
    ),
}


@pytest.mark.parametrize("kind", BAD_BUNDLES)
def test_what_is_no_bundle_is_told(
    refused: Refused, tmp_path: Path, audio: Path, kind: str
) -> None:
    make, said = BAD_BUNDLES[kind]
    path = make(tmp_path)
    assert said.format(path=path) in refused("transcribe", path, audio / "train0.wav")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gone.wav", "no such file"),
        ("words.wav", "is no audio that can be read (Format not recognised)"),
        ("empty.wav", "is an empty file"),
        ("cut.wav", "is truncated (16,022 bytes of 32,044)"),
        ("silent.wav", "is silent (peak below -70 dB)"),
        ("folder.wav", "is a folder, not an audio file"),
    ],
)
def test_a_recording_that_cannot_be_read_is_told_and_the_others_are_transcribed(
    refused: Refused, tmp_path: Path, audio: Path, name: str, fault: str
) -> None:
    bundle = write_bundle(tmp_path / "student")
    good = audio / "train0.wav"
    said = refused("transcribe", bundle, good, audio / name, audio / "train1.wav")
    assert f"search: {audio / name}: {fault}" in said
    assert f"{good}\t" in said
    assert f"{audio / 'train1.wav'}\t" in said
