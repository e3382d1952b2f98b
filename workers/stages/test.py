"""Test: errors of a file on the test set, which nothing was chosen by."""

from __future__ import annotations

from spaces.metrics import TEST_METRICS
from workers.data.word_errors import utterance_errors
from workers.jobs import ScoreTest
from workers.measure.readings import accuracy_readings
from workers.measure.scoring import dev_texts
from workers.results import Reading, ScoreTestResult
from workers.stages.context import StageContext
from workers.stages.score import decoder_of


def run(job: ScoreTest, context: StageContext) -> ScoreTestResult:
    """Decode the test set, utterance by utterance, and count errors; its texts are not kept."""
    corpus = context.corpus(job.corpus)
    texts = dev_texts(decoder_of(job, context, corpus), corpus)
    references = [u.text for u in corpus.dev]
    return ScoreTestResult(
        readings=tuple(_of_test(accuracy_readings(corpus, texts, None))),
        errors=tuple(utterance_errors(references, texts).tolist()),
        words=tuple(len(r.split()) for r in references),
    )


def _of_test(readings: list[Reading]) -> list[Reading]:
    """Under names of their own: nothing that judges takes them for those of dev."""
    named = [r.model_copy(update={"metric": f"test_{r.metric}"}) for r in readings]
    return [r for r in named if r.metric in TEST_METRICS]
