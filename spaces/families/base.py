"""What a student family declares of itself: frozen records that travel in recipe and checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic.fields import FieldInfo

from spaces.front_end import USUAL, FrontEnd
from spaces.record import Grown
from spaces.streaming import Streaming


@dataclass(frozen=True)
class StudentContract:
    """What everything around a student relies on.

    `subsampling_factor` is frames in per frame out; the other fields name who trains, reads and
    exports it: `workers.train.losses`, `workers.data.text`, `workers.export`.
    """

    subsampling_factor: int = 4
    normalisation: Literal["in_graph"] = "in_graph"  # raw log-mels go in
    loss: Literal["ctc"] = "ctc"
    decoding: Literal["ctc_greedy"] = "ctc_greedy"
    export: Literal["zipformer_ctc"] = "zipformer_ctc"  # of sherpa-onnx


DimsType = TypeVar("DimsType", bound="Dims")

_NO_AXES = ("family", "front_end", "widths", "streaming")


class Dims(Grown):
    """Dimensions of a network of one family, and what the family declares.

    `front_end` is what the network hears, `streaming` how it does where speech is live; a space has
    sections of their own for them. `widths` are the
    units of each group of the network, in its order, where they are not what the other dimensions
    say: pruned over all groups at once, a network is not as narrow everywhere.
    """

    family: str
    front_end: FrontEnd = USUAL
    widths: tuple[Annotated[int, Field(ge=1)], ...] = ()
    streaming: Streaming | None = None

    contract: ClassVar[StudentContract] = StudentContract()
    is_trained: ClassVar[bool] = True  # else it is there already, and formats are all there is
    network: ClassVar[str]  # the module with its class Network
    label_axis: ClassVar[str] = "channels"  # the dimension that tells students apart best
    # dimensions that make a student bigger or smaller: initial designs and bounds move along these
    capacity: ClassVar[frozenset[str]]
    # widths that pruning may narrow, and the multiple that matrix kernels like
    prunable: ClassVar[Mapping[str, int]]
    # what it writes for each of its frames: more than one where that is not by CTC
    written_per_frame: ClassVar[int] = 1
    streams: ClassVar[bool] = False  # whether it can hear in chunks
    later = frozenset(("front_end", "widths", "streaming"))

    @classmethod
    def dimensions(cls) -> dict[str, FieldInfo]:
        """Those that are axes of the family in a space."""
        fields = cls.model_fields.items()
        return {name: field for name, field in fields if name not in _NO_AXES}

    @field_validator("front_end")
    @classmethod
    def _hears_features(cls, front_end: FrontEnd) -> FrontEnd:
        if front_end.is_samples:
            raise ValueError("mels are 20 to 128")
        return front_end

    @model_validator(mode="after")
    def _hears_live(self) -> Self:
        if self.streaming is not None:
            if not self.streams:
                raise ValueError(f"{self.family} hears whole utterances only: it cannot stream")
            usual = USUAL.shift_ms, USUAL.sample_rate_hz
            if (self.front_end.shift_ms, self.front_end.sample_rate_hz) != usual:
                raise ValueError("live speech is heard at 16 kHz, in windows 10 ms apart")
        return self

    def label(self) -> str:
        """A few words for tables."""
        told = (self.front_end.label(), "" if self.streaming is None else self.streaming.label())
        heard = " ".join(filter(None, told))
        return f"{self.family} {getattr(self, self.label_axis)}{heard and f' {heard}'}"

    def pruned(self, ratio: float) -> Self:
        """With a share `ratio` of every prunable width removed; of every group where pruning left
        other widths than the dimensions say."""
        if ratio == 0:
            return self
        if self.widths:
            fewer = tuple(_narrowed(width, ratio, _multiple_of(width)) for width in self.widths)
            return self.model_copy(update={"widths": fewer})
        kept = {}
        for name, multiple in self.prunable.items():
            kept[name] = _narrowed(getattr(self, name), ratio, multiple)
        return self.model_copy(update=kept)


def hears_one_way(dims: DimsType) -> DimsType:
    """Of families with recurrent layers: live speech has no end to begin from."""
    if dims.streaming is not None and getattr(dims, "bidirectional"):  # noqa: B009
        raise ValueError("bidirectional is false where speech is live")
    return dims


def _narrowed(size: int, ratio: float, multiple: int) -> int:
    return min(size, max(multiple, round(size * (1 - ratio) / multiple) * multiple))


def _multiple_of(width: int) -> int:
    """What a width stays a multiple of: kernels like eight."""
    return 8 if width % 8 == 0 else 1


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("a kernel is an odd number of frames")
    return kernel


Odd = Annotated[int, Field(ge=3, le=63), AfterValidator(_odd)]
Width = Annotated[int, Field(ge=8, le=2048)]
Depth = Annotated[int, Field(ge=1, le=64)]
Layers = Annotated[int, Field(ge=1, le=8)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Attended = Annotated[float, Field(gt=0.0, le=1.0)]
