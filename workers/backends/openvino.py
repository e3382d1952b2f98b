"""OpenVINO on the CPU: a graph of dynamic length, quantized by NNCF."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

# On import it would write to the home folder and send usage data. Both packages do without this
# module where it cannot be imported.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino as ov  # noqa: E402

from workers.backends.base import OperatorTime, Settings, Source  # noqa: E402
from workers.backends.windows import SHIFT, State, Windows, whole  # noqa: E402
from workers.errors import UserFault  # noqa: E402

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_RECURRENT = ["LSTMSequence", "GRUSequence"]  # 8-bit inputs and states ruin them
_INT4_GROUP = 32  # weights that share a scale; fewer where it does not divide what a layer reads


class OpenvinoSession:
    """One compiled model and one request."""

    def __init__(self, core: ov.Core, graph: ov.Model, settings: Settings) -> None:
        self._core, self._graph, self._settings = core, graph, settings
        self._request: Any = _compile(core, graph, settings).create_infer_request()

    def run(self, features: np.ndarray) -> np.ndarray:
        log_probs: np.ndarray = _infer(self._request, features)[0].copy()
        return log_probs

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """By OpenVINO's own counters, in a request of its own that pays for them."""
        profiled = _compile(self._core, self._graph, self._settings, PERF_COUNT=True)
        request = profiled.create_infer_request()
        _infer(request, features)
        spent: dict[tuple[str, str], timedelta] = defaultdict(timedelta)
        for _ in range(runs):
            _infer(request, features)
            for info in request.get_profiling_info():
                if info.status == ov.ProfilingInfo.Status.EXECUTED:
                    spent[info.node_name, info.node_type] += info.real_time
        times = [
            OperatorTime(name, kind, each / timedelta(milliseconds=runs))
            for (name, kind), each in spent.items()
        ]
        return sorted(times, key=lambda t: -t.time_ms)

    def close(self) -> None:
        self._request = None


