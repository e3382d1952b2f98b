"""What runtimes can take is known before they are installed, and a space keeps to it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.strategy.initial_design import initial_design
from spaces.backends import BACKENDS, backend_info
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
