"""What an evaluation says: to people, to programs, as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from rich.markup import escape
from rich.table import Table

from search.analysis.compare import Difference
from search.analysis.evaluation import LEAST_FOR_INTERVAL, Evaluation, Rate, Spoken
from search.report.redaction import plain

_MOST_SPEAKERS = 20
_MOST_TEXT = 500


def summary_lines(spoken: Sequence[Spoken], evaluations: Sequence[Evaluation]) -> list[str]:
    """What was listened to, and a line or two for each bundle."""
    minutes = sum(s.duration_s for s in spoken) / 60
    n_words = sum(evaluations[0].n_words)
    lines = [f"{len(spoken)} utterances, {minutes:.1f} min, {n_words} words"]
    for e in evaluations:
        lines += [
            f"{e.bundle}: WER {_told(e.wer)}, CER {_told(e.cer)}",
            f"  {_sum(e, 'substitutions')} substitutions, {_sum(e, 'deletions')} deletions, "
            f"{_sum(e, 'insertions')} insertions",
        ]
    return lines


def difference_lines(found: Sequence[Difference], first: str) -> list[str]:
    """Each bundle against the first."""
    lines = []
    for d in found:
        how = "real" if d.is_real else "cannot be told from none"
        lines.append(
            f"{d.target} against {first}: WER {100 * d.difference:+.1f} points "
            f"(95 %: {100 * d.low:+.1f} to {100 * d.high:+.1f}; {d.how}): {how}"
        )
    return lines


def groups_table(evaluations: Sequence[Evaluation]) -> Table | None:
    """WER by group, a column a bundle; None where there is one group of each kind only."""
    groups = evaluations[0].groups
    if not groups:
        return None
    table = Table("", "group", "utterances", "words")
    for column in table.columns[2:]:
        column.justify = "right"
    for e in evaluations:
        title = "WER (95 %)" if len(evaluations) == 1 else escape(Path(e.bundle).name)
        table.add_column(title, justify="right")
    notes = ["word error rates with 95 % intervals"] if len(evaluations) > 1 else []
    if any(g.wer.low is None for g in groups):
        notes.append(f"no interval: fewer than {LEAST_FOR_INTERVAL} utterances")
    shown = _shown(evaluations[0])
    if len(shown) < len(groups):
        notes.append(f"the {_MOST_SPEAKERS} worst speakers; --json has all")
    table.caption = "\n".join(notes)
    kind = None
    for place in shown:
        group = groups[place]
        if kind is not None and kind != group.kind:
            table.add_section()
        title = "" if kind == group.kind else group.kind
        kind = group.kind
        table.add_row(
            title,
            escape(plain(group.name)),
            str(group.n_utterances),
            str(group.n_words),
            *(
                _told(e.groups[place].wer, "\n" if len(evaluations) > 1 else " ")
                for e in evaluations
            ),
        )
    return table


def _shown(evaluation: Evaluation) -> list[int]:
    """Places of the groups that are shown: all, but of many speakers the worst."""
    places = range(len(evaluation.groups))
    speakers = [i for i in places if evaluation.groups[i].kind == "speaker"]
    if len(speakers) <= _MOST_SPEAKERS:
        return list(places)
    speakers.sort(key=lambda i: -evaluation.groups[i].wer.value)
    others = [i for i in places if evaluation.groups[i].kind != "speaker"]
    return others + speakers[:_MOST_SPEAKERS]


def worst_lines(spoken: Sequence[Spoken], evaluation: Evaluation, most: int) -> list[str]:
    """The utterances with the most word errors, what was said above what was written."""
    lines = []
    for place in evaluation.worst(most):
        s = spoken[place]
        lines += [
            f"{evaluation.errors[place]} errors in {evaluation.n_words[place]} words, "
            f"{s.duration_s:.1f} s: {plain(s.audio)} ({plain(s.source)})",
            f"  said:    {plain(s.reference, _MOST_TEXT)}",
            f"  written: {plain(evaluation.texts[place], _MOST_TEXT)}",
        ]
    return lines


def utterances_frame(spoken: Sequence[Spoken], evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """A row an utterance and bundle."""
    return pd.DataFrame(
        [
            {
                "bundle": e.bundle,
                "audio": s.audio,
                "reference": s.reference,
                "hypothesis": text,
                "errors": errors,
                "words": n_words,
                "speaker": s.speaker or "",
                "duration_s": round(s.duration_s, 3),
                "corpus": s.corpus,
                "source": s.source,
            }
            for e in evaluations
            for s, text, errors, n_words in zip(spoken, e.texts, e.errors, e.n_words, strict=True)
        ]
    )


def as_json(
    spoken: Sequence[Spoken],
    evaluations: Sequence[Evaluation],
    found: Sequence[Difference],
    faults: Sequence[str],
    failed: Sequence[str],
    n_worst: int,
) -> str:
    """All of it, for programs; intervals of too few utterances are null."""
    content = {
        "n_utterances": len(spoken),
        "n_words": sum(evaluations[0].n_words),
        "duration_s": round(sum(s.duration_s for s in spoken), 3),
        "left_out": list(faults),
        "counted_as_nothing_written": list(failed),
        "bundles": [_bundle_as_json(spoken, e, n_worst) for e in evaluations],
        "differences": [
            {
                "bundle": d.target,
                "against": evaluations[0].bundle,
                "wer": d.difference,
                "low": d.low,
                "high": d.high,
                "is_real": d.is_real,
            }
            for d in found
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _bundle_as_json(spoken: Sequence[Spoken], e: Evaluation, n_worst: int) -> dict[str, object]:
    worst = [
        {
            "audio": spoken[i].audio,
            "reference": spoken[i].reference,
            "hypothesis": e.texts[i],
            "errors": e.errors[i],
            "words": e.n_words[i],
        }
        for i in e.worst(n_worst)
    ]
    return {
        "bundle": e.bundle,
        "wer": asdict(e.wer),
        "cer": asdict(e.cer),
        **{name: _sum(e, name) for name in ("substitutions", "deletions", "insertions")},
        "groups": [
            {**asdict(g), "is_too_few_for_an_interval": g.wer.low is None} for g in e.groups
        ],
        **({"worst": worst} if n_worst else {}),
    }


def _sum(evaluation: Evaluation, name: str) -> int:
    return sum(getattr(edits, name) for edits in evaluation.edits)


def _told(rate: Rate, before_interval: str = " ") -> str:
    if rate.low is None or rate.high is None:
        return f"{rate.value:.1%}{before_interval}(no interval)"
    return f"{rate.value:.1%}{before_interval}({100 * rate.low:.1f}–{100 * rate.high:.1f})"
