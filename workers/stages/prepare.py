"""Prepare: check the data, compute features once, cut what is timed and the long slices."""

from __future__ import annotations

from workers.data.corpus import Corpus
from workers.data.prepare import prepare
from workers.data.synthetic import synthetic_corpus
from workers.jobs import Prepare
from workers.measure.scoring import long_slices
from workers.measure.timed_audio import timed_audio
from workers.results import PrepareResult
from workers.stages.context import StageContext


def run(job: Prepare, context: StageContext) -> PrepareResult:
    """Make the prepared corpus of a space, or find it.

    Raises:
        DataRefused: with every fault, when there are more than the space allows.
        LostInput: when what was spoken goes while it is read.
    """
    cache = context.workspace.cache
    if job.data.synthetic is not None:
        spoken = synthetic_corpus(job.data.synthetic, cache)
        context.needed(spoken["train"].parent, "the spoken corpus")
    folder, report = prepare(job.data, job.tokens, job.subsampling_factor, cache, context.report)
    corpus = Corpus(folder)
    timed_audio(corpus)
    if job.long_audio:
        long_slices(corpus)
    return PrepareResult(
        corpus=folder.name,
        test_corpus=None if report.test is None else report.test.name,
        splits=report.splits,
        faults=report.faults,
        n_symbols=len(report.symbols),
        bandwidth_hz=report.bandwidth_hz,
    )
