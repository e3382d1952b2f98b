"""From chosen axis values to a recipe: which axes matter, what is forbidden, what there is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping

from spaces.axes import Axis, Value
from spaces.backends import backend_info
from spaces.front_end import USUAL
from spaces.recipe import PARTS, Distil, Prune, Quantize, Recipe
from spaces.space import Space

Values = dict[str, Value]


_FOLLOWING = tuple(f"distil.{n}" for n in Distil.model_fields if n != "weight")
_PRUNING = tuple(f"prune.{n}" for n in Prune.model_fields if n != "ratio")


_OF_OUR_QUANTIZER = tuple(
    (f"quantize.{name}", Quantize.model_fields[name].default)
    for name in ("calibration", "keep", "equalise")
)


def is_active(axis_name: str, values: Mapping[str, Value]) -> bool:
    """Whether an axis matters, given those chosen before it."""
    if axis_name == "distil.hidden_layers":
        return float(values.get("distil.hidden_weight", 0)) > 0
    if axis_name in _FOLLOWING:
        return float(values.get("distil.weight", 0)) > 0
    if axis_name == "streaming.look_ahead_ms":
        return _number(values, "streaming.chunk_ms", 0) > 0
    if axis_name in ("decode.lm_order", "decode.lm_weight"):
        return _number(values, "decode.beam", 1) > 1
    if axis_name in _PRUNING:
        return float(values.get("prune.ratio", 0)) > 0
    if axis_name == "quantize.qat_epochs":
        return any(scheme.startswith("int") for scheme in _schemes(values))
    if axis_name in ("quantize.keep", "quantize.equalise") and values.get("quantize.qat_epochs"):
        return False  # of rounded weights nothing is to be gained, and a grid would be left
    if axis_name == "quantize.keep":
        return any(scheme.startswith("int") for scheme in _schemes(values))
    if axis_name == "quantize.equalise":
        return any(scheme.startswith("int8") for scheme in _schemes(values))
    if axis_name == "quantize.calibration":
        return not {"int8", "int8_static"}.isdisjoint(_schemes(values))
    return True


def _number(values: Mapping[str, Value], name: str, usual: float) -> float:
    """A value; the usual one where it is none, which is told elsewhere."""
    value = values.get(name, usual)
    return float(value) if isinstance(value, int | float) else usual


def _schemes(values: Mapping[str, Value]) -> tuple[str, ...]:
    """The number format of each part."""
    scheme = str(values.get("quantize.scheme", "fp32"))
    return tuple(str(values.get(f"quantize.{part}", scheme)) for part in PARTS)


def choose(space: Space, family: str, pick: Callable[[str, Axis], Value]) -> Values:
    """Walk the axes of a family in order and let `pick` choose each active one."""
    values: Values = {"family": family}
    for name, axis in space.axes_of(family).items():
        if is_active(name, values):
            values[name] = pick(name, axis)
    return values


def recipe_of(values: Mapping[str, Value]) -> Recipe:
    """The recipe that a full choice of axis values stands for."""
    family = str(values["family"])
    sections: dict[str, dict[str, Value]] = {
        "student": {"family": family},
        "training": {},
        "distil": {},
        "prune": {},
        "quantize": {},
        "front_end": {},
        "streaming": {},
        "decode": {},
    }
    scheme = values.get("quantize.scheme", "fp32")
    sections["quantize"] = dict.fromkeys(PARTS, scheme)
    losses = []
    for name, value in values.items():
        section, _, key = name.partition(".")
        if name in ("family", "quantize.scheme"):
            continue
        if section == "losses":
            losses.append({"name": key, "weight": value})
        else:
            sections["student" if section == family else section][key] = value
    heard = {"front_end": sections.pop("front_end"), "streaming": sections.pop("streaming")}
    if not heard["streaming"].get("chunk_ms"):
        del heard["streaming"]
    student = {**sections["student"], **{name: told for name, told in heard.items() if told}}
    return Recipe.model_validate({**sections, "student": student, "losses": losses})


def refusal(space: Space, values: Mapping[str, Value]) -> str | None:
    """Why these values are not to be tried: a `forbid:` rule, or a target that cannot run such a
    student; None where they may be."""
    rule = next((rule for rule in space.forbid if rule.matches(values)), None)
    return f"forbidden: {rule.written}" if rule else refused_by_target(space, values)


def refused_by_target(space: Space, values: Mapping[str, Value]) -> str | None:
    """Which target cannot run such a student, and why; None where all can."""
    formats = _schemes(values)
    for name, target in space.targets.items():
        mels = int(values.get("front_end.mels", USUAL.mels))
        reason = backend_info(target.backend).refuses(str(values["family"]), formats, mels)
        if reason is not None:
            return f"{name}: {reason}"
        if _number(values, "decode.beam", 1) > 1:
            if target.backend != "onnxruntime" or target.is_remote:
                return f"{name}: beam search is for ONNX Runtime on this machine"
            if values.get("streaming.chunk_ms"):
                return f"{name}: live speech is decoded greedily: a beam would take back words"
        if values.get("streaming.chunk_ms") and (reason := _refused_live(target.backend, values)):
            return f"{name}: {reason}"
        attended = float(values.get(f"{values['family']}.attended", 1.0))
        if attended < 1 and not backend_info(target.backend).gathers:
            return f"{name}: {target.backend} cannot gather frames; attended is 1 there"
        if not backend_info(target.backend).quantizes_onnx:
            asked = next(
                (a for a, usual in _OF_OUR_QUANTIZER if values.get(a, usual) != usual), None
            )
            if asked is not None:
                return f"{name}: {target.backend} quantizes by itself, without {asked}"
    return None


def _refused_live(backend: str, values: Mapping[str, Value]) -> str | None:
    """Why a student cannot hear live speech there."""
    if not backend_info(backend).streams:
        return f"{backend} runs no models for live speech"
    calibrated = {"int8_static"} if backend == "onnxruntime" else {"int8_static", "int8"}
    if values.get("quantize.equalise") or not calibrated.isdisjoint(_schemes(values)):
        return "live speech knows no static int8 and no equalise: no windows to calibrate on"
    return None


def enumerate_values(space: Space) -> Iterator[Values]:
    """Every allowed choice once, continuous axes at their middle."""
    for family in space.students:
        axes = space.axes_of(family)
        seen: set[tuple[tuple[str, Value], ...]] = set()
        for combination in itertools.product(*(axis.values_in_order() for axis in axes.values())):
            chosen = dict(zip(axes, combination, strict=True))
            values = choose(space, family, lambda name, _, chosen=chosen: chosen[name])  # type: ignore[misc]
            key = tuple(values.items())
            if key not in seen and refusal(space, values) is None:
                seen.add(key)
                yield values


def random_values(space: Space, rng: random.Random, attempts: int = 1000) -> Values | None:
    """A random allowed choice; None where the rules leave nothing to be found."""
    families = list(space.students)
    for _ in range(attempts):
        values = choose(space, rng.choice(families), lambda _, axis: axis.at(rng.random()))
        if refusal(space, values) is None:
            return values
    return None
