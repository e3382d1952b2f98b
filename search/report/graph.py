"""Which fusions fired in the graph that a runtime runs, and where its time goes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from workers.results import OperatorShare

_BAR = 30  # characters

# An operator that only fusion makes, and what it was before.
_FUSED = {
    "FusedConv": "convolution + activation",
    "FusedMatMul": "matrix product + scale or transpose",
    "FusedGemm": "matrix product + bias + activation",
    "Gemm": "matrix product + bias",
    "QuickGelu": "x * sigmoid(x)",
    "Gelu": "GELU",
    "FastGelu": "GELU",
    "BiasGelu": "bias + GELU",
    "LayerNormalization": "layer norm",
    "SkipLayerNormalization": "sum + layer norm",
    "Attention": "attention",
    "MultiHeadAttention": "attention",
    "QLinearConv": "convolution in 8 bits, no float between",
    "QLinearMatMul": "matrix product in 8 bits, no float between",
    "QLinearAdd": "sum in 8 bits",
    "DynamicQuantizeMatMul": "quantization + matrix product in 8 bits + scale and bias",
    "MatMulIntegerToFloat": "matrix product in 8 bits + scale and bias",
    "DynamicQuantizeLSTM": "LSTM in 8 bits",
    "MatMulNBits": "matrix product with 4-bit weights",
}


@dataclass(frozen=True)
class LoadedGraph:
    """How often each operator stands in a file, and in what a runtime runs of it."""

    runtime: str
    written: Mapping[str, int]
    run: Mapping[str, int]

    def lines(self) -> list[str]:
        """In words: how many operators, which fusions fired, and which did not."""
        written, run = sum(self.written.values()), sum(self.run.values())
        out = [f"{self.runtime}: {written} operators as written, {run} as run"]
        for kind, meaning in _FUSED.items():
            if n := self.run.get(kind, 0):
                there = min(n, self.written.get(kind, 0))
                how = "written so" if there == n else "fused"
                out.append(f"  {n:3} × {kind}: {meaning} ({how})")
        return out + [f"  not fused: {line}" for line in self._not_fused()]

    def _not_fused(self) -> list[str]:
        out = []
        if n := self.run.get("BatchNormalization", 0):
            out.append(f"{n} batch norms; those of our students are part of the layers before them")
        if self.run.get("Softmax", 0) and not self.run.get("Attention", 0):
            out.append(
                "attention stays matrix products and softmax: its patterns are of other networks"
            )
        n_left = self.run.get("QuantizeLinear", 0) + self.run.get("DequantizeLinear", 0)
        if n_left:
            out.append(
                f"{n_left} steps between 8 bits and float, around what has no 8-bit operator"
            )
        return out


def time_by_kind(profile: Sequence[OperatorShare], title: str) -> Table:
    """The time of each kind of operator, the most first, drawn."""
    spent: dict[str, float] = defaultdict(float)
    for operator in profile:
        spent[operator.kind] += operator.time_ms
    counts, total = Counter(o.kind for o in profile), sum(spent.values())
    table = Table("operator", "times", "time", "share", "", title=title, title_justify="left")
    for kind, ms in sorted(spent.items(), key=lambda item: -item[1]):
        share = ms / total if total else 0.0
        bar = "█" * round(share * _BAR)
        table.add_row(kind, str(counts[kind]), f"{ms:.4f} ms", f"{share:.0%}", bar)
    return table
