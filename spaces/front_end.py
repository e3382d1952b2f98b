"""The front end of a network: how samples become what it hears. Known on a device: no pydantic.

Features can take most of a small student's time, so what they cost is searched like the rest. The
usual front end is the one that sherpa-onnx has for zipformer CTC models. Models that somebody
brings may hear samples as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

_CODE = re.compile(r"(\d{1,3})-(\d{1,2}(?:\.\d{1,4})?)-(\d{1,5})", re.ASCII)
_SAMPLES_A_FRAME = 160
_MARK = "~"  # between the name of a prepared corpus and the front end that heard it


@dataclass(frozen=True)
class FrontEnd:
    """Kaldi filter banks of windows of 25 ms; or, as 160 values a frame, the samples themselves.

    A network sees 100 frames a second whatever the shift: those that are computed stand for the
    nearest of them, so that its steps fall on those of the teacher's soft targets.

    Raises:
        ValueError: saying what it cannot be.
    """

    mels: int = 80
    shift_ms: float = 10.0  # between the windows that are computed
    sample_rate_hz: int = 16_000  # of the samples it hears

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        # as its code has it: two that are told apart nowhere are one
        object.__setattr__(self, "shift_ms", round(float(self.shift_ms), 3))
        if not (20 <= self.mels <= 128 or self.is_samples):
            raise ValueError("mels are 20 to 128")
        if not 10 <= self.shift_ms <= 20:
            raise ValueError("shift_ms is 10 to 20")
        if self.sample_rate_hz not in (8000, 16_000):
            raise ValueError("sample_rate_hz is 8000 or 16000")

    @property
    def is_usual(self) -> bool:
        return self == USUAL

    @property
    def is_samples(self) -> bool:
        """Whether its frames are 160 samples each: no student's, but of models that are brought."""
        heard = self.mels, self.shift_ms, self.sample_rate_hz
        return heard == (_SAMPLES_A_FRAME, 10.0, 16_000)

    @property
    def in_sherpa_onnx(self) -> bool:
        """Whether sherpa-onnx can be told; not of the shift of its windows, nor of samples."""
        return self.shift_ms == USUAL.shift_ms and not self.is_samples

    def label(self) -> str:
        """What of it is not usual, in a few words; empty where all is."""
        if self.is_samples:
            return "raw samples"
        parts = []
        if self.mels != USUAL.mels:
            parts.append(f"{self.mels} mels")
        if self.shift_ms != USUAL.shift_ms:
            parts.append(f"{self.shift_ms:g} ms")
        if self.sample_rate_hz != USUAL.sample_rate_hz:
            parts.append(f"{self.sample_rate_hz / 1000:g} kHz")
        return " ".join(parts)

    @property
    def code(self) -> str:
        """For names and messages; empty for the usual one."""
        return "" if self.is_usual else f"{self.mels}-{self.shift_ms:g}-{self.sample_rate_hz}"

    @classmethod
    def of_code(cls, code: str) -> Self:
        """The one of a code.

        Raises:
            ValueError: when it is of none.
        """
        if not code:
            return cls()
        if (found := _CODE.fullmatch(code)) is None:
            raise ValueError(f"{code!r} is no front end")
        mels, shift_ms, sample_rate_hz = found.groups()
        return cls(int(mels), float(shift_ms), int(sample_rate_hz))

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any] | None) -> Self:
        """The one of a recipe's JSON; the usual where there is no recipe."""
        student = (recipe or {}).get("student", {})
        return cls(**student.get("front_end", {}))

    @property
    def sherpa_onnx_arguments(self) -> str:
        """What sherpa-onnx has to be told beside model and tokens, as Python writes it."""
        told = []
        if self.sample_rate_hz != USUAL.sample_rate_hz:
            told.append(f", sample_rate={self.sample_rate_hz}")
        if self.mels != USUAL.mels:
            told.append(f", feature_dim={self.mels}")
        return "".join(told)

    def heard(self, corpus: str) -> str:
        """The name of a prepared corpus as this front end hears it."""
        plain, _, _ = corpus.partition(_MARK)
        return plain if self.is_usual else f"{plain}{_MARK}{self.code}"

    @classmethod
    def of_corpus(cls, corpus: str) -> tuple[str, Self]:
        """The plain name of a prepared corpus, and the front end that its name tells.

        Raises:
            ValueError: when it tells none.
        """
        plain, _, code = corpus.partition(_MARK)
        return plain, cls.of_code(code)


USUAL = FrontEnd()
SAMPLES = FrontEnd(mels=_SAMPLES_A_FRAME)
