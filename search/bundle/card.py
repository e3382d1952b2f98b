"""What a bundle says to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jinja2

from search.bundle.subject import Subject
from search.report.labels import TOLD_OF_TEST, format_metric, line_of_test
from spaces.metrics import LIVE_METRICS, MetricRef
from spaces.space import Space
from storage.records import Study
from workers.results import Model

_METRICS = (
    "wer",
    "cer",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "graph_p50_ms",
    "rtf",
    "load_ms",
    "peak_memory_mb",
    "size_mb",
    "macs",
    "params",
)


@dataclass(frozen=True)
class _Row:
    name: str
    student: str
    teacher: str


def written_card(template: str, **told: object) -> str:
    """The Markdown of a template of this package; whatever it asks for has to be told."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("search.bundle"),
        autoescape=False,  # noqa: S701 - Markdown, of names that were checked
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**told)


def card_text(
    study: Study,
    space: Space,
    subject: Subject,
    target: str,
    model: Model,
    blank: int,
    bandwidth: float | None,
) -> str:
    """CARD.md: figures on a target beside the teacher's, how to use it, what they do not say."""
    metrics = _on(target, space, subject.metrics)
    teacher = _on(target, space, study.teacher_metrics)
    settings = space.targets[target]
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''}"
    differing = metrics.get("text_diff_share")
    return written_card(
        "card.md.j2",
        title=subject.title,
        trial=None if subject.is_teacher else subject.name,
        blank=blank,
        study=study.name,
        rows=[
            _Row(n, format_metric(n, metrics.get(n)), format_metric(n, teacher.get(n)))
            for n in (*_METRICS, *(LIVE_METRICS if subject.streaming else ()))
        ],
        n_words=f"{metrics.get('n_words', 0):.0f}",
        wer_low=format_metric("wer", metrics.get("wer_low")),
        wer_high=format_metric("wer", metrics.get("wer_high")),
        on_test=line_of_test(metrics),
        told_of_test=TOLD_OF_TEST,
        where=f"{target}: {settings.backend}, {threads}",
        is_unsteady=bool(metrics.get("unsteady")),
        backend=model.backend,
        main=model.main,
        agreement=""
        if differing is None
        else f"; {differing:.1%} of the dev texts differ from its",
        band="" if bandwidth is None else f"{bandwidth / 1000:.1f} kHz",
        subsampling_factor=subject.subsampling_factor,
        front_end=subject.front_end,
        streaming=subject.streaming,
        decoding=_decoding(subject),
    )


def _decoding(subject: Subject) -> str:
    """How the text was found in what the network says."""
    told = (subject.recipe or {}).get("decode")
    if told is None:
        return "No language model was used."
    return (
        f"Text is found by beam search ({told['beam']} hypotheses) with the n-gram model of tokens "
        "in ngram.arpa, learnt from the training transcripts; sherpa-onnx decodes without it, with "
        "more errors."
    )


def _on(target: str, space: Space, metrics: Mapping[str, float]) -> dict[str, float]:
    """Figures of one target by their plain names; none of another's."""
    own, everywhere = {}, {}
    for name, value in metrics.items():
        metric = MetricRef.of(name)
        is_of_none = metric.is_known and not metric.known.per_target
        if metric.target == target:
            own[metric.name] = value
        elif not metric.target and (target == space.first_target or is_of_none):
            everywhere[metric.name] = value
    return everywhere | own


def licence_notice(space: Space, subject: Subject) -> str:
    """Whose terms a model is under; nobody can decide that from the files alone."""
    data = (
        "the embedded synthetic corpus (speech by espeak-ng)"
        if space.data.synthetic is not None
        else "the audio and transcripts named in the study's space"
    )
    source = public_source(space.teacher.source())
    made = f"was trained on {data}"
    if not subject.is_teacher and not subject.is_trained:
        made = f"is this teacher in other number formats: {source}"
    elif not subject.is_teacher:
        made += f", with this teacher: {source}"
    elif subject.recipe is None:
        made = f"was brought along: {source}"
    return (
        f"This model {made}.\n"
        "Their licences apply to it; check that they allow your use before you distribute it.\n"
        "The program that made it claims no rights in it.\n"
    )


def public_source(source: str) -> str:
    """Without the folders of the machine it was made on."""
    named = (one.partition(" ") for one in source.split("; "))
    return "; ".join(
        f"{kind} {name.replace(chr(92), '/').rpartition('/')[2]}" for kind, _, name in named
    )
