"""The package of a progressive compression: a bundle, with the log of its steps."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import jinja2

from search.bundle.write import features_contract, finish_bundle, write_json
from search.compress.run import TARGET, Outcome, Plan, Stage
from search.report.labels import format_metric
from spaces.families import parse_dims
from storage.artifacts import ArtifactStore
from workers.checkpoint_header import read_header
from workers.recognizer import FEATURES, TOKENS

STEPS = "steps.json"
_SHOWN = ("wer", "size_mb", "latency_p50_ms", "latency_p95_ms", "graph_p50_ms", "peak_memory_mb")
_MODEL = "model.onnx"


def write_package(
    plan: Plan, outcome: Outcome, artifacts: ArtifactStore, target: Path, overwrite: bool
) -> Path:
    """Write the smallest model that held; a target that ends in .zip becomes a zip.

    Raises:
        UsageFault: when something is there already that has to stay.
        ArtifactError: when a file is lost.
    """

    def fill(folder: Path) -> dict[str, object]:
        kept = outcome.kept
        artifacts.fetch(kept.model, folder / _MODEL)
        artifacts.fetch(kept.tokens, folder / TOKENS)
        write_json(folder / FEATURES, features_contract(_subsampling(kept, artifacts), None))
        write_json(folder / STEPS, log_of(outcome.stages))
        figures = {"student": _figures(kept), "teacher": _figures(outcome.stages[0])}
        write_json(folder / "measurements.json", figures)
        (folder / "CARD.md").write_text(_card(plan, outcome), encoding="utf-8")
        return {
            "compressed": plan.brought.name,
            "target": TARGET,
            "backend": "onnxruntime",
            "main": _MODEL,
        }

    return finish_bundle(fill, target, overwrite)


def log_of(stages: Sequence[Stage]) -> list[dict[str, object]]:
    """Each step with its loss and figures, for machines; losses are fractions of the words."""
    return [
        {
            "step": stage.name,
            "loss": None
            if stage.loss is None
            else {
                "value": stage.loss.value,
                "low": stage.loss.low,
                "high": stage.loss.high,
                "limit": stage.loss.limit,
                "held": not stage.loss.is_broken,
                "told_by_this_audio": stage.loss.is_told,
            },
            "formats": stage.quantize.model_dump(),
            "n_words": sum(stage.words),
            "metrics": {r.metric: r.value for r in stage.readings},
        }
        for stage in stages
    ]


def _figures(stage: Stage) -> list[dict[str, object]]:
    return [
        {"metric": r.metric, "value": r.value, "target": TARGET, "samples": None}
        for r in stage.readings
    ]


def _subsampling(stage: Stage, artifacts: ArtifactStore) -> int | None:
    """Frames in per frame out; of an ONNX file that was brought nobody knows."""
    if stage.network is None:
        return None
    with tempfile.TemporaryDirectory() as work:
        path = artifacts.fetch(stage.network, Path(work) / "network.safetensors")
        return parse_dims(read_header(path)["dims"]).contract.subsampling_factor


def _card(plan: Plan, outcome: Outcome) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("search.bundle"),
        autoescape=False,  # noqa: S701 - Markdown, of names that were checked
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    first, kept = outcome.stages[0], outcome.kept
    return environment.get_template("compressed.md.j2").render(
        name=plan.brought.name,
        rows=[(m, _said(kept, m), _said(first, m)) for m in _SHOWN],
        steps=outcome.stages,
        is_unsteady=bool(kept.value("unsteady")),
        n_words=sum(kept.words),
    )


def _said(stage: Stage, metric: str) -> str:
    value = next((r.value for r in stage.readings if r.metric == metric), None)
    return format_metric(metric, value)
