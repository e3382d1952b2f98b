"""A backend prepares a student for a runtime and says log-probabilities of utterances.

Each case runs as a search runs it: in processes of the backend's own interpreter.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)
from torch import nn

from spaces.backends import BACKENDS, BackendInfo
from spaces.families import (
    FAMILIES,
    Citrinet,
    Conformer,
    Dense,
    Dims,
    DsconvLstm,
    Paraformer,
    Recurrent,
    SeparableConv,
    Wav2Letter,
    Zipformer,
)
from workers.backends.base import missing, missing_modules, open_session
from workers.backends.environments import interpreter_of, is_installed
from workers.checkpoint import save_network
from workers.errors import UserFault, WorkError
from workers.export.onnx import export_onnx
from workers.isolated_call import call
from workers.students.base import build

SYMBOLS = ("<blk>", *"abcdefghijk")
STUDENTS: dict[str, Dims] = {
    "separable_conv": SeparableConv(channels=40, blocks=2, kernel=5),
    "conformer": Conformer(channels=40, blocks=1, heads=2, head_size=16, feed_forward=64, kernel=5),
    "dsconv_lstm": DsconvLstm(channels=32, blocks=1, kernel=5, hidden=32, bidirectional=True),
    "recurrent": Recurrent(cell="gru", channels=32, hidden=32, layers=1),
    "zipformer": Zipformer(
        channels=40, blocks=3, heads=2, head_size=16, feed_forward=64, kernel=5, attended=0.5
    ),
    "paraformer": Paraformer(channels=40, blocks=1, heads=2, head_size=16, feed_forward=64),
    "citrinet": Citrinet(channels=40, blocks=2, kernel=5),
    "wav2letter": Wav2Letter(channels=40, blocks=2, kernel=5),
    "dense": Dense(channels=40, blocks=2),
}
LATER = ("zipformer", "paraformer", "citrinet", "wav2letter", "dense")  # of the same operators
N_FRAMES = (1, 4, 5, 37, 64, 99, 128)
PREPARED = (64, 128)  # frames that are to fit a runtime of fixed lengths
# Of frames whose likeliest symbol is that of float32. Random networks are hardly sure of any.
AGREEMENT = {"fp32": 1.0, "fp16": 0.97, "int4": 0.4}
AGREEMENT_8_BIT = 0.85


def _features(n_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-5, 3, (n_frames, 80)).astype(np.float32)


UTTERANCES = [_features(n, seed=n) for n in N_FRAMES]


def _not_to_run(info: BackendInfo) -> str | None:
    if (info.status == "untested" or info.gpu) and info.name != "torch":  # which has a CPU path
        return f"{info.name} is untested: {info.limits}"
    return None if is_installed(info) else str(missing(info, missing_modules(info)))


def _backend(info: BackendInfo, *more: str) -> object:
    reason = _not_to_run(info)
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    return pytest.param(info.name, *more, marks=marks, id="-".join((info.name, *more)))


def _students(info: BackendInfo) -> list[tuple[str, str]]:
    """Every family in every format, kinds of int8 for one only and later families in the first and
    the last; two if they take long."""
    first, *others = (f for f in info.families or TRAINED if f not in info.without)
    if info.slow_to_prepare:
        return [(first, info.formats[0]), (others[0], info.formats[-1])]
    formats = [q for q in info.formats if q not in ("int8_dynamic", "int8_static")]
    every = [family for family in others if family not in LATER]
    once = itertools.product(
        (f for f in others if f in LATER), sorted({info.formats[0], info.formats[-1]})
    )
    return [*itertools.product([first], info.formats), *itertools.product(every, formats), *once]


TRAINED = tuple(family for family in FAMILIES if FAMILIES[family].is_trained)
REAL = [info for info in BACKENDS.values() if info.status != "for tests"]
EACH = [_backend(info) for info in REAL]
CASES = [_backend(i, *student) for i in REAL for student in _students(i)]


@dataclass(frozen=True)
class Exported:
    onnx: Path
    network: Path


def _untrained(dims: Dims) -> nn.Module:
    """With statistics in its norms, and a head for which no symbol is likelier than others."""
    torch.manual_seed(0)
    network = build(dims, len(SYMBOLS)).eval()
    with torch.no_grad():
        network.frontend.mean.fill_(-5.0)
        network.frontend.inv_std.fill_(1 / 3)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        features = torch.from_numpy(UTTERANCES[-1])[None]
        hidden = network(network.frontend.normalise(features), torch.tensor([N_FRAMES[-1]])).hidden
        network.head.weight.mul_(8)
        network.head.bias.copy_(-(hidden @ network.head.weight.T).mean((0, 1)))
    return network


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Gives a student of a family, exported."""
    folder = tmp_path_factory.mktemp("students")

    def student(family: str) -> Exported:
        made = Exported(folder / f"{family}.onnx", folder / f"{family}.safetensors")
        if not made.onnx.exists():
            network = _untrained(STUDENTS[family])
            export_onnx(network, SYMBOLS, made.onnx)
            save_network(network, SYMBOLS, made.network)
        return made

    return student


