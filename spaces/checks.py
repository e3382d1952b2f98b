"""What a space file has to hold beyond the form of its sections."""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from spaces.axes import Axis, AxisError, Choice, FloatRange, Value, parse_axis
from spaces.document import Document, Loc
from spaces.families import FAMILIES
from spaces.front_end import USUAL, FrontEnd
from spaces.metrics import MetricRef
from spaces.points import Values, random_values, refused_by_target
from spaces.recipe import Decode, Distil, Prune, Quantize, Training
from spaces.registry import UnknownName
from spaces.space import Space
from spaces.space.budgets import parse_budgets
from spaces.space.sections import StreamingAxes
from spaces.space.space import DEFAULT_TARGET
from spaces.streaming import Streaming

_SECTIONS: dict[str, type] = {
    "front_end": FrontEnd,
    "streaming": Streaming,
    "decode": Decode,
    "training": Training,
    "distil": Distil,
    "prune": Prune,
    "quantize": Quantize,
}


def check_students(document: Document) -> None:
    """Each family known, each axis a dimension of it, each bound a legal value."""
    students = document.sections.get("students")
    if not isinstance(students, dict):
        return
    for family, axes in list(students.items()):
        loc: Loc = ("students", str(family))
        if family not in FAMILIES:
            document.add(loc, unknown(str(family), list(FAMILIES), "student family"))
            students[family] = {}
            continue
        if axes is None:
            students[family] = axes = {}
        if not isinstance(axes, dict):
            document.add(loc, "holds the axes of the family, one a line: `channels: [64, 128]`")
            students[family] = {}
            continue
        try:
            record = FAMILIES[family]
        except UnknownName as error:  # of another package, whose module cannot be loaded
            document.add(loc, str(error))
            students[family] = {}
            continue
        dims = list(record.dimensions())
        for name, raw in list(axes.items()):
            if name not in dims:
                document.add((*loc, str(name)), unknown(str(name), dims, "axis"))
                del axes[name]
                continue
            _check_axis(document, (*loc, name), raw, record)


def check_sections(document: Document) -> None:
    """Each bound of an axis that is not a family's own a legal value."""
    for section, record in _SECTIONS.items():
        axes = document.sections.get(section)
        for name, raw in axes.items() if isinstance(axes, dict) else ():
            if name in get_type_hints(record):
                _check_axis(document, (section, name), raw, record)


def _check_axis(document: Document, loc: Loc, raw: object, record: type) -> None:
    try:
        axis = parse_axis(raw)
    except AxisError:
        return  # reported with its line by the validation of the whole
    if isinstance(axis, FloatRange) and get_type_hints(record)[str(loc[-1])] is int:
        document.add(loc, "takes whole numbers: write {int: [low, high]}")
        return
    if loc[-1] in ("kernel", "context") and any(int(v) % 2 == 0 for v in axis.values_in_order()):
        document.add(loc, f"a {loc[-1]} is an odd number of frames (with a range: odd low, step 2)")
        return
    for value in _bounds(axis):
        try:
            TypeAdapter(record).validate_python({loc[-1]: value})
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ").lower()
            document.add(loc, f"{value!r}: {reason}")
            return


def _bounds(axis: Axis) -> list[Value]:
    return list(axis.values) if isinstance(axis, Choice) else [axis.low, axis.high]


def check_budgets(document: Document) -> None:
    """Each limit can be read; those that cannot are told and left out, so that the rest of the
    file is checked as well."""
    try:
        parse_budgets(document.sections.get("budgets"))
        return
    except ValidationError as error:
        for detail in error.errors():
            document.add(("budgets", *detail["loc"]), detail["msg"])
    except PydanticCustomError as error:
        document.add(("budgets",), error.message())
    del document.sections["budgets"]


def check_targets(document: Document) -> None:
    """Each `metric@target` names a target of the file."""
    targets = document.sections.get("targets")
    known = list(map(str, targets)) if isinstance(targets, dict) else [DEFAULT_TARGET]
    objectives = document.sections.get("objectives")
    budgets = document.sections.get("budgets")
    places: list[tuple[Loc, object]] = []
    if isinstance(objectives, list):
        places += [(("objectives", i), name) for i, name in enumerate(objectives)]
    if isinstance(budgets, dict):
        places += [(("budgets", str(name)), name) for name in budgets]
    for loc, name in places:
        target = MetricRef.of(str(name)).target
        if target and target not in known:
            document.add(loc, f"{name}: no target {target} (targets: {', '.join(known)})")


def check_rules(document: Document, space: Space) -> None:
    known = dict(_rule_axes(space))
    for i, rule in enumerate(space.forbid):
        for condition in rule.conditions:
            loc: Loc = ("forbid", i, condition.axis)
            if condition.axis not in known:
                document.add(loc, unknown(condition.axis, sorted(known), "axis"))
            elif fault := condition.fault(known[condition.axis]):
                document.add(loc, fault)
    _check_families(document, space)
    for metric, reason in space.unmeasurable().items():
        loc = ("budgets", metric) if space.budget_on(metric) else ("objectives",)
        document.add(loc, f"{metric}: {reason}")
    if not document.faults and random_values(space, random.Random(0)) is None:
        document.add(("forbid",), "forbids every recipe of the space; take a rule out")


