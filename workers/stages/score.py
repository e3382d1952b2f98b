"""Score: errors of a file, decoded by the runtime that will run it."""

from __future__ import annotations

from workers.data.corpus import Corpus
from workers.data.text import blank_named, read_tokens
from workers.data.word_errors import utterance_errors
from workers.errors import ParityError
from workers.jobs import Score, ScoreTest
from workers.measure.readings import accuracy_readings, differing_share
from workers.measure.scoring import BatchDecoder, dev_texts, long_figures
from workers.models import fetch_model
from workers.results import Reading, ScoreResult
from workers.stages.context import StageContext

_TEXTS_MAY_DIFFER = 0.02  # of float32 in two runtimes: near ties turn on the last bit


def decoder_of(job: Score | ScoreTest, context: StageContext, corpus: Corpus) -> BatchDecoder:
    """The model of a job in its runtime."""
    tokens = context.tokens(job.tokens, corpus)
    return BatchDecoder(
        job.model.backend,
        fetch_model(job.model, context.artifacts, context.folder / "model"),
        {"precision": job.precision},
        blank_named(read_tokens(tokens), tokens),
        corpus.front_end.mels,
        context.lock.shared,
        context.report,
    )


def run(job: Score, context: StageContext) -> ScoreResult:
    """Decode dev, utterance by utterance, and count errors.

    Raises:
        ParityError: when float32 differs from ONNX Runtime's by more than near ties.
    """
    corpus = context.corpus(job.corpus)
    decoder = decoder_of(job, context, corpus)
    texts = dev_texts(decoder, corpus)
    long = long_figures(decoder, corpus, texts) if job.long_audio else {}
    readings = accuracy_readings(corpus, texts, context.read_texts(job.teacher_texts))
    readings += [Reading(metric=metric, value=value) for metric, value in long.items()]
    onnx_texts = context.read_texts(job.onnx_texts)
    if onnx_texts is not None:
        differing = differing_share(texts, onnx_texts)
        if job.same_numbers and differing > _TEXTS_MAY_DIFFER:
            raise ParityError(
                f"{job.model.backend}: {differing:.1%} of the texts differ from ONNX Runtime's, "
                "though both compute in float32"
            )
        readings.append(Reading(metric="text_diff_share", value=differing))
    references = [u.text for u in corpus.dev]
    return ScoreResult(
        texts=context.put_texts(texts),
        readings=tuple(readings),
        errors=tuple(utterance_errors(references, texts).tolist()),
        words=tuple(len(r.split()) for r in references),
    )
