"""One network whose parts are the students of a family."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from spaces.axes import Value
from spaces.families import Dims
from workers.students.base import Output, Student, Targets, build
from workers.students.slicing import NetworkSlice, Piece, Role, by_role, pieces_of, sliced

Choices = Mapping[str, Sequence[Value]]


class Supernet(Student):
    """The largest student of a family, whose parts are the others: as a network it is the largest.

    What a smaller student cannot share with it (a head that reads another layer, a block without
    a projection) lies in `own`, at its largest, for all students built that way.

    Args:
        largest: dimensions within which all students lie.
        choices: by dimension, what its students have of it.
    """

    def __init__(self, largest: Dims, choices: Choices, vocabulary: int) -> None:
        super().__init__()
        self.dims, self.choices, self.vocabulary = largest, choices, vocabulary
        self.network = build(largest, vocabulary)
        known = set(by_role(pieces_of(self.network)))
        self._own: dict[Role, Piece] = {}
        for dims in _structures(largest, choices, vocabulary, known):
            for name, piece in pieces_of(build(dims, vocabulary)).items():
                role = piece.role(name)
                if role not in known and isinstance(piece.tensor, nn.Parameter):
                    known.add(role)
                    self._own[role] = piece
        self.own = nn.ParameterList(piece.tensor for piece in self._own.values())

    def forward(self, features: Tensor, lengths: Tensor, *targets: Targets) -> Output:
        """As the largest student."""
        output: Output = self.network(features, lengths, *targets)
        return output

    @property
    def reads_targets(self) -> bool:  # type: ignore[override]
        return self.network.reads_targets

    def normalise(self, features: Tensor) -> Tensor:
        return self.network.normalise(features)

    def slice(self, dims: Dims) -> NetworkSlice:
        """A student as it is now; made anew after each step and each load."""
        own = {
            role: Piece(tensor, piece.extents)
            for (role, piece), tensor in zip(self._own.items(), self.own, strict=True)
        }
        return sliced(by_role(pieces_of(self.network)) | own, dims, self.vocabulary, self.training)

    @property
    def smallest(self) -> Dims:
        """With the first choice of everything."""
        return with_dims(self.dims, {name: values[0] for name, values in self.choices.items()})

    def random(self, rng: np.random.Generator) -> Dims:
        """With any choice of everything."""
        chosen = {n: values[int(rng.integers(len(values)))] for n, values in self.choices.items()}
        return with_dims(self.dims, chosen)


def with_dims(dims: Dims, changes: Mapping[str, Value]) -> Dims:
    """With some dimensions changed, and validated."""
    return type(dims).model_validate({**dims.model_dump(), **changes})


def _structures(largest: Dims, choices: Choices, vocabulary: int, known: set[Role]) -> list[Dims]:
    """The largest student built in each way that needs tensors which the largest of all has not."""
    with torch.random.fork_rng(devices=[]):
        deciding = {
            name: values
            for name, values in choices.items()
            if any(_roles(largest, name, value, vocabulary) - known for value in values)
        }
    combinations = itertools.product(*deciding.values())
    return [with_dims(largest, dict(zip(deciding, values, strict=True))) for values in combinations]


def _roles(largest: Dims, name: str, value: Value, vocabulary: int) -> set[Role]:
    return set(by_role(pieces_of(build(with_dims(largest, {name: value}), vocabulary))))