class OpenvinoStreamingSession(OpenvinoSession):
    """Of a model that hears live speech: its inputs are a window and the state of a stream."""

    def __init__(self, core: ov.Core, graph: ov.Model, settings: Settings) -> None:
        super().__init__(core, graph, settings)
        x, *states = graph.inputs
        axes = [[d.is_dynamic for d in s.partial_shape].index(True) for s in states]
        first = tuple(
            np.zeros(
                [1 if d.is_dynamic else d.get_length() for d in s.partial_shape],
                s.element_type.to_dtype(),
            )
            for s in states
        )
        window, shift = x.partial_shape[1].get_length(), int(graph.get_rt_info(SHIFT).value)
        self.windows = Windows(window, shift, first, tuple(axes))

    def run(self, features: np.ndarray) -> np.ndarray:
        return whole(self.windows, self.step, features)

    def step(self, windows: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """One window of each stream: float32 [N, W, mels] and states."""
        self._request.infer(dict(enumerate((windows, *state))), share_inputs=True)
        log_probs, *after = (o.data.copy() for o in self._request.output_tensors)
        return log_probs, tuple(after)

    def profile(self, _features: np.ndarray, _runs: int) -> list[OperatorTime] | None:
        """None: its counters are of single windows."""
        return None


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """`model.xml` and `model.bin`; what is not quantized is stored in fp16, save in fp32.

    Raises:
        UserFault: for int8 without calibration audio.
    """
    target = folder / "model.xml"
    if source.format in ("fp32", "fp16"):
        graph = _told(ov.Core().read_model(source.onnx), source.onnx)
        ov.save_model(graph, target, compress_to_fp16=source.format == "fp16")
    else:
        graph = _told(_halved(source.onnx, folder), source.onnx)
        graph = _four_bit(graph) if source.format == "int4" else _quantized(graph, source)
        ov.save_model(graph, target, compress_to_fp16=False)
    return (target.name, target.with_suffix(".bin").name)


def _told(graph: ov.Model, onnx: Path) -> ov.Model:
    """With what the ONNX file says of how it is fed, where it is for live speech."""
    import onnx as reader

    model = reader.load(str(onnx), load_external_data=False)
    for entry in model.metadata_props:
        if entry.key == SHIFT:
            graph.set_rt_info(entry.value, SHIFT)
    return graph


def _halved(onnx: Path, folder: Path) -> ov.Model:
    """With weights in fp16: a quantized graph is saved in fp32 whatever is asked."""
    core = ov.Core()
    core.set_property({"ENABLE_MMAP": False})  # the file goes, the graph stays
    with tempfile.TemporaryDirectory(dir=folder) as passing:
        half = Path(passing) / "half.xml"
        ov.save_model(core.read_model(onnx), half, compress_to_fp16=True)
        return core.read_model(half)


def _nncf() -> Any:
    """NNCF, silent; it takes seconds to import and only `prepare` needs it."""
    warnings.simplefilter("ignore")
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def _quantized(graph: ov.Model, source: Source) -> ov.Model:
    """8-bit weights and activations, ranges from the calibration audio; RNNs in float."""
    if not source.calibration:
        raise UserFault(f"OpenVINO {source.format} needs calibration audio")
    nncf = _nncf()
    from nncf.quantization.advanced_parameters import QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    feeds = [_feed(np.asarray(u, np.float32)) for u in source.calibration]
    kinds = {op.get_type_name() for op in graph.get_ops()}
    return nncf.quantize(
        graph,
        nncf.Dataset(feeds),
        subset_size=len(feeds),
        target_device=nncf.TargetDevice.CPU,
        ignored_scope=nncf.IgnoredScope(types=[k for k in _RECURRENT if k in kinds]),
        # Leaves softmax and norms of attention in float: smaller, faster and nearer to float32
        # than without, but not with the smoothing that comes along.
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            smooth_quant_alpha=-1,
            # Else what a depthwise convolution reads gets a range a channel, and it takes the
            # frames of our [N, T, C] for the channels.
            activations_quantization_params=QuantizationParameters(per_channel=False),
            # The mean over utterances of their extremes, as it comes, clips by what is short.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def _four_bit(graph: ov.Model) -> ov.Model:
    """4-bit weights in matrix products; convolutions and odd sizes get 8 bits, RNNs none."""
    nncf = _nncf()
    from nncf.quantization.advanced_parameters import (
        AdvancedCompressionParameters,
        GroupSizeFallbackMode,
    )

    return nncf.compress_weights(
        graph,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        group_size=_INT4_GROUP,
        all_layers=True,
        backup_mode=nncf.BackupMode.INT8_SYM,
        advanced_parameters=AdvancedCompressionParameters(
            group_size_fallback_mode=GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=8
        ),
    )


def open_session(model: Path, settings: Settings) -> OpenvinoSession:
    """Load a student by its `.xml`, the `.bin` beside it.

    Raises:
        UserFault: when it cannot be read.
    """
    if not model.is_file():
        raise UserFault(f"{model}: no such model")
    with model.open("rb") as file:
        if not file.read(100).lstrip().startswith(b"<"):  # it would read ONNX by any name
            raise UserFault(f"{model}: OpenVINO cannot load it (it is not XML)")
    core = ov.Core()
    try:
        graph = core.read_model(model)
        made = OpenvinoStreamingSession if graph.has_rt_info(SHIFT) else OpenvinoSession
        return made(core, graph, settings)
    except RuntimeError as error:
        raise UserFault(f"{model}: OpenVINO cannot load it ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The last line: those before name the runtime's own source files."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:300]


def version() -> str:
    return f"openvino {ov.__version__.partition('-')[0]}"


def _compile(core: ov.Core, graph: ov.Model, settings: Settings, **more: Any) -> ov.CompiledModel:
    config = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Left alone it computes in bf16 wherever the processor can, without a word.
        "INFERENCE_PRECISION_HINT": _PRECISIONS[settings.precision],
        **more,
    }
    return core.compile_model(graph, "CPU", config)


def _feed(features: np.ndarray) -> dict[int, np.ndarray]:
    return {0: features[None], 1: np.array([len(features)], np.int64)}


def _infer(request: Any, features: np.ndarray) -> np.ndarray:
    """Log-probabilities [1, T', V], in memory of the request."""
    request.infer(_feed(features), share_inputs=True)
    data: np.ndarray = request.get_output_tensor(0).data
    return data
