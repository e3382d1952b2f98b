"""Loads a teacher of any kind."""

from __future__ import annotations

from pathlib import Path

from spaces.space import TeacherSource
from workers.errors import TeacherFault, UserFault
from workers.teachers.base import Teacher
from workers.teachers.checkpoint import CheckpointTeacher
from workers.teachers.onnx import OnnxTeacher
from workers.teachers.waveform import huggingface_teacher, torchaudio_teacher


def load_teacher(config: TeacherSource) -> Teacher:
    """The teacher of these files or that name; one trained here is a checkpoint by now.

    Raises:
        TeacherFault: saying what is wrong with it.
        MissingExtra: naming the extra.
    """
    try:
        if config.checkpoint is not None:
            return CheckpointTeacher(Path(config.checkpoint))
        if config.onnx is not None:
            assert config.tokens is not None
            return OnnxTeacher(Path(config.onnx), Path(config.tokens))
        if config.huggingface is not None:
            return huggingface_teacher(config.huggingface)
        assert config.torchaudio is not None
        return torchaudio_teacher(config.torchaudio)
    except UserFault as error:
        raise TeacherFault(f"teacher: {error}") from error
