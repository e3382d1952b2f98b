"""Each technique on and off, on the same student: `make bench-techniques`.

The embedded corpus with 5,572 words of dev by voices that nobody heard, three seeds; points are
paired over utterances, of the mean over the seeds. What was trained is kept in BENCH_HOME and found
there the next time. The tables go into BENCHMARKS.md, between their marks.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from folders import AN4, ROOT
from techniques import Outcome, Technique, Workshop

from spaces.families import (
    Citrinet,
    Conformer,
    Dense,
    DsconvLstm,
    Paraformer,
    Recurrent,
    SeparableConv,
    Wav2Letter,
    Zipformer,
)
from spaces.load import SHIPPED_FOLDER
from spaces.recipe import Distil, Prune, Quantize, Training
from spaces.space import Data, Synthetic
from workers.data.corpus import Corpus
from workers.export.unit_time import side_by_side_ms

SPOKEN = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
STUDENT = SeparableConv(channels=96, blocks=6, dropout=0.0)
TRAINING = Training(epochs=12, learning_rate=0.01, batch_s=16)
DISTIL = Distil(weight=0.9, temperature=2.0)
BASE = Technique(STUDENT, TRAINING, DISTIL)
TWICE = Training(epochs=24, learning_rate=0.01, batch_s=16)
ATTENTION = {"channels": 64, "heads": 4, "head_size": 16, "feed_forward": 128, "kernel": 11}
ATTENTION |= {"dropout": 0.0}


def _distilled(**changes: object) -> Technique:
    return Technique(STUDENT, TRAINING, DISTIL.model_copy(update=changes))


def _trained(**changes: object) -> Technique:
    return Technique(STUDENT, TRAINING.model_copy(update=changes), DISTIL)


DISTILLATION = {
    "distilled": BASE,
    "not distilled": Technique(STUDENT, TRAINING),
    "not distilled, twice the epochs": Technique(STUDENT, TWICE),
    "twice the epochs": Technique(STUDENT, TWICE, DISTIL),
    "frames: speech": _distilled(frames="speech"),
    "frames: symmetric": _distilled(frames="symmetric"),
    "halfway: 0.3 (Inter-KD)": _distilled(halfway=0.3),
    "intermediate_ctc: 0.3": _trained(intermediate_ctc=0.3),
    "consistency: 0.2 (CR-CTC)": _trained(consistency=0.2),
    "hidden_weight: 1, the last layer": _distilled(hidden_weight=1.0),
    "hidden_weight: 1, two layers": _distilled(hidden_weight=1.0, hidden_layers=2),
    "start: teacher": _trained(start="teacher"),
}


# Room to prune: of 0.48 M parameters, begun as part of the teacher, 29 % are left.
LARGE = SeparableConv(channels=128, blocks=6, expand=2.0, dropout=0.0)
BEGUN = TRAINING.model_copy(update={"start": "teacher"})
RATIO = 0.5


def _pruned(**changes: object) -> Technique:
    prune = Prune.model_validate({"ratio": RATIO, "epochs": 12, **changes})
    return Technique(LARGE, BEGUN, DISTIL, prune)


PRUNING = {
    "not pruned, trained further": Technique(LARGE, BEGUN, DISTIL, more_epochs=12),
    "as narrow from the start": Technique(LARGE.pruned(RATIO), BEGUN, DISTIL, more_epochs=12),
    "rule: l1": _pruned(),
    "rule: taylor": _pruned(rule="taylor"),
    "rule: gates": _pruned(rule="gates"),
    "rounds: 6": _pruned(rounds=6),
    "rounds: 6, rule: taylor": _pruned(rounds=6, rule="taylor"),
    "scope: global, rule: taylor": _pruned(scope="global", rule="taylor"),
    "scope: time, rule: taylor": _pruned(scope="time", rule="taylor"),
}


def _in_bits(scheme: str, **changes: object) -> Technique:
    parts = dict.fromkeys(("frontend", "encoder", "head"), scheme)
    quantize = Quantize.model_validate({**parts, **changes})
    return Technique(STUDENT, TRAINING, DISTIL, quantize=quantize)


QUANTIZATION = {
    "fp32": BASE,
    "fp32, trained further": Technique(STUDENT, TRAINING, DISTIL, more_epochs=6),
    "int4, trained further": Technique(
        STUDENT, TRAINING, DISTIL, quantize=_in_bits("int4").quantize, more_epochs=6
    ),
    "fp16": _in_bits("fp16"),
    "int8_dynamic": _in_bits("int8_dynamic"),
    "int8_static": _in_bits("int8_static"),
    "int8_static, calibration: entropy": _in_bits("int8_static", calibration="entropy"),
    "int8_static, calibration: percentile": _in_bits("int8_static", calibration="percentile"),
    "int8_static, equalise": _in_bits("int8_static", equalise=True),
    "int8_static, keep: 2": _in_bits("int8_static", keep=2),
    "int8_static, qat_epochs: 6": _in_bits("int8_static", qat_epochs=6),
    "int4": _in_bits("int4"),
    "int4, keep: 2": _in_bits("int4", keep=2),
    "int4, qat_epochs: 6": _in_bits("int4", qat_epochs=6),
}
FAMILIES = {
    "separable_conv": BASE,
    "citrinet": Technique(Citrinet(channels=80, blocks=3, dropout=0.0), TRAINING, DISTIL),
    "wav2letter": Technique(Wav2Letter(channels=64, blocks=4, dropout=0.0), TRAINING, DISTIL),
    "dsconv_lstm": Technique(
        DsconvLstm(channels=80, blocks=3, hidden=96, dropout=0.0), TRAINING, DISTIL
    ),
    "recurrent": Technique(
        Recurrent(channels=64, hidden=96, layers=2, dropout=0.0), TRAINING, DISTIL
    ),
    "dense": Technique(Dense(channels=96, blocks=2, context=31, dropout=0.0), TRAINING, DISTIL),
    "conformer": Technique(Conformer(blocks=2, **ATTENTION), TRAINING, DISTIL),
    "conformer, attended: 0.3": Technique(
        Conformer(blocks=2, attended=0.3, **ATTENTION), TRAINING, DISTIL
    ),
    "zipformer": Technique(Zipformer(blocks=3, **ATTENTION), TRAINING, DISTIL),
    "conformer, 3 blocks": Technique(Conformer(blocks=3, **ATTENTION), TRAINING, DISTIL),
    "paraformer": Technique(Paraformer(blocks=2, **ATTENTION), TRAINING, DISTIL),
}


# Several at once, with as much audio as a teacher's owner has: six times that of the others.
SEVERAL_STUDENT = SeparableConv(channels=96, blocks=6, expand=2.0, dropout=0.0)
SEVERAL_TRAINING = Training(epochs=10, learning_rate=0.01, batch_s=16, start="teacher")
SEVERAL_DISTIL = DISTIL.model_copy(update={"hidden_weight": 1.0})
SEVERAL = {
    "part of the teacher, distilled, aligned": Technique(
        SEVERAL_STUDENT, SEVERAL_TRAINING, SEVERAL_DISTIL
    ),
    "and int8_static, qat_epochs: 3": Technique(
        SEVERAL_STUDENT,
        SEVERAL_TRAINING,
        SEVERAL_DISTIL,
        quantize=_in_bits("int8_static", qat_epochs=3).quantize,
    ),
}
# On recorded speech, of the teacher of an4.yaml.
RECORDED_TRAINING = Training(epochs=24, learning_rate=0.006)
RECORDED_DISTIL = Distil(weight=0.67)
RECORDED = {
    "distilled": Technique(STUDENT, RECORDED_TRAINING, RECORDED_DISTIL),
    "not distilled": Technique(STUDENT, RECORDED_TRAINING),
    "start: teacher": Technique(
        STUDENT, RECORDED_TRAINING.model_copy(update={"start": "teacher"}), RECORDED_DISTIL
    ),
    "int4": Technique(
        STUDENT, RECORDED_TRAINING, RECORDED_DISTIL, quantize=_in_bits("int4").quantize
    ),
    "int4, qat_epochs: 8": Technique(
        STUDENT,
        RECORDED_TRAINING,
        RECORDED_DISTIL,
        quantize=_in_bits("int4", qat_epochs=8).quantize,
    ),
}


def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("BENCH_HOME")
    return (Path(kept) if kept else tmp_path_factory.mktemp("kept")) / "techniques"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    spoken = Synthetic(train_utterances=1000, dev_utterances=1500, speakers=85)
    return Workshop(_home(tmp_path_factory), Data(synthetic=spoken, speeds=(1.0,)), SPOKEN)


@pytest.fixture(scope="module")
def large_workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    spoken = Synthetic(train_utterances=6000, dev_utterances=1500, speakers=85)
    return Workshop(_home(tmp_path_factory), Data(synthetic=spoken, speeds=(1.0,)), SPOKEN)


@pytest.mark.parametrize(
    ("name", "techniques", "baseline"),
    [
        ("distillation", DISTILLATION, "distilled"),
        ("pruning", PRUNING, "not pruned, trained further"),
        ("quantization", QUANTIZATION, "fp32"),
        ("families", FAMILIES, "separable_conv"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_techniques(
    workshop: Workshop, name: str, techniques: dict[str, Technique], baseline: str
) -> None:
    _compared(workshop, name, workshop.outcomes(techniques), baseline)


def test_on_recorded_speech(tmp_path_factory: pytest.TempPathFactory) -> None:
    given = os.environ.get("AN4_TEACHER")
    if not AN4.exists() or not given:
        pytest.skip("needs the recorded corpus, and its teacher's checkpoint in AN4_TEACHER")
    data = Data(train=(str(AN4 / "train.jsonl"),), dev=(str(AN4 / "dev.jsonl"),))
    workshop = Workshop(_home(tmp_path_factory), data, Path(given))
    _compared(workshop, "recorded", workshop.outcomes(RECORDED), "distilled")


def test_several_together(large_workshop: Workshop) -> None:
    teacher = {"teacher": large_workshop.teacher_as_it_is}
    outcomes = teacher | large_workshop.outcomes(SEVERAL)
    _compared(large_workshop, "several", outcomes, "teacher")


def _compared(workshop: Workshop, name: str, outcomes: dict[str, Outcome], baseline: str) -> None:
    files = workshop.files(outcomes.values(), workshop.home / "files")
    corpus = Corpus(workshop.workspace.corpus(workshop.corpus))
    spoken = np.concatenate([corpus.frames(utterance) for utterance in corpus.dev[:8]])[:500]
    times = side_by_side_ms(files, np.ascontiguousarray(spoken))
    rows = [
        _row(what, outcome, outcomes[baseline], ms)
        for (what, outcome), ms in zip(outcomes.items(), times, strict=True)
    ]
    head = ("", "WER (95 %)", f"points to {baseline}", "parameters", "MB", "network ms", "CPU s")
    table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
    _write(f"techniques-{name}", table)
    print(f"\n{name}\n{table}")
    for what, outcome in outcomes.items():
        print(f"{what}: {outcome.each_told()}")


def _row(what: str, outcome: Outcome, baseline: Outcome, ms: float) -> tuple[str, ...]:
    first = outcome.made[0]
    to_baseline = "" if outcome is baseline else outcome.against(baseline)
    params = f"{first.params / 1000:.0f}k"
    size = f"{first.size_mb:.3f}"
    return what, outcome.wer_told(), to_baseline, params, size, f"{ms:.2f}", f"{outcome.cpu_s:.0f}"


def _write(name: str, table: str) -> None:
    """Between the marks of its name in BENCHMARKS.md, if they are there."""
    page = ROOT / "BENCHMARKS.md"
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    marked = re.compile(f"{begin}.*?{end}", re.S)
    page.write_text(marked.sub(lambda _: f"{begin}\n{table}\n{end}", page.read_text()))
