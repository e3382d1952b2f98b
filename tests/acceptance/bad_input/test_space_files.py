"""A space file with a fault: each is told with its line, and nothing is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import LIMIT, NO_MAPPING, SPACE, Fault, Refused, assert_told_with_its_line

CHANNELS, AXIS = "students.separable_conv.channels", "[32, 64]"
STUDENTS = SPACE[SPACE.index("students:") : SPACE.index("objectives:")]
SYNTHETIC = "  synthetic: {train_utterances: 20, dev_utterances: 5, speakers: 4}"

SPACE_FAULTS: dict[str, Fault] = {
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
    "an objective of the test set": (
        "[wer,",
        "[test_wer,",
        10,
        '"test_wer" tells of the test set, which nothing is chosen by; use wer, which is of dev',
    ),
    "a budget of the test set": (
        "size_mb:",
        "test_cer:",
        12,
        '"test_cer" tells of the test set, which nothing is chosen by; use cer, which is of dev',
    ),
    "a list for the test of a spoken corpus": (
        SYNTHETIC,
        f"{SYNTHETIC}\n  test: test.jsonl",
        2,
        "test: goes with train: and dev:; synthetic: has test_utterances:",
    ),
    "no voices left for test": (
        "speakers: 4}",
        "speakers: 80, test_utterances: 5}",
        3,
        "speakers: 80 leave too few of 85 voices for test, which has voices of its own; 71 do",
    ),
    "an unknown family": (
        "separable_conv:",
        "seperable_conv:",
        7,
        'students.seperable_conv: unknown student family; did you mean "separable_conv"?',
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
        "students: is not a mapping of keys",
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
        "quantize.scheme: 'int7' is not a number format (known: fp32, fp16, int8, int8_dynamic,",
    ),
    "an unknown objective": ("[wer", "[wre", 10, '"wre" is not a metric; did you mean "wer"?'),
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
        'budgets.size_gb: "size_gb" is not a metric; did you mean "size_mb"?',
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
        f"budgets.size_mb: 'small' is not a budget: {LIMIT}",
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
    "no students": (
        STUDENTS,
        "",
        1,
        "students: is missing; `like: edge` takes over those of the shipped space",
    ),
    "a space that is like none": (
        STUDENTS,
        "like: egde\n",
        6,
        'like: unknown shipped space; did you mean "edge"?',
    ),
    "a space that is like a number": (
        STUDENTS,
        "like: 5\n",
        6,
        "like: unknown shipped space; known: ",
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
        'agent: "http://pi5:8765", token_env: SEARCH_PI5',
        15,
        "targets.cpu.agent: 'http://pi5:8765': would send the token in the clear; use https://",
    ),
    "a token in the address": (
        "threads: 1",
        'agent: "https://me:secret@pi5:8765", token_env: SEARCH_PI5',
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
        'name: "a/b" is not a valid name: a letter or digit, then up to 63 letters, digits, ".", '
        '"-" or "_"',
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
    assert_told_with_its_line(refused, tmp_path, SPACE_FAULTS[kind])


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
        '10: objectives.0: "wre" is not a metric; did you mean "wer"?',
        f"12: budgets.size_mb: '>= 5' limits size_mb from the wrong side: {LIMIT}",
        "15: targets.cpu.threads: 0: input should be greater than or equal to 1",
        '17: search.trails: unknown key; did you mean "trials"?',
    ):
        assert f"\n  {path}:{fault}" in said
