"""What `search validate` found, in lines."""

from __future__ import annotations

from search.policy import AS_MEASURED
from search.report.labels import format_metric
from search.strategy.weight_sharing import SUPERNET_TRAININGS, decide, training_of_slice
from search.study.host import threads_of
from search.study.preflight import SpaceReport
from spaces.counting import count
from spaces.points import recipe_of
from spaces.sizes import sized_values
from spaces.space import Space
from workers.data.check import fault_lines


def count_lines(space: Space) -> list[str]:
    families = ", ".join(space.students)
    return [
        f"space: {count(space)}; families: {families}",
        f"search: {space.search.trials} trials by {space.search.sampler}, "
        f"{space.search.parallel} at a time; objectives: {', '.join(space.objectives)}",
        "budgets: " + (", ".join(map(str, space.budgets)) or "none"),
    ]


def data_lines(report: SpaceReport) -> list[str]:
    out = ["data: " + line for line in report.data.lines()[: len(report.data.splits) + 1]]
    out += report.data.notes
    out += fault_lines(report.data.faults)
    refused = (report.data.refused, report.teacher_fault)
    return out + [f"REFUSED: {reason}" for reason in refused if reason]


def cost_lines(space: Space, report: SpaceReport) -> list[str]:
    out = []
    for end in report.extremes:
        figures = ", ".join(
            format_metric(m, end.metrics.get(m))
            for m in ("params", "size_mb", "latency_p95_ms", "macs")
        )
        verdict = f"breaks {', '.join(end.violations)}" if end.violations else "within the budgets"
        verdict += "".join(f"; not measured on {target}" for target in end.not_screened_on)
        out.append(f"{end.which}: {figures}: {verdict}")
    if report.hopeless:
        budgets = ", ".join(report.hopeless)
        out.append(f"IMPOSSIBLE: no end of any family comes near {budgets}; widen one or the other")
    if report.epoch_s is not None:
        out += _time_lines(space, report, report.epoch_s)
    return out


def _time_lines(space: Space, report: SpaceReport, epoch_s: float) -> list[str]:
    family = space.trained_families[0]
    training = recipe_of(sized_values(space, family, 0.5)).training
    sharing = decide(space, space.search.trials)
    whole_s = epoch_s * training.epochs
    epochs = training_of_slice(space, training).epochs if sharing.is_shared else training.epochs
    trial_s = epoch_s * epochs
    total_s = trial_s * space.search.trials / space.search.parallel
    out = [
        f"time: a middling trial about {trial_s:.0f} CPU s ({epochs} epochs of "
        f"{epoch_s:.1f} s); {space.search.trials} trials about {total_s / 60:.0f} min, "
        f"{space.search.parallel} at a time"
    ]
    if report.teacher_epoch_s is not None and space.teacher.train is not None:
        epochs = space.teacher.train.training.epochs
        threads = threads_of(space, AS_MEASURED)[1]
        minutes = report.teacher_epoch_s * epochs / threads / 60
        out.append(f"      the teacher first, about {minutes:.0f} min on {threads} threads")
    if space.search.weight_sharing != "off":
        out.append(f"      weight sharing: {sharing.reason}")
    if sharing.is_shared:
        cpu_s, threads = SUPERNET_TRAININGS * whole_s, threads_of(space, AS_MEASURED)[1]
        out.append(
            f"      a supernet of each of {len(space.trained_families)} families first, about "
            f"{cpu_s / threads / 60:.0f} min each on {threads} threads, unless it is there already"
        )
    return out
