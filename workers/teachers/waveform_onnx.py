"""A teacher that is an ONNX CTC model on raw samples, as wav2vec 2.0 and HuBERT are exported."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from workers.backends.base import check_model
from workers.data.features import SAMPLE_RATE_HZ
from workers.data.text import BlankFirst, folded, read_tokens, with_blank_first
from workers.errors import TeacherFault, UserFault, WorkError
from workers.isolated_call import Bounds, Request, call
from workers.teachers.base import TeacherOutput

_SECOND = np.zeros(SAMPLE_RATE_HZ, np.float32)
_TRY_S = 300.0


class WaveformOnnxTeacher:
    """Samples [N, n] in, logits or log-probabilities [N, T', V] out.

    The samples of an utterance are brought to mean 0 and variance 1, as most of both families were
    trained, unless they are wanted as recorded.
    """

    wants_samples = True
    n_parameters: int | None = None

    def __init__(
        self, model: Path, tokens: Path, threads: int = 1, as_recorded: bool = False
    ) -> None:
        found = symbols_of(tokens)
        self.symbols, self._order = found.symbols, list(found.order)
        self._session, self._inputs = _opened(model, threads)
        self._as_recorded = as_recorded

    def infer(self, features: np.ndarray) -> TeacherOutput:
        samples = features.astype(np.float32)
        if not self._as_recorded:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        logits = _run(self._session, self._inputs, samples)[:, self._order]
        top = logits.max(-1, keepdims=True)
        return TeacherOutput(
            logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True)), None
        )


def check_waveform_onnx(model: Path, tokens: Path) -> None:
    """Run it on a second in a process of its own: the file may be anybody's.

    Raises:
        TeacherFault: when it cannot be run, or does not fit its tokens.
    """
    if not model.is_file():
        raise TeacherFault(f"{model}: no such file")
    found = symbols_of(tokens)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copyfile(model, Path(folder) / model.name)
        try:
            bounds = Bounds(time_s=_TRY_S, folder=Path(folder))
            n_symbols = call("count_symbols", {"model": str(copy)}, bounds=bounds)
        except WorkError as error:
            text = str(error).replace(str(copy), str(model))
            raise TeacherFault(text if str(model) in text else f"{model}: {text}") from error
    if n_symbols != len(found.symbols):
        raise TeacherFault(
            f"{model}: writes {n_symbols} symbols, but {tokens} lists {len(found.symbols)}"
        )


def takes_samples(model: Path) -> bool:
    """Whether an ONNX file takes samples [N, n], not features; False where it cannot be read."""
    import onnx

    try:
        graph = onnx.load(str(model), load_external_data=False).graph
    except Exception:  # of many types; who loads it to run it says what is wrong
        return False
    weights = {weight.name for weight in graph.initializer}
    inputs = [i.type.tensor_type for i in graph.input if i.name not in weights]
    if not inputs:
        return False
    return inputs[0].elem_type == onnx.TensorProto.FLOAT and len(inputs[0].shape.dim) == 2


def count_symbols(request: Request) -> int:
    """How many a model writes of a second of silence."""
    session, inputs = _opened(Path(request["model"]), 1)
    return int(_run(session, inputs, _SECOND).shape[1])


def _opened(model: Path, threads: int) -> tuple[Any, list[tuple[str, str]]]:
    import onnxruntime as ort

    check_model("onnxruntime", model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise UserFault(f"{model}: ONNX Runtime cannot load it ({reason})") from error
    inputs = session.get_inputs()
    form = [(i.type, len(i.shape)) for i in inputs]
    takes_mask = form[1:] == [("tensor(int64)", 2)]
    if form[0] != ("tensor(float)", 2) or not (len(form) == 1 or takes_mask):
        raise UserFault(
            f"{model}: takes {[(i.name, i.type, i.shape) for i in inputs]}; a model on raw audio "
            "takes float samples [N, n], and at most an int64 attention mask [N, n]"
        )
    return session, [(i.name, i.type) for i in inputs]


def _run(session: Any, inputs: list[tuple[str, str]], samples: np.ndarray) -> np.ndarray:
    """Logits [T', V] of samples [n]."""
    feed = {inputs[0][0]: samples[None]}
    for name, _ in inputs[1:]:
        feed[name] = np.ones((1, len(samples)), np.int64)
    try:
        output: np.ndarray = session.run(None, feed)[0]
    except Exception as error:  # onnxruntime raises a dozen types of its own
        reason = str(error).strip().splitlines()[0][:300]
        raise UserFault(f"the model cannot run on {len(samples)} samples ({reason})") from error
    if output.ndim != 3:
        raise UserFault(f"the model's first output has the shape {output.shape}, not [N, T', V]")
    return output[0].astype(np.float32)


def symbols_of(tokens: Path) -> BlankFirst:
    """Of a tokens.txt, or of a vocab.json as transformers writes it.

    Raises:
        TeacherFault: when it is neither, or holds no blank.
    """
    try:
        if tokens.suffix == ".json" or (tokens.is_file() and tokens.read_bytes()[:1] == b"{"):
            symbols = _of_vocabulary(tokens)
        else:
            symbols = read_tokens(tokens)
    except ValueError as error:
        raise TeacherFault(str(error)) from error
    return with_blank_first(tuple(folded(s) for s in symbols), tokens)


def _of_vocabulary(path: Path) -> tuple[str, ...]:
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
        by_id = {int(i): str(s) for s, i in ids.items()}
        return tuple(by_id[i] for i in range(len(ids)))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: is no vocabulary: symbols with ids from 0 on") from error
