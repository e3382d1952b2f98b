"""The answer in words, the same on pages, in terminals and in reports."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search.analysis.answer import Answer, Beside
from search.report.labels import format_metric, metric_name


def answer_line(answer: Answer) -> str:
    """What to ship, and what its figures are; or that nothing is worth it."""
    wer = answer.figures["wer"]
    if wer >= 1:
        return (
            f"Ship none of these: trial {answer.number} makes as few errors as any, and its WER is "
            f"{wer:.1%}; writing nothing makes 100 %."
        )
    known = {name: format_metric(name, value) for name, value in answer.figures.items()}
    told = [known["size_mb"]] * ("size_mb" in known)
    told.append(_errors(known))
    told += [f"p95 {known['latency_p95_ms']}"] * ("latency_p95_ms" in known)
    told += [f"{metric_name(m)} {format_metric(m, v)}" for m, v in answer.asked.items()]
    if answer.is_steady is not None:
        told.append("steady" if answer.is_steady else "times unsteady")
    where = f" on {answer.target}" if answer.target else ""
    return f"Ship trial {answer.number}{where}: {', '.join(told)}."


def _errors(known: Mapping[str, str]) -> str:
    if "wer_low" not in known or "wer_high" not in known:
        return f"{known['wer']} WER"
    return f"{known['wer']} WER ({known['wer_low'].rstrip('%')} to {known['wer_high']})"


def others_line(answer: Answer) -> str:
    """What more errors or bytes would buy: the trial with the fewest errors, and the next one
    below."""
    parts = []
    if answer.fewest is not None:
        other = answer.fewest
        parts.append(
            f"Trial {other.number} makes {_errors_beside(other)}, within noise, and is "
            f"{_larger(answer, other)}."
        )
    else:
        parts.append(f"None{_within(answer)} makes fewer errors.")
    if answer.below is not None:
        other = answer.below
        parts.append(
            f"Trial {other.number} is {_larger(answer, other)} and makes {_errors_beside(other)} "
            f"({_interval(other)})."
        )
    else:
        less = _LESS.get(answer.by.name, "faster, beyond what chance explains")
        parts.append(f"None of the front{_within(answer)} is {less}.")
    return " ".join(parts)


def _within(answer: Answer) -> str:
    return " within the budgets" if answer.n_within < answer.n_complete else ""


_MORE = {"size_mb": "larger"}
_LESS = {"size_mb": "smaller"}


def _larger(answer: Answer, other: Beside) -> str:
    if not math.isfinite(other.larger):
        return "of another size"
    words = _MORE.get(answer.by.name, "slower"), _LESS.get(answer.by.name, "faster")
    if abs(other.larger) < _SAME:
        return f"no {words[0]}"
    return f"{abs(other.larger):.0%} {words[other.larger < 0]}"


_SAME = 0.005


def _errors_beside(other: Beside) -> str:
    points = f"{100 * abs(other.points):.1f}"
    if points == "0.0":
        return "as many errors"
    more = "more" if other.points > 0 else "fewer"
    return f"{points} {'point' if points == '1.0' else 'points'} {more} errors"


def _interval(other: Beside) -> str:
    return f"95 %: {100 * other.low:+.1f} to {100 * other.high:+.1f}"


def rule_line(answer: Answer) -> str:
    """By which rule it is the answer."""
    is_size = answer.by.name == "size_mb"
    least = "smallest" if is_size else "smallest of those not told apart from the fastest"
    return (
        f"Rule: the {least} of the {answer.n_tied} whose errors this dev set does not tell from "
        f"the fewest (in pairs, 95 %), of {answer.n_within} within the budgets "
        f"({answer.n_complete} complete)."
    )


def settled_line(answer: Answer, n_left: int) -> str:
    """How settled it is while trials are still to come."""
    if not answer.stands:
        since = "it has just become the answer"
    else:
        since = f"it was the answer {answer.stands} trials ago as well"
    return f"{n_left} trials are still to come; {since}."
