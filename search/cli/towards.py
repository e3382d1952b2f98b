"""`--towards`: the region that added trials are to lie in, as the user writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from search.added_targets import own_space_of
from search.errors import UsageFault
from search.policy import policy_of
from spaces.metrics import MetricRef
from spaces.space import Budget, Space, parse_budget
from storage.records import Study, Trial

_FORM = re.compile(r"\s*([A-Za-z0-9_@-]+)\s*(<=|>=|=)\s*(\S.*?)\s*")


def parse_towards(texts: Sequence[str], study: Study, trials: Sequence[Trial]) -> dict[str, str]:
    """Limits by metric, as budgets are written.

    Args:
        texts: such as `latency_p95_ms=20`, `wer<=12%` or `size_mb@pi5=1`.
        trials: those of the study.

    Raises:
        UsageFault: naming the one that is wrong.
    """
    space, limits = own_space_of(study), [_limit(text) for text in texts]
    for text, limit in zip(texts, limits, strict=True):
        if reason := _why_not(limit, limits, study, space, trials):
            raise UsageFault(f"--towards {text}: {reason}")
    return {str(limit.metric): limit.written for limit in limits}


def _limit(text: str) -> Budget:
    match = _FORM.fullmatch(text)
    if match is None or match[3].startswith("teacher"):
        raise UsageFault(
            f'--towards: "{text}" is not a limit; write for example latency_p95_ms=20 or wer=12%'
        )
    name, sign, number = match.groups()
    try:
        if sign == "=":
            sign = ">=" if MetricRef.parse(name).known.higher_is_better else "<="
        return parse_budget(name, f"{sign} {number}")
    except ValueError as error:
        raise UsageFault(f"--towards {text}: {error}") from error


def _why_not(
    limit: Budget, limits: Sequence[Budget], study: Study, space: Space, trials: Sequence[Trial]
) -> str | None:
    """What keeps a limit from steering this study."""
    metric = limit.metric
    if sum(other.metric == metric for other in limits) > 1:
        return f"{metric} is given twice"
    if metric.target in study.added_targets:
        return f"{metric.target} was added to the study, and new trials are not measured there"
    if metric.target and metric.target not in space.targets:
        return f"no target {metric.target} (targets: {', '.join(space.targets)})"
    if metric.known.noisy and not policy_of(study.deterministic).timed_decides:
        return "the study is deterministic, where what is timed decides nothing"
    told = space.model_copy(update={"budgets": (limit,)}).unmeasurable()
    if metric in told:
        return told[metric]
    measured = [t.metrics for t in trials if t.state.is_measured]
    if measured and not any(metric in figures for figures in measured):
        return f"no trial of {study.name} has a figure of {metric}"
    return None
