"""Metrics a trial is judged by: their names carry the unit."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Metric:
    """One measured figure. `noisy` ones depend on the machine's mood, others are exact."""

    name: str
    unit: str
    meaning: str
    higher_is_better: bool = False
    noisy: bool = False
    per_target: bool = False
    known_untrained: bool = False  # the same for the untrained student: screened first


_TIMED = {"noisy": True, "per_target": True, "known_untrained": True}

_LIVE = {"noisy": True, "per_target": True}  # hangs on what is said: not of the untrained
_SCORED = {"per_target": True}
_BETTER = {"higher_is_better": True}

METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("wer", "fraction", "word error rate on dev, decoded from the file", **_SCORED),
        Metric("cer", "fraction", "character error rate on dev, decoded from the file", **_SCORED),
        Metric("latency_p5_ms", "ms", "5th percentile of the next", **_TIMED),
        Metric("latency_p50_ms", "ms", "median time from samples to text, one utterance", **_TIMED),
        Metric("latency_p95_ms", "ms", "95th percentile of the same", **_TIMED),
        Metric("latency_p99_ms", "ms", "99th percentile of the same", **_TIMED),
        Metric("tail_factor", "", "99th percentile of the same over its median", **_TIMED),
        Metric("rtf", "s/s", "processing time / audio time", **_TIMED),
        Metric("throughput", "s/s", "audio time / processing time (RTFx)", **_BETTER, **_TIMED),
        Metric(
            "streams",
            "",
            "people heard at once by one copy, 99 % of the answers (live: of the chunks) within "
            "the target's stream_limit_ms; service times measured, waiting computed",
            **_BETTER,
            **_TIMED,
        ),
        Metric("chunk_p50_ms", "ms", "live: median time of a chunk, samples to text", **_TIMED),
        Metric("chunk_p95_ms", "ms", "95th percentile of the same", **_TIMED),
        Metric("chunk_rtf", "s/s", "live: the same over the length of a chunk", **_TIMED),
        Metric(
            "first_token_ms",
            "ms",
            "live, at real speed: median time from where speech begins to the first text",
            **_LIVE,
        ),
        Metric(
            "emission_delay_ms",
            "ms",
            "live, at real speed: median time from where a symbol was heard to where it is read",
            **_LIVE,
        ),
        Metric(
            "final_ms",
            "ms",
            "live, at real speed: median time from the end of the audio to the last text",
            **_LIVE,
        ),
        Metric("peak_memory_mb", "MB", "memory that loading and running the model adds", **_TIMED),
        Metric(
            "size_mb",
            "MB",
            "10^6 bytes of the files that ship",
            per_target=True,
            known_untrained=True,
        ),
        Metric("macs", "MAC/s", "multiply-accumulates per second of audio", known_untrained=True),
        Metric("params", "", "parameters of the network", known_untrained=True),
        Metric("graph_p50_ms", "ms", "median time of the network alone", **_TIMED),
        Metric("graph_p95_ms", "ms", "95th percentile of the same", **_TIMED),
        Metric("graph_cpu_ms", "ms", "lower quartile of the network's CPU time", **_TIMED),
        Metric("anchor_ratio", "", "the same over that of the frozen anchor model", **_TIMED),
        Metric("features_p50_ms", "ms", "median time of the filter banks", **_TIMED),
        Metric("decode_p50_ms", "ms", "median time from log-probabilities to text", **_TIMED),
        Metric("sum_check", "", "features + network + decoding over the whole pipeline", **_TIMED),
        Metric("load_ms", "ms", "time to load the model", **_TIMED),
        Metric("cold_start_ms", "ms", "time from loading to the first text", **_TIMED),
        Metric(
            "utilisation",
            "fraction",
            "operations per second over what a matrix product reaches there",
            **_BETTER,
            **_TIMED,
        ),
        Metric("energy_mj", "mJ", "energy of the processor for one utterance", **_TIMED),
        Metric("regression", "", "CPU time of the network over the baseline's", **_TIMED),
        Metric("unsteady", "", "1 where a measurement could not be taken in quiet", **_TIMED),
        Metric("word_precision", "fraction", "right words of those written", **_BETTER, **_SCORED),
        Metric("word_recall", "fraction", "right words of those said", **_BETTER, **_SCORED),
        Metric("word_f1", "fraction", "harmonic mean of both", **_BETTER, **_SCORED),
        Metric(
            "qoi", "fraction", "utterances not made worse than the teacher's", **_BETTER, **_SCORED
        ),
        Metric(
            "worse_share",
            "fraction",
            "utterances with more errors than the teacher makes",
            **_SCORED,
        ),
        Metric("empty_share", "fraction", "utterances for which nothing was written", **_SCORED),
        Metric("long_wer", "fraction", "WER of slices of about 30 s", **_SCORED),
        Metric(
            "long_excess", "fraction", "the same less that of their utterances alone", **_SCORED
        ),
        Metric("text_diff_share", "fraction", "texts that differ from ONNX Runtime's", **_SCORED),
    )
}

# Of students that hear live speech only.
LIVE_METRICS = (
    "chunk_p50_ms",
    "chunk_p95_ms",
    "chunk_rtf",
    "first_token_ms",
    "emission_delay_ms",
    "final_ms",
)

# Errors on `data.test`, told beside the metrics and never judged by.
TEST_METRICS = ("test_wer", "test_wer_low", "test_wer_high", "test_cer")


class MetricRef(str):
    """A metric and the target that it was measured on; without one, the first of the space.

    It is the text `latency_p95_ms@pi5` that files, tables and columns hold, so that it can be
    a key of any of them; nobody else puts that text together or takes it apart.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        from pydantic_core import core_schema  # not on a device

        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    def __new__(cls, name: str, target: str = "") -> Self:
        return super().__new__(cls, f"{name}@{target}" if target else name)

    @classmethod
    def parse(cls, text: object) -> Self:
        """From the text; the target is left for the space to know.

        Raises:
            ValueError: naming the nearest known metric.
        """
        found = cls.of(str(text))
        base, at, target = str(text).partition("@")
        if base in TEST_METRICS:
            raise ValueError(
                f'"{text}" tells of the test set, which nothing is chosen by; use '
                f"{base.removeprefix('test_')}, which is of dev"
            )
        if base in METRICS and (not at or (target and METRICS[base].per_target)):
            return found
        near = difflib.get_close_matches(base, METRICS, 1, 0.4)
        hint = f'; did you mean "{near[0]}"?' if near else f" (known: {', '.join(METRICS)})"
        raise ValueError(f'"{text}" is not a metric{hint}')

    @classmethod
    def of(cls, text: str) -> Self:
        """From a text that may be no metric, such as the name of a column."""
        return super().__new__(cls, text)

    @property
    def name(self) -> str:
        return self.partition("@")[0]

    @property
    def target(self) -> str:
        return self.partition("@")[2]

    @property
    def known(self) -> Metric:
        """The metric. Raises KeyError for a name that is none."""
        return METRICS[self.name]

    @property
    def is_known(self) -> bool:
        return self.name in METRICS

    def on(self, target: str) -> Self:
        """The same metric elsewhere."""
        return type(self)(self.name, target)


def metric_named(name: str) -> Metric:
    """The metric of that name; a target behind an @ is left to the space.

    Raises:
        ValueError: naming the nearest known one.
    """
    return MetricRef.parse(name).known
