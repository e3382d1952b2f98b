"""What runtimes can take is known before they are installed, and a space keeps to it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agents
import plugin_example
import pytest

from search.strategy.initial_design import initial_design
from spaces.backends import BACKENDS, backend_info
from spaces.errors import SpaceError
from spaces.load import parse_space
from spaces.points import enumerate_values, random_values
from spaces.recipe import PARTS, Scheme
from spaces.registry import UnknownName
from spaces.sizes import extreme_values
from spaces.space import Space

Make = Callable[..., Space]
FORMATS = list(Scheme.__args__)  # type: ignore[attr-defined]


# the table


@pytest.mark.parametrize("info", BACKENDS.values(), ids=BACKENDS)
def test_every_backend_says_what_it_is_and_how_it_comes(info: Any) -> None:
    assert info.meaning
    assert set(info.formats) <= set(FORMATS)
    assert (Path(*info.module.split(".")).with_suffix(".py")).name == f"{info.name}.py"
    assert "fp32" in info.precisions
    assert info.limits or info.name in ("onnxruntime", "stub")
    assert not (info.extra and info.requirements)


def test_a_student_is_refused_with_the_reason() -> None:
    same = BACKENDS["openvino"].refuses
    assert same("conformer", ("int8",) * 3) is None
    assert same("conformer", ("int8_dynamic",) * 3) == (
        "openvino has no int8_dynamic (has fp32, fp16, int8, int8_static, int4)"
    )
    assert same("conformer", ("fp32", "int8", "fp32")) == (
        "openvino takes one number format for the whole network"
    )
    assert BACKENDS["litert"].refuses("recurrent", ("fp32",) * 3) == "litert does not run recurrent"
    assert BACKENDS["onnxruntime"].refuses("recurrent", ("fp32", "int4", "fp16")) is None


def test_an_unknown_backend_is_answered_with_the_nearest_or_all() -> None:
    with pytest.raises(UnknownName, match=r'^no backend "openvinno"; did you mean "openvino"\?'):
        backend_info("openvinno")
    with pytest.raises(UnknownName, match=r'^no backend "zzz"; known: onnxruntime, openvino, '):
        backend_info("zzz")


# what a space proposes

FAMILIES = {
    "separable_conv": {"channels": [16, 24]},
    "conformer": {"channels": [16], "heads": [1, 2]},
}


def _formats_of(values: dict[str, Any]) -> tuple[str, ...]:
    scheme = values.get("quantize.scheme", "fp32")
    return tuple(values.get(f"quantize.{part}", scheme) for part in PARTS)


@pytest.mark.parametrize(
    ("targets", "quantize", "allowed"),
    [
        (("openvino",), {"scheme": FORMATS}, {"fp32", "fp16", "int8", "int8_static", "int4"}),
        (("litert",), {"scheme": FORMATS}, {"fp32", "fp16", "int8", "int8_dynamic", "int4"}),
        (("openvino", "litert"), {"scheme": FORMATS}, {"fp32", "fp16", "int8", "int4"}),
        (("onnxruntime", "executorch"), {"scheme": FORMATS}, {"fp32", "int8", "int8_dynamic"}),
        (
            ("openvino",),
            {part: ["fp32", "int8", "int4"] for part in PARTS},
            {"fp32", "int8", "int4"},
        ),
        (
            ("onnxruntime", "litert"),
            {"scheme": ["fp32", "int8_static"], "head": ["fp32", "int8"]},
            {"fp32"},
        ),
    ],
)
def test_a_space_never_proposes_what_one_of_its_targets_cannot_run(
    make_space: Make, targets: tuple[str, ...], quantize: dict[str, Any], allowed: set[str]
) -> None:
    space = make_space(
        students=FAMILIES, quantize=quantize, targets={t: {"backend": t} for t in targets}
    )
    everything = list(enumerate_values(space))
    proposed = [
        *everything,
        *initial_design(space, 30),
        *(extreme_values(space, family, end) for family in FAMILIES for end in (True, False)),
        *filter(None, (random_values(space, random.Random(seed)) for seed in range(60))),
    ]
    for values in proposed:
        formats = _formats_of(values)
        for target in targets:
            assert backend_info(target).refuses(str(values["family"]), formats) is None
    assert {f for values in everything for f in _formats_of(values)} == allowed
    if targets != ("onnxruntime",):
        assert all(len(set(_formats_of(values))) == 1 for values in everything)


def test_onnx_runtime_alone_is_offered_every_mixture(make_space: Make) -> None:
    space = make_space(quantize={part: ["fp32", "int8_dynamic"] for part in PARTS})
    assert len({_formats_of(values) for values in enumerate_values(space)}) == 8


# faults of a space

SPACE = """\
name: test
data: {synthetic: {}}
teacher: {train: {}}
students:
  separable_conv: {channels: 16}
  recurrent: {hidden: 16}
