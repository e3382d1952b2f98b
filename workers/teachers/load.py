"""Loads a teacher of any kind."""

from __future__ import annotations

from pathlib import Path

import torch

from spaces.space import TeacherSource
from workers.errors import TeacherFault, UserFault
from workers.teachers.base import AnyTeacher
from workers.teachers.checkpoint import CheckpointTeacher
from workers.teachers.command import TIME_LIMIT_S, CommandTeacher
from workers.teachers.huggingface import huggingface_teacher
from workers.teachers.onnx import OnnxTeacher
from workers.teachers.sherpa import sherpa_teacher
from workers.teachers.waveform import torchaudio_teacher
from workers.teachers.waveform_onnx import WaveformOnnxTeacher


def load_teacher(
    config: TeacherSource, threads: int = 1, device: torch.device | None = None
) -> AnyTeacher:
    """The teacher of these files or that name; one trained here is a checkpoint by now.

    Args:
        device: where networks that torch runs compute; the CPU by default.

    Raises:
        TeacherFault: saying what is wrong with it.
        MissingExtra: naming the extra.
    """
    try:
        return _load(config, threads, device or torch.device("cpu"))
    except UserFault as error:
        raise TeacherFault(f"teacher: {error}") from error


def _load(config: TeacherSource, threads: int, device: torch.device) -> AnyTeacher:
    if config.checkpoint is not None:
        return CheckpointTeacher(Path(config.checkpoint), device)
    if config.onnx is not None:
        assert config.tokens is not None
        return OnnxTeacher(Path(config.onnx), Path(config.tokens))
    if config.waveform is not None:
        assert config.tokens is not None
        model, tokens = Path(config.waveform), Path(config.tokens)
        return WaveformOnnxTeacher(model, tokens, threads, config.as_recorded)
    if config.huggingface is not None:
        return huggingface_teacher(config.huggingface, config.language, device)
    if config.sherpa is not None:
        return sherpa_teacher(config.sherpa, config.language, threads)
    if config.command is not None:
        limit_s = config.time_limit_s or TIME_LIMIT_S
        return CommandTeacher(config.command, config.at_once or 1, limit_s)
    assert config.torchaudio is not None
    return torchaudio_teacher(config.torchaudio, device)
