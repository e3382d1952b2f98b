"""What a space cannot hear, compute or be trained on: each fault is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from refusals import Fault, Refused, assert_told_with_its_line

SPACE_FAULTS: dict[str, Fault] = {
    "a device of no kind": (
        "trials: 2",
        "device: gpu",
        17,
        "search.device: 'gpu': string should match pattern",
    ),
    "a GPU without a number": (
        "trials: 2",
        'device: "cuda:x"',
        17,
        "search.device: 'cuda:x': string should match pattern",
    ),
    "numbers that nothing trains in": (
        "trials: 2",
        "precision: int8",
        17,
        "search.precision: 'int8': input should be 'auto', 'fp32', 'bf16' or 'fp16'",
    ),
    "no trial on a GPU": (
        "trials: 2",
        "trials_per_gpu: 0",
        17,
        "search.trials_per_gpu: 0: input should be greater than or equal to 1",
    ),
    "a filter bank of no kind": (
        "threads: 1}",
        "filter_bank: quick}",
        15,
        "targets.cpu.filter_bank: 'quick': input should be 'kaldi' or 'fast'",
    ),
    "a filter bank of a phone by adb": (
        "threads: 1}",
        "adb: x, filter_bank: fast}",
        15,
        "filter_bank: a phone by adb times the network alone",
    ),
    "mel bins out of range": (
        "forbid: []",
        "front_end: {mels: [10, 80]}",
        13,
        "front_end.mels: 10: mels are 20 to 128",
    ),
    "as many mels as a frame has samples": (
        "forbid: []",
        "front_end: {mels: [80, 160]}",
        13,
        "front_end.mels: 160: mels are 20 to 128",
    ),
    "a shift that is too wide": (
        "forbid: []",
        "front_end: {shift_ms: {float: [10, 40]}}",
        13,
        "front_end.shift_ms: 40.0: shift_ms is 10 to 20",
    ),
    "a sample rate of music": (
        "forbid: []",
        "front_end: {sample_rate_hz: 44100}",
        13,
        "front_end.sample_rate_hz: 44100: sample_rate_hz is 8000 or 16000",
    ),
    "mel bins in fractions": (
        "forbid: []",
        "front_end: {mels: {float: [40, 80]}}",
        13,
        "front_end.mels: takes whole numbers: write {int: [low, high]}",
    ),
    "a front end of an unknown kind": (
        "forbid: []",
        "front_end: {mfcc: 13}",
        13,
        "front_end.mfcc: unknown key; known: mels, shift_ms, sample_rate_hz",
    ),
    "front ends that differ in a supernet": (
        "search:\n",
        "front_end: {mels: [40, 80]}\nsearch:\n  weight_sharing: on\n",
        16,
        "front_end.mels: students that hear differently are no slices of one network",
    ),
    "a front end of the teacher": (
        "{}",
        "{student: {family: separable_conv, front_end: {mels: 40}}}",
        5,
        "teacher.train.student.front_end: a teacher has the usual front end; take it out",
    ),
    "mel bins that a runtime is not given": (
        "targets:",
        "front_end: {mels: 40}\ntargets:\n  pi: {backend: ncnn}",
        7,
        "no target combination runs it (pi: ncnn is given 80 mel bins, not 40)",
    ),
}


@pytest.mark.parametrize("kind", SPACE_FAULTS)
def test_a_fault_of_a_space_is_told_with_its_line(
    refused: Refused, tmp_path: Path, kind: str
) -> None:
    assert_told_with_its_line(refused, tmp_path, SPACE_FAULTS[kind])