quantize: {scheme: fp32}
targets:
  cpu: {}
  other: {BACKEND}
"""
TOKEN = "token_env: PI5_TOKEN"


def _faults(text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        parse_space(text, "test.yaml")
    return [line.strip() for line in caught.value.lines()[1:]]


def _with(target: str) -> str:
    return SPACE.replace("BACKEND", target)


def test_a_family_that_no_target_runs_is_a_fault_with_its_line() -> None:
    assert _faults(_with("backend: litert")) == [
        "test.yaml:6: students.recurrent: no target combination runs it (other: litert does not "
        "run recurrent); take the family, the format or the target out"
    ]


def test_formats_that_no_target_takes_are_a_fault_of_every_family() -> None:
    text = _with("backend: openvino").replace("scheme: fp32", "scheme: int8_dynamic")
    assert [fault.partition(" no ")[0] for fault in _faults(text)] == [
        "test.yaml:5: students.separable_conv:",
        "test.yaml:6: students.recurrent:",
    ]


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("backend: onxruntime", '.backend: no backend "onxruntime"; did you mean "onnxruntime"?'),
        (
            "backend: openvino, graph_level: off",
            ": graph_level: no setting of openvino (its own: precision)",
        ),
        (
            "backend: mnn, arena: false, precision: fp16",
            ": arena, precision: no setting of mnn (it has none)",
        ),
        (
            "backend: openvino, precision: fp16",
            ": openvino computes in fp32, bf16, not in fp16",
        ),
        ("backend: openvino, spining: true", '.spining: unknown key; did you mean "spinning"?'),
        (
            'agent: "https://pi5:8765"',
            ": agent: (its address) and token_env: (the variable with its token) go together",
        ),
        (TOKEN, ": agent: (its address) and token_env: (the variable with its token) go together"),
        (
            f'agent: "https://pi5:8765", {TOKEN}, adb: R58M',
            ": give either agent: or adb:, not both",
        ),
        ("ca_file: ca.pem", ": ca_file: is for agent:"),
        ("adb: R58M, ca_file: ca.pem", ": ca_file: is for agent:"),
        (
            f'backend: openvino, agent: "https://pi5:8765", {TOKEN}',
            ": openvino runs on this machine only, not on a device",
        ),
        (
            "backend: openvino, adb: R58M",
            ": openvino runs on this machine only, not on a device",
        ),
        (
            f'agent: "http://pi5:8765", {TOKEN}',
            ".agent: 'http://pi5:8765': would send the token in the clear; use https:// beyond "
            "loopback",
        ),
        (
            f'agent: "https://me:secret@pi5:8765", {TOKEN}',
            "is an address alone; the token comes from token_env",
        ),
        (
            f'agent: "https://pi5:8765/?token=secret", {TOKEN}',
            "is an address alone; the token comes from token_env",
        ),
        (
            f'agent: "pi5:8765", {TOKEN}',
            "write the agent's address as https://host:port (http:// on loopback)",
        ),
        (f'agent: "https://", {TOKEN}', "write the agent's address as https://host:port"),
        (
            'agent: "https://pi5:8765", token_env: "my token"',
            ".token_env: 'my token': string should match pattern",
        ),
        ('adb: "; rm -rf /"', ".adb: '; rm -rf /': string should match pattern"),
        ("threads: 0", ".threads: 0: input should be greater than or equal to 1"),
        ("within: 0", ".within: Input should be greater than 0"),
        ("stream_limit_ms: -1", ".stream_limit_ms: -1: input should be greater than 0"),
    ],
)
def test_a_target_that_makes_no_sense_is_told_with_its_line(target: str, fault: str) -> None:
    (said,) = _faults(_with(target))
    assert said.startswith("test.yaml:10: targets.other")
    assert fault in said


@pytest.mark.parametrize(
    ("target", "is_remote", "shares", "device"),
    [
        ("threads: 2", False, True, "this machine"),
        (f'agent: "https://pi5:8765/", {TOKEN}', True, False, "https://pi5:8765"),
        (f'agent: "http://localhost:8765", {TOKEN}', True, True, "http://localhost:8765"),
        (f'agent: "http://[::1]:8765", {TOKEN}', True, True, "http://[::1]:8765"),
        ("adb: R58M", True, False, "adb R58M"),
    ],
)
def test_a_target_knows_where_it_measures(
    target: str, is_remote: bool, shares: bool, device: str
) -> None:
    other = parse_space(_with(target), "test.yaml").targets["other"]
    assert (other.is_remote, other.shares_this_machine, other.device) == (is_remote, shares, device)


def test_a_ca_file_lies_beside_the_space(tmp_path: Path) -> None:
    text = _with(f'agent: "https://pi5:8765", {TOKEN}, ca_file: keys/ca.pem')
    space = parse_space(text, tmp_path / "test.yaml")
    assert space.targets["other"].ca_file == str(tmp_path / "keys" / "ca.pem")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("objectives: [wer, latency_p95_ms@other]", "objectives.1"),
        ('budgets: {"latency_p95_ms@other": "<= 5"}', "budgets.latency_p95_ms@other"),
    ],
)
def test_a_phone_by_adb_is_asked_for_the_network_alone(section: str, place: str) -> None:
    (said,) = _faults(_with("adb: R58M") + section + "\n")
    assert "latency_p95_ms@other: a phone by adb tells graph_p50_ms and graph_p95_ms only" in said
    parse_space(_with("adb: R58M") + section.replace("latency", "graph") + "\n", "test.yaml")


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("objectives: [wer, latency_p95_ms@pi5]", "objectives.1"),
        ('budgets: {"rtf@pi5": "<= 5"}', "budgets.rtf@pi5"),
    ],
)
def test_a_metric_of_a_target_that_is_not_there_is_a_fault(section: str, place: str) -> None:
    (said,) = _faults(_with("adb: R58M") + section + "\n")
    assert said.startswith(f"test.yaml:11: {place}: ")
    assert said.endswith("no target pi5 (targets: cpu, other)")


def test_off_is_a_level_of_optimisation_and_not_false() -> None:
    target = parse_space(_with("graph_level: off"), "test.yaml").targets["other"]
    assert target.settings()["graph_level"] == "off"
    (said,) = _faults(_with("graph_level: on"))
    assert "targets.other.graph_level: True: input should be 'all', 'extended'" in said


# runtimes of a space


def test_targets_that_compute_alike_are_one_runtime_and_onnx_runtime_is_the_first(
    make_space: Make,
) -> None:
    space = make_space(
        targets={
            "ov": {"backend": "openvino"},
            "fast": {"backend": "openvino", "precision": "bf16"},
            "ov2": {"backend": "openvino", "threads": 2},
        }
    )
    found = [(r.backend, r.precision, r.targets, r.label) for r in space.runtimes()]
    assert found == [
        ("onnxruntime", "fp32", (), "=onnx"),
        ("openvino", "fp32", ("ov", "ov2"), "ov"),
        ("openvino", "bf16", ("fast",), "fast"),
    ]


# a backend from outside


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The example, installed in a folder of its own as pip does it."""
    folder = tmp_path / "elsewhere"
    described = folder / "plugin_example-1.0.dist-info"
    described.mkdir(parents=True)
    shutil.copy(plugin_example.__file__, folder)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-example\nVersion: 1\n")
    (described / "entry_points.txt").write_text(
        "[compression_search.backends]\nexample = plugin_example\nbroken = no_such_module\n"
        "odd = json\nopenvino = plugin_example\n"
    )
    return folder


