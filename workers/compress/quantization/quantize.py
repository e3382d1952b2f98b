"""Number formats of an exported student, chosen for its frontend, encoder and head apart.

What was found to be small and fast on CPUs, and nothing else:

    int8          whichever of the next two suits the network, see `int8_mode`
    fp16          weights stored in half precision, expanded to float32 when the model is loaded:
                  no CPU here computes in half precision, casting back and forth only costs time,
                  and recurrent nets in fp16 crash ONNX Runtime 1.24 to 1.31
    int8_dynamic  MatMul, Gemm and LSTM weights in int8, scales per channel, activations
                  quantized as they come; convolutions compute in float (ConvInteger is slow) with
                  weights that are stored in int8
    int8_static   U8 activations and S8 weights per channel as Q/DQ pairs around Conv, MatMul and
                  Gemm, ranges from calibration audio; LSTM as in int8_dynamic
    int4          MatMul weights in 4 bits by block (MatMulNBits); what has no 4-bit operator
                  keeps 8-bit weights

GRU has no quantized operator in ONNX Runtime: its weights are stored in int8 and expanded when
the model is loaded, which saves size, not time.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_dynamic,
    quantize_static,
)

from spaces.recipe import PARTS, Quantize
from workers.compress.quantization.parts import Chosen, multiplying, part_of
from workers.compress.quantization.stored import EXPANDING, store_small
from workers.errors import UserFault
from workers.results import PartSize

_MATMUL = ("MatMul", "Gemm")
_STORED = (*_MATMUL, "Conv", "LSTM", "GRU")
_RANGES = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
INT4_BLOCK = 32
_AXES_OF_SCALES_FROM = 13  # opset
_STATIC_FROM_WEIGHTS = 4_000_000
_INPUTS_OF_UTTERANCES = 2  # features and lengths; of live speech there is a state as well


def quantize(
    source: Path,
    target: Path,
    scheme: Quantize,
    calibration: Sequence[np.ndarray],
    kept: Sequence[str] = (),
    only: str | None = None,
) -> None:
    """Write `source`, a float32 student, with each part in the number format of the scheme.

    Args:
        calibration: real features float32 [T, 80], used by int8_static only.
        kept: names of nodes that are left in 16 bits.
        only: the one node that is quantized; all of the scheme where it is not said.
    """
    by_format: dict[str, set[str]] = {}
    for part, wanted in zip(PARTS, scheme.formats, strict=True):
        chosen = int8_mode(source) if wanted == "int8" else wanted
        by_format.setdefault(chosen, set()).add(part)
    steps: dict[str, Callable[[Path, Path, Chosen], None]] = {
        "int8_static": lambda a, b, chosen: _static(a, b, chosen, calibration, scheme.calibration),
        "int8_dynamic": _dynamic,
        "int4": _int4,
        "fp16": _fp16,
    }
    properties = {p.key: p.value for p in onnx.load(str(source)).metadata_props}
    with tempfile.TemporaryDirectory() as folder, _silenced():
        current = Path(folder) / "0.onnx"
        quant_pre_process(
            str(source), str(current), skip_optimization=True, skip_symbolic_shape=True
        )
        if "int8_static" in by_format:
            _modernise(current)
        for i, (name, step) in enumerate(steps.items()):
            if name in by_format:
                following = Path(folder) / f"{i + 1}.onnx"
                step(current, following, _in_parts(by_format[name], kept, only))
                current = following
        if kept:
            store_small(current, _STORED, lambda name: name in kept, in_half=True)
        model = onnx.load(str(current))
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, properties)
        onnx.save(model, str(Path(folder) / "last.onnx"))
        shutil.copyfile(Path(folder) / "last.onnx", target)


def _in_parts(parts: set[str], kept: Sequence[str], only: str | None) -> Chosen:
    def chosen(name: str) -> bool:
        if only is not None:
            return name == only
        return part_of(name) in parts and name not in kept

    return chosen


def _modernise(path: Path) -> None:
    """Scales per channel are known to Q/DQ pairs from opset 13 on.

    Raises:
        UserFault: for an older graph that cannot be brought there.
    """
    model = onnx.load(str(path))
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if opset >= _AXES_OF_SCALES_FROM:
        return
    try:
        model = onnx.version_converter.convert_version(model, _AXES_OF_SCALES_FROM)
    except Exception as error:  # of operators that it does not know, of several types
        raise UserFault(
            f"int8_static: a graph of opset {opset} cannot be brought to {_AXES_OF_SCALES_FROM}: "
            "export the model anew, or take int8_dynamic"
        ) from error
    onnx.save(model, str(path))


def sizes_by_part(path: Path) -> tuple[PartSize, ...]:
    """Bytes of the weights of a file by part of the network and number format, the most first."""
    graph = onnx.load(str(path)).graph
    readers = {name: node for node in reversed(graph.node) for name in node.input if name}
    spent: dict[tuple[str, str], int] = {}
    for weight in graph.initializer:
        kind = onnx.TensorProto.DataType.Name(weight.data_type).lower()
        key = part_of(_reader(weight.name, readers)), kind
        spent[key] = spent.get(key, 0) + len(weight.SerializeToString())
    sizes = [PartSize(part=p, format=k, bytes=n) for (p, k), n in spent.items()]
    return tuple(sorted(sizes, key=lambda size: -size.bytes))


def _reader(name: str, readers: Mapping[str, onnx.NodeProto]) -> str:
    """The node that computes with a weight, past those that only expand it."""
    node = readers.get(name)
    while node is not None and node.op_type in EXPANDING and not node.name:
        node = readers.get(node.output[0])
    return "" if node is None else node.name


def count_weights(path: Path) -> int:
    """How many numbers its weights are."""
    return sum(int(np.prod(weight.dims)) for weight in onnx.load(str(path)).graph.initializer)


def int8_mode(source: Path) -> str:
    """The 8-bit flavour that was faster on networks of this kind (BENCHMARKS.md).

    Networks gain from having their convolutions in 8 bits as well, also beside an LSTM, which is
    dynamic either way; only small ones with attention lose more to Q/DQ pairs than they gain.
    """
    graph = onnx.load(str(source)).graph
    if len(graph.input) > _INPUTS_OF_UTTERANCES:
        return "int8_dynamic"  # live speech: of windows and their states no ranges are taken
    weights = {i.name: int(np.prod(i.dims)) for i in graph.initializer}
    kinds = {n.op_type for n in graph.node}
    is_small = sum(weights.values()) < _STATIC_FROM_WEIGHTS
    return "int8_dynamic" if "Softmax" in kinds and is_small else "int8_static"


@contextmanager
def _silenced() -> Iterator[None]:
    """The quantizers log advice that does not hold for these small graphs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _dynamic(source: Path, target: Path, chosen: Chosen) -> None:
    nodes = multiplying(source, (*_MATMUL, "LSTM"), chosen)
    if nodes:
        quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=[*_MATMUL, "LSTM"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
        )
    else:
        shutil.copyfile(source, target)
    store_small(target, ("GRU", "Conv"), chosen)


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, utterances: Sequence[np.ndarray]) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = iter(
            {"x": u[None].astype(np.float32), "x_lens": np.array([len(u)], np.int64)}
            for u in utterances
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _of_one_length(calibration: Sequence[np.ndarray]) -> list[np.ndarray]:
    """In pieces as long as the shortest: histograms are taken of values of one shape."""
    n_frames = min(len(features) for features in calibration)
    return [
        features[start : start + n_frames]
        for features in calibration
        for start in range(0, len(features) - n_frames + 1, n_frames)
    ]


def _static(
    source: Path, target: Path, chosen: Chosen, calibration: Sequence[np.ndarray], ranges: str
) -> None:
    if not calibration:
        raise ValueError("int8_static needs calibration audio")
    nodes = multiplying(source, ("Conv", *_MATMUL), chosen)
    if nodes:
        quantize_static(
            str(source),
            str(target),
            _Calibration(calibration if ranges == "minmax" else _of_one_length(calibration)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *_MATMUL],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            calibrate_method=_RANGES[ranges],
        )
    else:
        shutil.copyfile(source, target)
    lstm = multiplying(target, ("LSTM",), chosen)
    if lstm:
        quantize_dynamic(
            str(target),
            str(target),
            op_types_to_quantize=["LSTM"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=lstm,
        )
    store_small(target, ("GRU",), chosen)


def _int4(source: Path, target: Path, chosen: Chosen) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    graph = onnx.load(str(source))
    wanted = set(multiplying(source, ("MatMul",), chosen))
    others = [n.name for n in graph.graph.node if n.op_type == "MatMul" and n.name not in wanted]
    quantizer = MatMulNBitsQuantizer(
        graph, bits=4, block_size=INT4_BLOCK, is_symmetric=True, nodes_to_exclude=others
    )
    quantizer.process()
    onnx.save(quantizer.model.model, str(target))
    store_small(target, ("LSTM", "GRU", "Conv", "Gemm"), chosen)


def _fp16(source: Path, target: Path, chosen: Chosen) -> None:
    shutil.copyfile(source, target)
    store_small(target, _STORED, chosen, in_half=True)
