"""The package of a progressive compression: a bundle, with the log of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.bundle.card import written_card
from search.bundle.write import computed_by, features_contract, finish_bundle, write_json
from search.compress.run import Outcome, Plan, Stage
from search.report.labels import format_metric
from storage.artifacts import ArtifactStore
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
        # of an ONNX file that was brought nobody knows it
        factor = plan.brought.subsampling_factor if kept.network is not None else None
        artifacts.fetch(kept.model, folder / _MODEL)
        artifacts.fetch(kept.tokens, folder / TOKENS)
        write_json(folder / FEATURES, features_contract(factor, None, plan.brought.front_end))
        write_json(folder / STEPS, log_of(outcome.stages))
        sides = {"student": kept, "teacher": outcome.stages[0]}
        figures = {side: _figures(stage, plan.target_name) for side, stage in sides.items()}
        write_json(folder / "measurements.json", figures)
        (folder / "CARD.md").write_text(_card(plan, outcome), encoding="utf-8")
        return {
            "compressed": plan.brought.name,
            "target": plan.target_name,
            "backend": "onnxruntime",
            "main": _MODEL,
            **computed_by(plan.target),
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


def _figures(stage: Stage, target: str) -> list[dict[str, object]]:
    return [
        {"metric": r.metric, "value": r.value, "target": target, "samples": None}
        for r in stage.readings
    ]


def _card(plan: Plan, outcome: Outcome) -> str:
    first, kept = outcome.stages[0], outcome.kept
    return written_card(
        "compressed.md.j2",
        name=plan.brought.name,
        rows=[(m, _said(kept, m), _said(first, m)) for m in _SHOWN],
        steps=outcome.stages,
        front_end=plan.brought.front_end,
        threads=plan.target.threads,
        is_unsteady=bool(kept.value("unsteady")),
        n_words=sum(kept.words),
    )


def _said(stage: Stage, metric: str) -> str:
    value = next((r.value for r in stage.readings if r.metric == metric), None)
    return format_metric(metric, value)
