"""The utterances of a big split: an Arrow file, mapped into memory and read where it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa

from workers.data.utterances import IndexRow, Utterance

_AT_ONCE = 10_000  # rows
_SCHEMA = pa.schema(
    [
        ("audio", pa.string()),
        ("offset_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("source", pa.string()),
        ("speaker", pa.string()),
        ("seconds", pa.float64()),
        ("text", pa.string()),
        ("ids", pa.list_(pa.int32())),
        ("first", pa.int64()),
        ("frames", pa.list_(pa.int32())),  # of each augmentation
    ]
)


def write_index(path: Path, rows: Iterable[IndexRow]) -> None:
    """Write rows whose `at` hold one first frame for all augmentations."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        left = iter(rows)
        while some := list(islice(left, _AT_ONCE)):
            flat = [
                {**row, "first": row["at"][0][0], "frames": [n for _, n in row["at"]]}
                for row in some
            ]
            writer.write_batch(pa.RecordBatch.from_pylist(flat, _SCHEMA))


class _MadeWhenAsked(Sequence[Utterance], ABC):
    """Utterances of which none is kept."""

    @abstractmethod
    def _at(self, place: int) -> Utterance:
        """Of a place that there is, from 0 on."""

    @overload
    def __getitem__(self, place: int) -> Utterance: ...
    @overload
    def __getitem__(self, place: slice) -> list[Utterance]: ...
    def __getitem__(self, place: int | slice) -> Utterance | list[Utterance]:
        if isinstance(place, slice):
            return [self._at(i) for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._at(place % len(self))

    def __iter__(self) -> Iterator[Utterance]:
        return (self._at(i) for i in range(len(self)))


class IndexedUtterances(_MadeWhenAsked):
    """A split, an utterance made when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def _at(self, place: int) -> Utterance:
        first, (ends, ids) = int(self._first[place]), self._ids
        text, seconds, audio, offset_s, duration_s = (c[place].as_py() for c in self._plain)
        return Utterance(
            text=text,
            ids=tuple(ids[ends[place] : ends[place + 1]].tolist()),
            seconds=seconds,
            audio=audio,
            offset_s=offset_s,
            duration_s=duration_s,
            at=tuple((first, n) for n in self.frames[place].tolist()),
            is_compact=True,
        )

    # Columns as arrays: a row of the table as a whole takes three times as long.

    @cached_property
    def _plain(self) -> list[pa.Array]:
        names = ("text", "seconds", "audio", "offset_s", "duration_s")
        return [self._table.column(name).combine_chunks() for name in names]

    @cached_property
    def _first(self) -> np.ndarray:
        first: np.ndarray = self._table.column("first").to_numpy()
        return first

    @cached_property
    def _ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the tokens of each utterance begin, and all tokens."""
        column = self._table.column("ids").combine_chunks()
        return column.offsets.to_numpy(), column.values.to_numpy()

    @cached_property
    def frames(self) -> np.ndarray:
        """int32 [utterances, augmentations]: how long each is in each of them."""
        column = self._table.column("frames").combine_chunks()
        flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(self), -1) if len(self) else flat.reshape(0, 1)


class InTurn(_MadeWhenAsked):
    """One split after another."""

    def __init__(self, first: Sequence[Utterance], then: Sequence[Utterance]) -> None:
        self._first, self._then = first, then

    def __len__(self) -> int:
        return len(self._first) + len(self._then)

    def _at(self, place: int) -> Utterance:
        n_first = len(self._first)
        return self._first[place] if place < n_first else self._then[place - n_first]
