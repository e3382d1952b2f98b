"""LSTM and GRU layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from workers.students.base import Group, Slice
from workers.students.chunks import Carried, folded, unfolded


class RecurrentLayer(Carried):
    """One LSTM or GRU layer, in one or both directions, over [N, T, C]. Of a window it hears the
    chunk; the look ahead comes again with the next."""

    def __init__(self, cell: str, n_in: int, hidden: int, bidirectional: bool) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn = kind(n_in, hidden, batch_first=True, bidirectional=bidirectional)
        self.n_gates = 4 if cell == "lstm" else 3
        self.hidden, self.bidirectional = hidden, bidirectional

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        if self.chunks is not None:
            body = self.chunks.body(x.shape[1])
            return F.pad(self._in_chunks(x[:, :body]), (0, 0, 0, x.shape[1] - body))
        if not self.bidirectional:  # padding comes after the utterance and cannot reach it
            return self.rnn(x)[0].float()
        # The exported operator takes any order of lengths; torch wants them sorted or a sort.
        sorted_already = torch.onnx.is_in_onnx_export()
        packed = pack_padded_sequence(
            x, lengths.cpu(), batch_first=True, enforce_sorted=sorted_already
        )
        y, _ = pad_packed_sequence(
            self.rnn(packed)[0],
            batch_first=True,
            total_length=None if sorted_already else x.shape[1],
        )
        return y.float()

    def _in_chunks(self, x: Tensor) -> Tensor:
        is_lstm = isinstance(self.rnn, nn.LSTM)
        self.shape = (self.rnn.hidden_size * (2 if is_lstm else 1),)
        if self.before is None:
            y: Tensor = self.rnn(unfolded(x, self.windows))[0].float()
            return folded(y, self.windows)
        states = self.before.unsqueeze(0).chunk(2 if is_lstm else 1, -1)
        y, after = self.rnn(x, states if is_lstm else states[0])
        self.after = (torch.cat(after, -1) if is_lstm else after).squeeze(0)
        return y.float()

    @property
    def n_out(self) -> int:
        return self.hidden * (2 if self.bidirectional else 1)

    def _suffixes(self) -> tuple[str, ...]:
        return ("l0", "l0_reverse") if self.bidirectional else ("l0",)

    def reads(self, name: str, blocks: int = 1) -> list[Slice]:
        return [Slice(f"{name}.rnn.weight_ih_{s}", 1, blocks) for s in self._suffixes()]

    def writes(self, name: str) -> list[Slice]:
        """Rows of every gate, columns of the recurrence; both directions keep the same units."""
        out = []
        for s in self._suffixes():
            for tensor in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                out.append(Slice(f"{name}.rnn.{tensor}_{s}", 0, self.n_gates))
            out.append(Slice(f"{name}.rnn.weight_hh_{s}", 1))
        return out


class RecurrentStack(nn.Module):
    """Recurrent layers with dropout after each."""

    def __init__(
        self, cell: str, n_in: int, hidden: int, layers: int, bidirectional: bool, dropout: float
    ) -> None:
        super().__init__()
        width = hidden * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, n_in if i == 0 else width, hidden, bidirectional)
            for i in range(layers)
        )
        self.dropout, self.n_out = dropout, width
        self.directions = 2 if bidirectional else 1
        self.hidden = hidden

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.dropout(layer(x, lengths), self.dropout, self.training)
        return x

    def _stacked(self) -> list[RecurrentLayer]:
        return [layer for layer in self.layers if isinstance(layer, RecurrentLayer)]

    def reads(self, name: str) -> list[Slice]:
        return self._stacked()[0].reads(f"{name}.layers.0")

    def groups(self, name: str, reader_of_last: str) -> list[Group]:
        """One group a layer; `reader_of_last` is the weight that reads the last layer."""
        out = []
        stacked = self._stacked()
        for i, layer in enumerate(stacked):
            slices = list(layer.writes(f"{name}.layers.{i}"))
            if i + 1 < len(stacked):
                slices += stacked[i + 1].reads(f"{name}.layers.{i + 1}", self.directions)
            else:
                slices.append(Slice(reader_of_last, 1, self.directions))
            out.append(Group(self.hidden, tuple(slices)))
        return out
