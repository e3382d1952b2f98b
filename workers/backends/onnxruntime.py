"""ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from workers.backends.base import OperatorTime, Settings, Source
from workers.backends.windows import SHIFT, State, Windows, whole
from workers.data.features import N_MELS
from workers.errors import UserFault

ort.set_default_logger_severity(3)

_PROVIDERS: list[Any] = ["CPUExecutionProvider"]
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_GRAPH_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class OnnxSession:
    """One session; inputs by order, as sherpa-onnx takes them."""

    def __init__(
        self,
        session: ort.InferenceSession,
        model: Path,
        settings: Settings,
        providers: list[Any] = _PROVIDERS,
    ) -> None:
        self._session: Any = session
        self._model, self._settings, self._providers = model, settings, providers
        self._inputs = [i.name for i in session.get_inputs()]
        self._n_mels: object = session.get_inputs()[0].shape[2]
        self._output = session.get_outputs()[0].name

    def run(self, features: np.ndarray) -> np.ndarray:
        given = features.shape[1]
        if isinstance(self._n_mels, int) and self._n_mels != given:
            raise UserFault(
                f"{self._model}: takes {self._n_mels} mel bins; the contract is {given}"
            )
        feed = {
            self._inputs[0]: features[None],
            self._inputs[1]: np.array([len(features)], np.int64),
        }
        log_probs: np.ndarray = self._session.run([self._output], feed)[0][0]
        return log_probs

    def run_many(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """The same of several utterances in one batch; one by one where the model does not tell
        how much of its output each of them is."""
        if len(self._session.get_outputs()) < 2:
            return [self.run(features) for features in utterances]
        lengths = np.array([len(u) for u in utterances], np.int64)
        shape = len(utterances), int(lengths.max()), utterances[0].shape[1]
        batch = np.zeros(shape, np.float32)
        for row, features in zip(batch, utterances, strict=True):
            row[: len(features)] = features
        feed = {self._inputs[0]: batch, self._inputs[1]: lengths}
        log_probs, written = self._session.run(None, feed)[:2]
        return [row[:n] for row, n in zip(log_probs, written.tolist(), strict=True)]

    def profile(self, features: np.ndarray, runs: int) -> list[OperatorTime] | None:
        """By ONNX Runtime's own profiler, in a session of its own."""
        with tempfile.TemporaryDirectory() as folder:
            options = session_options(self._model, self._settings)
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = ort.InferenceSession(str(self._model), options, providers=self._providers)
            profiled = type(self)(session, self._model, self._settings)
            for _ in range(runs + 1):
                profiled.run(features)
            return operator_times(Path(session.end_profiling()), runs)

    def close(self) -> None:
        self._session = None


