"""`search pick`: which student to ship."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from search.cli.common import open_store, space_of, study_named
from search.errors import UsageFault

if TYPE_CHECKING:
    import pandas as pd

    from search.analysis.answer import Answer
    from search.analysis.choice import Candidate, Choice
    from search.analysis.pick import Limit
    from spaces.space import Space

_AT_MOST = {"latency_ms": "latency_p95_ms", "size_mb": "size_mb", "wer": "wer"}


@click.command("pick")
@click.argument("name", metavar="[STUDY]", required=False)
@click.option("--latency-ms", type=click.FloatRange(0, min_open=True), help="p95 at most.")
@click.option("--size-mb", type=click.FloatRange(0, min_open=True), help="At most.")
@click.option("--wer", type=click.FloatRange(0, 100, min_open=True), help="At most, in percent.")
@click.option("--where", help='Other limits, e.g. "peak_memory_mb<=30 and qoi>=0.9".')
@click.option("--target", help="Whose times, sizes and errors count [default: the first].")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def pick_command(
    ctx: click.Context,
    /,
    name: str | None,
    where: str | None,
    target: str | None,
    as_json: bool,
    **budgets: float | None,
) -> None:
    """Which student to ship within these limits: the smallest of those that this dev set does not
    tell from the fewest errors; how sure that is, and what going smaller costs. From what was
    measured; nothing is run.

    \b
    Examples:
      search pick edge --latency-ms 50 --size-mb 15
      search pick edge --size-mb 1 --target pi5 --json
    """
    from search.analysis.answer import answer_of
    from search.analysis.choice import choose
    from search.analysis.elsewhere import lines_on, not_measured_on, targets_asked
    from search.analysis.trial_frame import study_frame
    from search.cli.answer import print_answer

    with open_store(ctx) as store:
        study = study_named(store, name)
        space = space_of(study)
        if target is not None and target not in space.targets:
            known = ", ".join(space.targets)
            raise UsageFault(f'--target: "{target}" is no target of {study.name} ({known})')
        limits = _limits(budgets, where, target)
        frame = study_frame(store, study, space)
        choice = choose(store, study, space, frame, limits, target)
    asked = targets_asked(limits, target)
    if as_json:
        lacking = {name: not_measured_on(frame, name) for name in asked}
        answer = answer_of(frame, limits, target or "")
        ship = None if answer is None else answer.number
        found = {"ship": ship, **_as_json(choice), "not_measured_on": lacking}
        click.echo(json.dumps(found, indent=1))
    else:
        answer = print_answer(study, frame, limits, target or "")
        _print(choice, answer, limits, study.name, space, frame, target)
        for line in lines_on(frame, asked):
            click.echo(line)


def _limits(budgets: dict[str, float | None], where: str | None, target: str | None) -> list[Limit]:
    from search.analysis.pick import Limit, parse_where
    from spaces.metrics import MetricRef

    limits = parse_where(where) if where else []
    for option, value in budgets.items():
        if value is not None:
            metric = MetricRef(_AT_MOST[option], target or "")
            limits.append(Limit(metric, "<=", value / 100 if option == "wer" else value))
    return limits


def _as_json(choice: Choice) -> dict[str, object]:
    first, ties = choice.first, [asdict(c) for c in choice.ties]
    return {**asdict(choice), "first": asdict(first), "ties": ties}


def _print(
    choice: Choice,
    answer: Answer | None,
    limits: list[Limit],
    study: str,
    space: Space,
    frame: pd.DataFrame,
    target: str | None,
) -> None:
    from search.analysis.choice import near_limits
    from search.report.labels import format_metric, metric_name
    from spaces.metrics import MetricRef

    first = choice.first
    assert first.chance is not None
    figures = frame.set_index("number").loc[first.number]
    shown = ("wer", "size_mb", "latency_p95_ms")
    names = [str(MetricRef(name, target)) for name in shown] if target else list(shown)
    names = list(dict.fromkeys([*map(str, space.objectives), *names]))
    told = ", ".join(
        f"{metric_name(n)} {format_metric(n, float(figures[n]))}" for n in names if n in figures
    )
    click.echo(f"fewest errors: trial {first.number}, {first.label}: {told}")
    click.echo(
        f"  the fewest word errors of {choice.n_within} trials within the limits "
        f"({choice.n_complete} complete); on {first.chance:.0%} of dev sets drawn anew from these "
        f"{choice.n_utterances} utterances ({choice.n_words} words) it would be again"
    )
    rows = frame.set_index("number")
    ship = first.number if answer is None else answer.number
    for number in dict.fromkeys((ship, first.number)):
        for metric in near_limits(limits, rows.loc[number]):
            click.echo(
                f"  trial {number}: {metric_name(metric)} is within 5 % of its limit: another hour "
                f"may say otherwise; search measure {study} --trial {number} takes it again"
            )
    if choice.ties:
        click.echo("not told apart from it by this dev set:")
        _list(choice.ties, first)
    if choice.cheaper:
        click.echo("smaller costs:")
        _list(choice.cheaper, first)
    where = f" --target {target}" if target else ""
    click.echo(f"next: search export --study {study} --trial {ship}{where} OUT.zip")


def _list(candidates: tuple[Candidate, ...], first: Candidate) -> None:
    for c in candidates:
        size = "" if c.size_mb is None else f"{c.size_mb:.3g} MB, "
        if c.size_mb is not None and first.size_mb:
            size = f"{c.size_mb:.3g} MB ({c.size_mb / first.size_mb - 1:+.0%}), "
        click.echo(
            f"  trial {c.number}, {c.label}: {size}WER {100 * c.difference:+.1f} points "
            f"(95 %: {100 * c.low:+.1f} to {100 * c.high:+.1f})"
        )
