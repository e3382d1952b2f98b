"""Student families: a record of dimensions each, in a file of its own.

A family is such a record, a module with a class `Network` that it names, and a line in the table
below; a package from outside adds one by an entry point.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from spaces.families.base import Dims, StudentContract
from spaces.families.citrinet import Citrinet
from spaces.families.conformer import Conformer
from spaces.families.dense import Dense
from spaces.families.dsconv_lstm import DsconvLstm
from spaces.families.paraformer import Paraformer
from spaces.families.recurrent import Recurrent
from spaces.families.separable_conv import SeparableConv
from spaces.families.teacher_graph import TeacherGraph
from spaces.families.wav2letter import Wav2Letter
from spaces.families.zipformer import Zipformer
from spaces.registry import Registry, UnknownName

__all__ = [
    "FAMILIES",
    "Citrinet",
    "Conformer",
    "Dense",
    "Dims",
    "DsconvLstm",
    "Paraformer",
    "Recurrent",
    "SeparableConv",
    "StudentContract",
    "StudentDims",
    "TeacherGraph",
    "Wav2Letter",
    "Zipformer",
    "is_trained",
    "parse_dims",
]

FAMILIES: Registry[type[Dims]] = Registry(
    "compression_search.families",
    "student family",
    type,
    {
        "separable_conv": SeparableConv,
        "conformer": Conformer,
        "zipformer": Zipformer,
        "paraformer": Paraformer,
        "dsconv_lstm": DsconvLstm,
        "recurrent": Recurrent,
        "citrinet": Citrinet,
        "wav2letter": Wav2Letter,
        "dense": Dense,
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