def _check_families(document: Document, space: Space) -> None:
    """Each family can be run by every target in some number format of the space."""
    for family in space.students:
        refusals = {refused_by_target(space, values) for values in _formats(space, family)}
        if None not in refusals:
            reason = sorted(str(r) for r in refusals)[0]
            document.add(
                ("students", family),
                f"no target combination runs it ({reason}); take the family, the format or the "
                "target out",
            )
    if "teacher" in space.students and not space.teacher.has_file:
        document.add(
            ("students", "teacher"),
            f"a teacher of the kind {space.teacher.kind}: has no file with the students' inputs to "
            "be made smaller; bring it as checkpoint: or onnx:",
        )
    _check_front_end(document, space)
    _check_streaming(document, space)
    if space.data.unlabelled and not any(w for w in space.distil.weight.values_in_order()):
        document.add(
            ("data", "unlabelled"),
            "is learnt from through the teacher, and distil.weight is 0: nobody would hear it",
        )
    contracts = set()
    for family in space.students:
        with suppress(UnknownName):  # told already
            contracts.add(FAMILIES[family].contract)
    if len(contracts) > 1:
        document.add(
            ("students",),
            "families of different subsampling, loss or decoding cannot share a study: their "
            "teacher targets and tokens differ; give each a space of its own",
        )


def _check_front_end(document: Document, space: Space) -> None:
    """What hears otherwise than a teacher or a baseline cannot be in one measurement with it, nor
    in one supernet."""
    trained = space.teacher.train
    if trained is not None and not trained.student.front_end.is_usual:
        loc: Loc = ("teacher", "train", "student", "front_end")
        document.add(loc, "a teacher has the usual front end; take it out")
    heard = space.front_end.varied()
    rates = heard.get("sample_rate_hz")
    if rates is not None and 8000 in rates.values_in_order() and space.gate.regression is not None:
        document.add(
            ("front_end", "sample_rate_hz"),
            "a baseline of 16 kHz cannot be timed in turn with students of 8 kHz; take it or "
            "gate.regression out",
        )
    several = [name for name, axis in heard.items() if axis.size() != 1]
    if several and space.search.weight_sharing == "on":
        document.add(
            ("front_end", several[0]),
            "students that hear differently are no slices of one network; choose one value, or "
            "weight_sharing: off",
        )


def _check_streaming(document: Document, space: Space) -> None:
    """Live speech is for families, dimensions and front ends that can hear in chunks."""
    if space.task == "offline":
        if space.streaming != StreamingAxes():
            document.add(("streaming",), "is read where `task` is streaming or both; it is offline")
        return
    for family in space.trained_families:
        loc: Loc = ("students", family)
        if not FAMILIES[family].streams:
            if space.task == "streaming":
                document.add(loc, "hears whole utterances only; take it out, or say `task: both`")
            continue
        axes = space.students[family]
        for name, wanted in (("bidirectional", False), ("attended", 1.0)):
            if name in axes and set(axes[name].values_in_order()) != {wanted}:
                document.add((*loc, name), f"is {str(wanted).lower()} where speech is live")
    for name, wanted in (("shift_ms", USUAL.shift_ms), ("sample_rate_hz", USUAL.sample_rate_hz)):
        if set(getattr(space.front_end, name).values_in_order()) != {wanted}:
            document.add(("front_end", name), f"is {wanted:g} where speech is live")
    if space.search.weight_sharing == "on":
        document.add(
            ("search", "weight_sharing"), "a supernet hears whole utterances; live speech: off"
        )


def _formats(space: Space, family: str) -> Iterator[Values]:
    """Every choice of what a runtime may refuse, as axis values."""
    may_be_refused = (
        "quantize.",
        "front_end.mels",
        "streaming.",
        "decode.beam",
        f"{family}.attended",
    )
    axes = {n: a for n, a in space.axes_of(family).items() if n.startswith(may_be_refused)}
    for chosen in itertools.product(*(axis.values_in_order() for axis in axes.values())):
        yield {"family": family, **dict(zip(axes, chosen, strict=True))}


def _rule_axes(space: Space) -> Iterator[tuple[str, Axis]]:
    """Axes by every name that a rule may call them."""
    yield "family", Choice(tuple(space.students))
    for family in space.students:
        for name, axis in space.axes_of(family).items():
            yield name, axis
            if name.startswith(f"{family}."):
                yield name.partition(".")[2], axis


def unknown(name: str, known: list[str], noun: str) -> str:
    """What to say of a name that is not known."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return f"unknown {noun}; {hint}"