class OnnxStreamingSession(OnnxSession):
    """Of a model that hears live speech: its inputs are a window and the state of a stream."""

    def __init__(
        self,
        session: ort.InferenceSession,
        model: Path,
        settings: Settings,
        providers: list[Any] = _PROVIDERS,
    ) -> None:
        super().__init__(session, model, settings, providers)
        _, window, _ = session.get_inputs()[0].shape
        self.windows = _windows(session, window)

    def run(self, features: np.ndarray) -> np.ndarray:
        return whole(self.windows, self.step, features)

    def step(self, windows: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """One window of each stream: float32 [N, W, mels] and states."""
        feed = dict(zip(self._inputs, (windows, *state), strict=True))
        log_probs, *after = self._session.run(None, feed)
        return log_probs, tuple(after)


def operator_times(profile: Path, runs: int) -> list[OperatorTime]:
    """Mean time of each node over the last `runs` runs of a profile of ONNX Runtime."""
    spent: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in json.loads(profile.read_text()):
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            kind = str(event["args"].get("op_name", ""))
            spent[name.removesuffix("_kernel_time"), kind].append(event["dur"] / 1000)
    times = [
        OperatorTime(name, kind, sum(each[-runs:]) / runs) for (name, kind), each in spent.items()
    ]
    return sorted(times, key=lambda t: -t.time_ms)


def prepare(source: Source, folder: Path) -> tuple[str, ...]:
    """The file as it ships: quantized by part where the recipe says so."""
    from workers.compress.compact import compact  # not on a device: only what prepares needs it

    target = folder / "model.onnx"
    if set(source.formats) == {"fp32"}:
        shutil.copyfile(source.onnx, target)
    else:
        from spaces.recipe import PARTS, Quantize
        from workers.compress.quantization.quantize import quantize

        parts = dict(zip(PARTS, source.formats, strict=True))
        scheme = Quantize.model_validate({**parts, "calibration": source.ranges})
        quantize(source.onnx, target, scheme, source.calibration, source.kept)
    compact(target)
    return (target.name,)


def open_session(model: Path, settings: Settings) -> OnnxSession:
    """Load a file of the contract: features and lengths in, log-probabilities out.

    Raises:
        UserFault: when the file is not such a model.
    """
    return open_with(model, settings, _PROVIDERS)


def open_with(model: Path, settings: Settings, providers: list[Any]) -> OnnxSession:
    """The same with execution providers of the caller's."""
    options = session_options(model, settings)
    try:
        session = ort.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise UserFault(f"{model}: ONNX Runtime cannot load it ({reason})") from error
    is_live = SHIFT in session.get_modelmeta().custom_metadata_map
    _check_contract(model, session, is_live)
    made = OnnxStreamingSession if is_live else OnnxSession
    return made(session, model, settings, providers)


def _windows(session: ort.InferenceSession, window: int) -> Windows:
    """How a model is fed, by its metadata and the shapes of its state."""
    _, *states = session.get_inputs()
    axes = [next(a for a, size in enumerate(s.shape) if not isinstance(size, int)) for s in states]
    first = tuple(
        np.zeros([size if isinstance(size, int) else 1 for size in s.shape], _TYPES[s.type])
        for s in states
    )
    shift = int(session.get_modelmeta().custom_metadata_map[SHIFT])
    return Windows(window, shift, first, tuple(axes))


def version() -> str:
    return f"onnxruntime {ort.__version__}"


def session_options(model: Path, settings: Settings) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = settings.arena
    # Threads that spin while they wait doubled the CPU use at two threads and bought no time.
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.spinning)))
    options.graph_optimization_level = _graph_level(model, settings.graph_level)
    return options


def _graph_level(model: Path, wanted: str) -> ort.GraphOptimizationLevel:
    """As asked, but not full for fp16 recurrent nets, which crash there (1.24 to 1.31)."""
    if wanted == "all":
        content = model.read_bytes() if model.is_file() else b""
        if (b"LSTM" in content or b"GRU" in content) and _is_fp16_recurrent(content):
            return ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return _GRAPH_LEVELS[wanted]


def _is_fp16_recurrent(content: bytes) -> bool:
    try:
        import onnx
    except ImportError:  # a device; our own files hold no such network
        return False
    try:
        graph = onnx.load_from_string(content).graph
    except Exception:  # no model at all: the session says so
        return False
    half = {i.name for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    return any(n.op_type in ("LSTM", "GRU") and half.intersection(n.input) for n in graph.node)


def _check_live(model: Path, session: ort.InferenceSession) -> None:
    x, *states = session.get_inputs()
    after = session.get_outputs()[1:]
    is_fed = x.type == "tensor(float)" and len(x.shape) == 3 and isinstance(x.shape[1], int)
    is_told = session.get_modelmeta().custom_metadata_map[SHIFT].isdecimal()
    carries = [(s.type, len(s.shape)) for s in states] == [(s.type, len(s.shape)) for s in after]
    streams = all(s.type in _TYPES and not all(isinstance(d, int) for d in s.shape) for s in states)
    if not (is_fed and is_told and carries and streams):
        raise UserFault(
            f"{model}: is no model for live speech as ours are: windows float [N, W, mels] and "
            "states go in, log-probabilities and the next states come out"
        )


def _if_samples(form: list[tuple[str, int]]) -> str:
    if form in ([("tensor(float)", 2)], [("tensor(float)", 2), ("tensor(int64)", 2)]):
        return "; a teacher that takes raw samples is brought as waveform:"
    return ""


def _check_contract(model: Path, session: ort.InferenceSession, is_live: bool) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    form = [(i.type, len(i.shape)) for i in inputs]
    if is_live:
        _check_live(model, session)
    elif form != [("tensor(float)", 3), ("tensor(int64)", 1)]:
        raise UserFault(
            f"{model}: takes {[(i.name, i.type, i.shape) for i in inputs]}; the contract is "
            f"float features [N, T, {N_MELS}] and int64 lengths [N]{_if_samples(form)}"
        )
    if outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 3:
        raise UserFault(f"{model}: its first output is not float log-probabilities [N, T', V]")
