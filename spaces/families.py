"""What a student family declares of itself: frozen records that travel in recipe and checkpoint.

A family is a record like those below, a module with a class `Network` that it names, and a line
in the table at the end; a package from outside adds one by an entry point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from spaces.front_end import USUAL, FrontEnd
from spaces.record import Record
from spaces.registry import Registry, UnknownName


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


class Dims(Record):
    """Dimensions of a network of one family, and what the family declares.

    `front_end` is what the network hears; a space has it in a section of its own.
    """

    family: str
    front_end: FrontEnd = USUAL

    contract: ClassVar[StudentContract] = StudentContract()
    is_trained: ClassVar[bool] = True  # else it is there already, and formats are all there is
    network: ClassVar[str]  # the module with its class Network
    label_axis: ClassVar[str] = "channels"  # the dimension that tells students apart best
    # dimensions that make a student bigger or smaller: initial designs and bounds move along these
    capacity: ClassVar[frozenset[str]]
    # widths that pruning may narrow, and the multiple that matrix kernels like
    prunable: ClassVar[Mapping[str, int]]

    @classmethod
    def dimensions(cls) -> dict[str, FieldInfo]:
        """Those that are axes of the family in a space."""
        fields = cls.model_fields.items()
        return {name: field for name, field in fields if name not in ("family", "front_end")}

    @field_validator("front_end")
    @classmethod
    def _hears_features(cls, front_end: FrontEnd) -> FrontEnd:
        if front_end.is_samples:
            raise ValueError("mels are 20 to 128")
        return front_end

    @model_serializer(mode="wrap")
    def _content(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The usual front end is not written: a network has the digest that older studies know."""
        content: dict[str, Any] = fields(self)
        if self.front_end.is_usual:
            content.pop("front_end", None)
        return content

    def label(self) -> str:
        """A few words for tables."""
        heard = self.front_end.label()
        return f"{self.family} {getattr(self, self.label_axis)}{heard and f' {heard}'}"

    def pruned(self, ratio: float) -> Self:
        """With a share `ratio` of every prunable width removed."""
        if ratio == 0:
            return self
        kept = {}
        for name, multiple in self.prunable.items():
            size = getattr(self, name)
            kept[name] = min(size, max(multiple, round(size * (1 - ratio) / multiple) * multiple))
        return self.model_copy(update=kept)


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("a kernel is an odd number of frames")
    return kernel


Odd = Annotated[int, Field(ge=3, le=63), AfterValidator(_odd)]
Width = Annotated[int, Field(ge=8, le=2048)]
Depth = Annotated[int, Field(ge=1, le=64)]
Layers = Annotated[int, Field(ge=1, le=8)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]


class SeparableConv(Dims):
    """Residual depthwise-separable convolutions."""

    family: Literal["separable_conv"] = "separable_conv"
    channels: Width = 128
    """width"""
    blocks: Depth = 6
    """depth"""
    kernel: Odd = 11
    """frames that a convolution sees"""
    expand: Annotated[float, Field(ge=0.25, le=8.0)] = 1.0
    """inner width of a block over its outer"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.separable_conv"
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "blocks", "kernel", "expand"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8}


class Conformer(Dims):
    """Conformer-CTC; attention inner size is heads * head_size, free of the channels."""

    family: Literal["conformer"] = "conformer"
    channels: Width = 96
    """width"""
    blocks: Depth = 4
    """depth"""
    heads: Annotated[int, Field(ge=1, le=32)] = 4
    """of attention"""
    head_size: Annotated[int, Field(ge=4, le=128)] = 24
    """of each head"""
    feed_forward: Annotated[int, Field(ge=8, le=8192)] = 256
    """inner width"""
    kernel: Odd = 15
    """frames that a convolution sees"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.conformer"
    capacity: ClassVar[frozenset[str]] = frozenset(
        ("channels", "blocks", "heads", "head_size", "feed_forward", "kernel")
    )
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "feed_forward": 8, "heads": 1}


class DsconvLstm(Dims):
    """Depthwise-separable convolutions, then LSTM layers."""

    family: Literal["dsconv_lstm"] = "dsconv_lstm"
    channels: Width = 128
    """width of the convolutions"""
    blocks: Depth = 3
    """how many convolutions"""
    kernel: Odd = 11
    """frames that a convolution sees"""
    hidden: Width = 128
    """units of an LSTM layer"""
    layers: Layers = 1
    """LSTM layers"""
    bidirectional: bool = False
    """in both directions: twice the work"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.dsconv_lstm"
    capacity: ClassVar[frozenset[str]] = frozenset(
        ("channels", "blocks", "kernel", "hidden", "layers")
    )
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "hidden": 8}


class Recurrent(Dims):
    """GRU or LSTM layers over the subsampled features."""

    family: Literal["recurrent"] = "recurrent"
    cell: Literal["gru", "lstm"] = "gru"
    """kind of unit"""
    channels: Width = 96
    """width of the frontend"""
    hidden: Width = 128
    """units of a layer"""
    layers: Layers = 2
    """how many"""
    bidirectional: bool = False
    """in both directions: twice the work"""
    dropout: Dropout = 0.1
    """while training"""

    network: ClassVar[str] = "workers.students.recurrent"
    capacity: ClassVar[frozenset[str]] = frozenset(("channels", "hidden", "layers"))
    prunable: ClassVar[Mapping[str, int]] = {"channels": 8, "hidden": 8}


class TeacherGraph(Dims):
    """The teacher's own graph, as it is or in fewer bits: nothing of it is trained."""

    family: Literal["teacher"] = "teacher"

    network: ClassVar[str] = ""
    is_trained: ClassVar[bool] = False
    capacity: ClassVar[frozenset[str]] = frozenset()
    prunable: ClassVar[Mapping[str, int]] = {}

    def label(self) -> str:
        return self.family


FAMILIES: Registry[type[Dims]] = Registry(
    "compression_search.families",
    "student family",
    type,
    {
        "separable_conv": SeparableConv,
        "conformer": Conformer,
        "dsconv_lstm": DsconvLstm,
        "recurrent": Recurrent,
        "teacher": TeacherGraph,
    },
)


def is_trained(family: str) -> bool:
    """Whether students of a family are trained; so it is where nobody knows the family."""
    try:
        return FAMILIES[family].is_trained
    except UnknownName:  # told elsewhere
        return True


def parse_dims(raw: object) -> Dims:
    """Dimensions from JSON or YAML, by the family that they name.

    Raises:
        PydanticCustomError: for a family that is missing or not known.
        ValidationError: for dimensions that the family does not take.
    """
    if isinstance(raw, Dims):
        return raw
    if not isinstance(raw, dict):
        raise PydanticCustomError("dims", "is not a mapping of keys; it needs family:")
    family = raw.get("family")
    if family is None:
        raise PydanticCustomError(
            "dims", "needs family: one of {known}", {"known": ", ".join(FAMILIES)}
        )
    if family not in FAMILIES:
        hint = FAMILIES.hint(str(family))
        raise PydanticCustomError("dims", "unknown student family; {hint}", {"hint": hint})
    return FAMILIES[str(family)].model_validate(raw)


StudentDims = Annotated[SerializeAsAny[Dims], BeforeValidator(parse_dims)]