@pytest.fixture(scope="module")
def prepared(
    tmp_path_factory: pytest.TempPathFactory, students: Callable[[str], Exported]
) -> Callable[..., Path]:
    """Gives the main file of a student in a backend's own form."""
    folder = tmp_path_factory.mktemp("prepared")
    calibration = folder / "calibration.npz"
    np.savez(calibration, *UTTERANCES)
    made: dict[tuple[str, str, str], Path] = {}

    def prepare(backend: str, family: str | None = None, number_format: str = "fp32") -> Path:
        family = family or (BACKENDS[backend].families or TRAINED)[0]
        key = backend, family, number_format
        if key not in made:
            student, target = students(family), folder / "-".join(key)
            request = {
                "backend": backend,
                "onnx": str(student.onnx),
                "network": str(student.network),
                "formats": [number_format] * 3,
                "calibration": str(calibration),
                "lengths": list(PREPARED),
                "folder": str(target),
            }
            names = call("prepare", request, interpreter_of(backend))
            assert sorted(names) == sorted(p.name for p in target.iterdir())
            made[key] = target / names[0]
        return made[key]

    return prepare


@pytest.fixture
def recognise(tmp_path: Path) -> Callable[..., list[list[int]]]:
    """Gives the likeliest symbol of each output frame of each utterance."""

    def recognised(backend: str, model: Path, utterances: list[np.ndarray]) -> list[list[int]]:
        features = tmp_path / "features"
        np.concatenate(utterances).tofile(features)
        ends = np.cumsum([len(u) for u in utterances]).tolist()
        request = {
            "backend": backend,
            "model": str(model),
            "settings": {},
            "features": str(features),
            "at": [[end - len(u), len(u)] for end, u in zip(ends, utterances, strict=True)],
        }
        ids: list[list[int]] = call("recognise", request, interpreter_of(backend))
        return ids

    return recognised


def _in_float32(model: Path) -> list[list[int]]:
    session = open_session("onnxruntime", model)
    return [session.run(utterance).argmax(-1).tolist() for utterance in UTTERANCES]