def _run(program: str, outside: Path, *arguments: object) -> tuple[str, str]:
    paths = [str(outside), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


_USES = """
import json, sys
from pathlib import Path
import numpy as np
from spaces.backends import BACKENDS, backend_info
from spaces.errors import SpaceError
from spaces.load import parse_space
from workers.backends.environments import interpreter_of
from workers.isolated_call import call

text, onnx, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
said = {}
target = parse_space(text.replace("BACKEND", "backend: example"), "test.yaml").targets["other"]
said["backend"] = target.backend
for name in ("exmaple", "broken", "odd"):
    try:
        parse_space(text.replace("BACKEND", f"backend: {name}"), "test.yaml")
    except SpaceError as error:
        said[name] = str(error)
said["ours"] = backend_info("openvino").module
said["known"] = list(BACKENDS)
request = {"backend": "example", "onnx": onnx, "network": None, "formats": ["fp32"] * 3,
           "calibration": None, "lengths": [], "folder": str(folder)}
said["files"] = call("prepare", request, interpreter_of("example"))
np.random.default_rng(0).normal(0, 1, (150, 80)).astype(np.float32).tofile(folder / "f32")
for backend in ("example", "onnxruntime"):
    request = {"backend": backend, "model": str(folder / said["files"][0]),
               "settings": target.settings(), "features": str(folder / "f32"),
               "at": [[0, 50], [50, 100]]}
    said[backend] = call("recognise", request, interpreter_of(backend))
print(json.dumps(said))
"""


def test_a_backend_of_another_package_is_used_like_ours(outside: Path, tmp_path: Path) -> None:
    onnx = agents.student(tmp_path / "student")
    said = json.loads(_run(_USES, outside, SPACE, onnx, tmp_path / "prepared")[0])
    assert said["backend"] == "example"
    assert said["files"] == ["model.onnx"]
    assert [len(ids) for ids in said["example"]] == [13, 25]
    assert said["example"] == said["onnxruntime"]
    assert 'no backend "exmaple"; did you mean "example"?' in said["exmaple"]
    assert 'backend "broken" of no_such_module cannot be loaded (ModuleNotFound' in said["broken"]
    assert 'backend "odd": json is not a BackendInfo' in said["odd"]
    assert said["ours"] == "workers.backends.openvino"  # nobody takes the name of one of ours
    assert said["known"] == [*BACKENDS, "example", "broken", "odd"]


_LISTS = "import sys; from search.cli import main; sys.argv[0] = 'search'; main()"


def test_backends_of_other_packages_are_listed_with_ours(outside: Path) -> None:
    (outside / "plugin_example-1.0.dist-info" / "entry_points.txt").write_text(
        "[compression_search.backends]\nexample = plugin_example\n"
    )
    said, _ = _run(_LISTS, outside, "backends")
    assert "example (first class; installed): ONNX Runtime by another name" in said
    assert "openvino (first class; " in said
    rows = {row["name"]: row for row in json.loads(_run(_LISTS, outside, "backends", "--json")[0])}
    assert rows["example"]["installed"] is True
    assert rows["litert"]["requirements"]
    assert "stub" not in rows


def test_a_backend_that_cannot_be_loaded_hides_no_other(outside: Path) -> None:
    said, complaints = _run(_LISTS, outside, "backends")
    assert "example (first class; installed)" in said
    assert "broken" not in said
    assert 'search: backend "broken" of no_such_module cannot be loaded' in complaints
