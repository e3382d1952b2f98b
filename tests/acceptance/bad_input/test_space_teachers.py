"""Teachers of a space that cannot be: each fault is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import SPACE, Fault, Refused, assert_told_with_its_line

STUDENTS = SPACE[SPACE.index("students:") : SPACE.index("objectives:")]
ONE_TEACHER = (
    "needs exactly one of train, checkpoint, onnx, waveform, huggingface, torchaudio, sherpa, "
    "command; has"
)

SPACE_FAULTS: dict[str, Fault] = {
    "an unknown key of the teacher": (
        "{}",
        "{trainig: {epochs: 3}}",
        5,
        'teacher.train.trainig: unknown key; did you mean "training"?',
    ),
    "speech that nobody would learn from": (
        "speakers: 4}",
        "speakers: 4}\n  unlabelled: calls\ndistil: {weight: 0}",
        4,
        "data.unlabelled: is learnt from through the teacher, and distil.weight is 0",
    ),
    "samples as recorded for features": (
        "train: {}",
        "sherpa: folder\n  as_recorded: true",
        4,
        "teacher: as_recorded: is of waveform:",
    ),
    "a further teacher of no kind": (
        "{}",
        "{}\n  also: [{language: en}]",
        6,
        f"teacher.also.0: {ONE_TEACHER} none",
    ),
    "a further teacher to train": (
        "{}",
        "{}\n  also: [{train: {}}]",
        4,
        "teacher: also: holds teachers that are there already, none of which has more",
    ),
    "one further teacher and no list": (
        "{}",
        "{}\n  also: {sherpa: folder}",
        6,
        "teacher.also: is no list: write [one, or, more]",
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
    "a graph of a teacher that has no file": (
        "train: {}\nstudents:\n",
        'command: [my-asr, "{audio}"]\nstudents:\n  teacher: {}\n',
        7,
        "students.teacher: a teacher of the kind command: has no file with the students' inputs",
    ),
    "a teacher's graph with dimensions": (
        STUDENTS,
        "students: {teacher: {channels: 16}}\n",
        6,
        "students.teacher.channels: unknown axis; known: ",
    ),
    "a teacher's graph as the network of a teacher": (
        "train: {}",
        "train: {student: {family: teacher}}",
        5,
        "teacher.train.student: teacher is no network that could be trained",
    ),
    "no teacher": ("teacher:\n  train: {}\n", "", 1, "teacher: is missing"),
    "a teacher left empty": (
        "teacher:\n  train: {}",
        "teacher:",
        4,
        "teacher: is not a mapping of keys; known: train, checkpoint, onnx, waveform, tokens,",
    ),
    "an ONNX teacher without tokens": (
        "train: {}",
        "onnx: teacher.onnx",
        4,
        "teacher: onnx: or waveform: and tokens: (its tokens.txt) go together",
    ),
    "a teacher on raw samples without tokens": (
        "train: {}",
        "waveform: teacher.onnx",
        4,
        "teacher: onnx: or waveform: and tokens: (its tokens.txt) go together",
    ),
    "tokens of a folder of sherpa-onnx": (
        "train: {}",
        "{sherpa: folder, tokens: tokens.txt}",
        4,
        "teacher: onnx: or waveform: and tokens: (its tokens.txt) go together",
    ),
    "a command that is not told the audio": (
        "train: {}",
        "command: [my-asr, --fast]",
        4,
        'teacher: command: has no "{audio}" after the program, so it cannot know what to',
    ),
    "a command that is the audio": (
        "train: {}",
        'command: ["{audio}"]',
        4,
        'teacher: command: has no "{audio}" after the program, so it cannot know what to',
    ),
    "a command of no words": ("train: {}", "command: []", 5, "teacher.command: "),
    "a command as one text": ("train: {}", 'command: "my-asr {audio}"', 5, "teacher.command: "),
    "no command at once": (
        "train: {}",
        '{command: [a, "{audio}"], at_once: 0}',
        5,
        "teacher.at_once: ",
    ),
    "a time limit of the wrong sign": (
        "train: {}",
        '{command: [a, "{audio}"], time_limit_s: -5}',
        5,
        "teacher.time_limit_s: ",
    ),
    "a time limit of what is no command": (
        "train: {}",
        "{huggingface: model, time_limit_s: 5}",
        4,
        "teacher: at_once: and time_limit_s: are of command:",
    ),
    "a language that nobody is told": (
        "train: {}",
        "{torchaudio: WAV2VEC2_ASR_BASE_960H, language: en}",
        4,
        "teacher: language: is told to huggingface and sherpa only",
    ),
    "a language of one letter": (
        "train: {}",
        "{huggingface: model, language: e}",
        5,
        "teacher.language: ",
    ),
    "a command beside a folder": (
        "train: {}",
        '{command: [a, "{audio}"], sherpa: folder}',
        4,
        f"teacher: {ONE_TEACHER} sherpa and command",
    ),
}


@pytest.mark.parametrize("kind", SPACE_FAULTS)
def test_a_fault_of_a_space_is_told_with_its_line(
    refused: Refused, tmp_path: Path, kind: str
) -> None:
    assert_told_with_its_line(refused, tmp_path, SPACE_FAULTS[kind])