@pytest.mark.parametrize(("backend", "family", "number_format"), CASES)
def test_a_prepared_student_says_what_it_said_in_float32(
    backend: str,
    family: str,
    number_format: str,
    students: Callable[[str], Exported],
    prepared: Callable[..., Path],
    recognise: Callable[..., list[list[int]]],
) -> None:
    model = prepared(backend, family, number_format)
    said = recognise(backend, model, [*UTTERANCES, *UTTERANCES])
    first, again = said[: len(N_FRAMES)], said[len(N_FRAMES) :]
    n_written = FAMILIES[family].written_per_frame
    assert [len(ids) for ids in first] == [-(-n // 4) * n_written for n in N_FRAMES]
    assert again == first

    wanted = np.concatenate(_in_float32(students(family).onnx))
    assert len(set(wanted)) > 3
    agreement = np.mean(np.concatenate(first) == wanted)
    assert agreement >= AGREEMENT.get(number_format, AGREEMENT_8_BIT)


@pytest.mark.parametrize("backend", [*EACH, "stub"])
def test_a_model_that_is_not_there_is_named(
    backend: str, tmp_path: Path, recognise: Callable[..., list[list[int]]]
) -> None:
    path = tmp_path / "none.onnx"
    with pytest.raises(UserFault) as caught:
        recognise(backend, path, UTTERANCES[:1])
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("backend", EACH)
@pytest.mark.parametrize("kept", [0, 0.5], ids=["text", "half"])
def test_a_damaged_model_is_refused_in_a_line(
    backend: str,
    kept: float,
    tmp_path: Path,
    prepared: Callable[..., Path],
    recognise: Callable[..., list[list[int]]],
) -> None:
    whole = prepared(backend)
    model = shutil.copytree(whole.parent, tmp_path / "damaged") / whole.name
    content = whole.read_bytes()
    model.write_bytes(content[: int(len(content) * kept)] or b"no model at all")
    with pytest.raises(WorkError) as caught:
        recognise(backend, model, UTTERANCES[-1:])
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", [_backend(info) for info in REAL if info.fixed_lengths])
def test_an_utterance_longer_than_prepared_for_is_refused_with_the_longest(
    backend: str, prepared: Callable[..., Path], recognise: Callable[..., list[list[int]]]
) -> None:
    too_long = _features(PREPARED[-1] + 1)
    with pytest.raises(UserFault) as caught:
        recognise(backend, prepared(backend), [too_long])
    assert str(len(too_long)) in str(caught.value)
    assert str(PREPARED[-1]) in str(caught.value)


def test_the_stub_says_the_same_two_symbols_of_any_utterance(
    prepared: Callable[..., Path], recognise: Callable[..., list[list[int]]]
) -> None:
    assert recognise("stub", prepared("stub"), [_features(9), _features(4)]) == [[1, 0, 0], [1]]


def test_an_unknown_backend_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserFault) as caught:
        open_session("onnxruntim", tmp_path / "model.onnx")
    assert str(caught.value) == 'no backend "onnxruntim"; did you mean "onnxruntime"?'


# onnxruntime alone, in this process: every export is checked with it


@pytest.mark.parametrize("n_frames", N_FRAMES)
def test_every_four_frames_begun_have_log_probabilities(
    n_frames: int, students: Callable[[str], Exported]
) -> None:
    session = open_session("onnxruntime", students("separable_conv").onnx)
    log_probs = session.run(_features(n_frames))
    assert log_probs.dtype == np.float32
    assert log_probs.shape == (-(-n_frames // 4), len(SYMBOLS))
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-3)


# a file that it can load is not yet a student


def _model(
    folder: Path,
    inputs: list[tuple[str, int, list[object]]],
    outputs: list[tuple[str, int, list[object]]],
) -> Path:
    """A file that copies its first input to its first output, cast to the type wanted."""
    node = make_node("Cast", [inputs[0][0]], [outputs[0][0]], to=outputs[0][1])
    graph = make_graph(
        [node],
        "copies",
        [make_tensor_value_info(*i) for i in inputs],
        [make_tensor_value_info(*o) for o in outputs],
    )
    path = folder / "other.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8), str(path))
    return path


FLOATS = ("x", TensorProto.FLOAT, ["N", "T", 80])
LENGTHS = ("x_lens", TensorProto.INT64, ["N"])
SAID = ("y", TensorProto.FLOAT, ["N", "T", 80])


def test_a_file_of_the_contract_is_loaded(tmp_path: Path) -> None:
    path = _model(tmp_path, [FLOATS, LENGTHS], [SAID])
    features = _features(7)
    np.testing.assert_array_equal(open_session("onnxruntime", path).run(features), features)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        ([FLOATS], [SAID], "; the contract is float features [N, T, 80] and int64 lengths [N]"),
        (
            [("x", TensorProto.FLOAT, ["N", 80]), LENGTHS],
            [("y", TensorProto.FLOAT, ["N", 80])],
            "; the contract is float features [N, T, 80] and int64 lengths [N]",
        ),
        (
            [FLOATS, ("x_lens", TensorProto.INT32, ["N"])],
            [SAID],
            "; the contract is float features [N, T, 80] and int64 lengths [N]",
        ),
        (
            [("x", TensorProto.FLOAT, ["N", "T", 40]), LENGTHS],
            [("y", TensorProto.FLOAT, ["N", "T", 40])],
            ": takes 40 mel bins; the contract is 80",
        ),
        (
            [FLOATS, LENGTHS],
            [("y", TensorProto.INT64, ["N", "T", 80])],
            ": its first output is not float log-probabilities [N, T', V]",
        ),
    ],
)
def test_a_model_of_another_kind_is_refused(
    inputs: list[tuple[str, int, list[object]]],
    outputs: list[tuple[str, int, list[object]]],
    message: str,
    tmp_path: Path,
) -> None:
    path = _model(tmp_path, inputs, outputs)
    with pytest.raises(UserFault) as caught:
        open_session("onnxruntime", path).run(np.zeros((10, 80), np.float32))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no model at all",
        lambda content: content[: len(content) // 2],
        lambda content: b"",
    ],
    ids=["text", "half", "empty"],
)
def test_a_damaged_file_is_refused(
    damage: Callable[[bytes], bytes], students: Callable[[str], Exported], tmp_path: Path
) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(damage(students("separable_conv").onnx.read_bytes()))
    with pytest.raises(UserFault) as caught:
        open_session("onnxruntime", path)
    assert str(caught.value).startswith(f"{path}: ONNX Runtime cannot load it (")
    assert "\n" not in str(caught.value)
