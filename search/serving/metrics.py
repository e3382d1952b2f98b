"""What `search serve` tells Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One server's, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "search_serve_requests", "Answers", ["model", "status"], registry=registry
        )
        self.seconds = Histogram(
            "search_serve_request_seconds",
            "From the last byte of a recording to its text",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.audio_s = Counter(
            "search_serve_audio_seconds", "Audio heard", ["model"], registry=registry
        )
        self.chunk_seconds = Histogram(
            "search_serve_chunk_seconds",
            "Of live speech, from the last sample of a chunk to what it says",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.streams = Gauge(
            "search_serve_streams", "Speakers heard live now", ["model"], registry=registry
        )
        self.running = Gauge("search_serve_running", "Requests being answered", registry=registry)
        self.batches = Histogram(
            "search_serve_batch_size",
            "Requests heard together",
            ["model"],
            buckets=_BATCHES,
            registry=registry,
        )
        self.waited = Histogram(
            "search_serve_wait_seconds",
            "That the first request of a batch waited",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.swaps = Counter(
            "search_serve_swaps", "Bundles replaced", ["model", "outcome"], registry=registry
        )
        self.deaths = Counter(
            "search_serve_process_deaths",
            "Processes that were started anew",
            ["model"],
            registry=registry,
        )
        self.chosen = Counter(
            "search_serve_chosen", "By a policy", ["model", "member"], registry=registry
        )

    def batch(self, model: str, n: int, waited_s: float, _took_s: float) -> None:
        """A batch was heard."""
        self.batches.labels(model).observe(n)
        self.waited.labels(model).observe(waited_s)
