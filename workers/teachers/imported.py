"""The files of a teacher that a user brings, checked before anything is started: no torch."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from spaces.families import FAMILIES
from spaces.front_end import USUAL
from spaces.space import TeacherSource
from workers.checkpoint_header import CHECKPOINT_FORMAT, not_ours, read_header
from workers.errors import TeacherFault
from workers.teachers.command import TIME_LIMIT_S, check_command
from workers.teachers.onnx import check_onnx
from workers.teachers.sherpa import sherpa_teacher
from workers.teachers.waveform_onnx import check_waveform_onnx


def check_files(config: TeacherSource) -> None:
    """Check what can be known of a teacher's files without its network.

    Raises:
        TeacherFault: naming the file and what is wrong with it.
    """
    if config.checkpoint is not None:
        _check_checkpoint(Path(config.checkpoint))
    if config.onnx is not None:
        assert config.tokens is not None
        check_onnx(Path(config.onnx), Path(config.tokens))
    if config.waveform is not None:
        assert config.tokens is not None
        check_waveform_onnx(Path(config.waveform), Path(config.tokens))
    if config.sherpa is not None:
        sherpa_teacher(config.sherpa, config.language, threads=1).close()
    if config.command is not None:
        check_command(config.command, config.time_limit_s or TIME_LIMIT_S)


def _check_checkpoint(path: Path) -> None:
    if not path.is_file():
        raise TeacherFault(f"{path}: no such checkpoint")
    try:
        header = read_header(path)
    except (SafetensorError, OSError) as error:
        raise TeacherFault(f"{path}: is not a safetensors checkpoint ({error})") from error
    if header.get("format") != CHECKPOINT_FORMAT:
        raise not_ours(path)
    dims = header.get("dims")
    family = str(dims.get("family")) if isinstance(dims, dict) else ""
    if family in FAMILIES and FAMILIES[family].written_per_frame > 1:
        raise TeacherFault(
            f"{path}: a {family} writes tokens, not what it makes of each frame, which students "
            "would follow; take a teacher with CTC"
        )
    heard = dims.get("front_end") if isinstance(dims, dict) else None
    if heard is not None:
        raise TeacherFault(
            f"{path}: has a front end of its own ({heard}); a teacher hears as usual: {USUAL.mels} "
            f"mels every {USUAL.shift_ms:g} ms at {USUAL.sample_rate_hz / 1000:g} kHz"
        )
