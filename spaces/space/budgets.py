"""Budgets: limits on a metric, read once when the space is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from spaces.metrics import MetricRef


@dataclass(frozen=True)
class Budget:
    """A limit on one metric: a number, or the teacher's value plus a number.

    A hard budget makes a trial that breaks it infeasible: it never enters the front.
    """

    metric: MetricRef
    limit: float
    relative_to_teacher: bool = False
    written: str = ""  # as the space says it

    def limit_given(self, teacher_value: float | None) -> float | None:
        """The limit as a number; None while a needed teacher value is not known."""
        if not self.relative_to_teacher:
            return self.limit
        return None if teacher_value is None else teacher_value + self.limit

    def excess(self, value: float, teacher_value: float | None) -> float | None:
        """How far `value` breaks the budget; 0 or less where it is met."""
        limit = self.limit_given(teacher_value)
        if limit is None:
            return None
        return limit - value if self.metric.known.higher_is_better else value - limit

    def __str__(self) -> str:
        sign = ">=" if self.metric.known.higher_is_better else "<="
        teacher = "teacher + " if self.relative_to_teacher else ""
        return f"{self.metric} {sign} {teacher}{self.limit:g}"


_LIMIT = re.compile(
    r"\s*(?P<sign><=|>=)\s*(?P<teacher>teacher)?\s*(?P<turn>[+-])?\s*"
    r"(?P<number>[0-9.]+(?:e-?\d+)?)?\s*(?P<percent>%)?\s*"
)


def parse_budget(name: str, raw: object) -> Budget:
    """Read `"<= 15"`, `"<= 12%"` or `"<= teacher + 0.012"`.

    Raises:
        ValueError: with the reason.
    """
    metric = MetricRef.parse(name)
    known = metric.known
    sign = ">=" if known.higher_is_better else "<="
    form = f'write "{sign} 15" or "{sign} teacher + 0.012"'
    match = _LIMIT.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or not (match["teacher"] or match["number"]):
        raise ValueError(f"{raw!r} is not a budget: {form}")
    if match["sign"] != sign:
        raise ValueError(f"{raw!r} limits {metric} from the wrong side: {form}")
    if match["teacher"] and bool(match["turn"]) != bool(match["number"]):
        raise ValueError(f"{raw!r} is not a budget: {form}")
    try:
        number = float(match["number"] or 0) * (-1 if match["turn"] == "-" else 1)
    except ValueError as error:
        raise ValueError(f"{raw!r} is not a budget: {form}") from error
    if match["percent"]:
        if known.unit != "fraction":
            raise ValueError(f"{raw!r}: {metric} is not a share, so % says nothing: {form}")
        number /= 100
    if known.unit == "fraction" and abs(number) > 1:
        raise ValueError(f"{raw!r}: {metric} is a fraction; write {number / 100:g} or {number:g}%")
    return Budget(metric, number, bool(match["teacher"]), str(raw))


def parse_budgets(raw: object) -> object:
    """The `budgets:` of a space: a limit by metric.

    Raises:
        ValidationError: with every limit that is wrong, by its metric.
    """
    if raw is None:
        return ()
    if not isinstance(raw, dict):
        return raw if isinstance(raw, tuple) else _refuse_form()
    budgets, faults = [], []
    for name, limit in raw.items():
        try:
            budgets.append(parse_budget(str(name), limit))
        except ValueError as error:
            faults.append(_fault(str(error), (str(name),), limit))
    if faults:
        raise ValidationError.from_exception_data("budgets", faults)
    return tuple(budgets)


def _refuse_form() -> tuple[Budget, ...]:
    raise PydanticCustomError("rule", 'holds one limit a line, such as size_mb: "<= 15"')


def _fault(message: str, loc: tuple[str, ...], given: object) -> InitErrorDetails:
    error = PydanticCustomError("rule", "{message}", {"message": message})
    return InitErrorDetails(type=error, loc=loc, input=given)
