"""Studies that nobody searched: as many trials as wanted, figures as the quickstart's are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sqlalchemy as sa

from spaces.load import find_space, parse_space
from spaces.points import recipe_of
from spaces.space import Space
from storage import tables as t
from storage.records import Study, StudyState
from storage.store import Store

_ROWS = 2000  # a transaction
QUICKSTART = find_space("quickstart.yaml").read_text()

# A trial is told by its first figures; the others follow from them.
_SHAPES: dict[str, Callable[[dict[str, float]], float]] = {
    "macs": lambda m: m["size_mb"] * 2e7,
    "params": lambda m: m["size_mb"] * 4e5,
    "wer_low": lambda m: m["wer"] * 0.8,
    "wer_high": lambda m: m["wer"] * 1.25,
    "cer": lambda m: m["wer"] * 0.35,
    "n_words": lambda _: 435.0,
    "substitutions": lambda m: round(m["wer"] * 390),
    "deletions": lambda m: round(m["wer"] * 20),
    "insertions": lambda m: round(m["wer"] * 25),
    "word_precision": lambda m: max(0.0, 1 - m["wer"]),
    "word_recall": lambda m: max(0.0, 1 - m["wer"]),
    "word_f1": lambda m: max(0.0, 1 - m["wer"]),
    "empty_share": lambda _: 0.0,
    "worse_share": lambda m: m["wer"] * 0.8,
    "qoi": lambda m: max(0.0, 1 - m["wer"] * 0.8),
    "graph_p50_ms": lambda m: m["latency_p50_ms"] * 0.2,
    "graph_p95_ms": lambda m: m["latency_p50_ms"] * 0.3,
    "latency_p5_ms": lambda m: m["latency_p50_ms"] * 0.6,
    "latency_p95_ms": lambda m: m["latency_p50_ms"] * 1.6,
    "latency_p99_ms": lambda m: m["latency_p50_ms"] * 1.9,
    "tail_factor": lambda _: 1.9,
    "features_p50_ms": lambda _: 0.7,
    "decode_p50_ms": lambda _: 0.005,
    "sum_check": lambda _: 0.99,
    "graph_cpu_ms": lambda m: m["latency_p50_ms"] * 0.2,
    "anchor_ratio": lambda m: m["latency_p50_ms"] * 0.4,
    "rtf": lambda m: m["latency_p50_ms"] / 1600,
    "throughput": lambda m: 1600 / m["latency_p50_ms"],
    "streams": lambda m: round(1500 / m["latency_p50_ms"]),
    "load_ms": lambda m: 10 + 9 * m["size_mb"],
    "cold_start_ms": lambda m: 11 + 9 * m["size_mb"],
    "peak_memory_mb": lambda m: 14 + 3 * m["size_mb"],
    "utilisation": lambda _: 0.4,
    "unsteady": lambda _: 0.0,
}
_OF_ALL_TARGETS = ("macs", "params")


def metrics_of(wer: float, latency_p50_ms: float, size_mb: float) -> dict[str, float]:
    """Every figure of a trial, by the names that a real one has."""
    plain = {"wer": wer, "latency_p50_ms": latency_p50_ms, "size_mb": size_mb}
    plain |= {name: float(shape(plain)) for name, shape in _SHAPES.items()}
    on_cpu = {f"{k}@cpu": v for k, v in plain.items() if k not in _OF_ALL_TARGETS}
    return {**plain, **on_cpu}


def fabricate(
    store: Store,
    name: str,
    count: int,
    *,
    state: StudyState = StudyState.FINISHED,
    wanted: int | None = None,
    seed: int = 0,
    text: str = QUICKSTART,
    **columns: Any,
) -> Study:
    """A study of the quickstart space with `count` measured trials, and `columns` of its own."""
    space = parse_space(text, "quickstart.yaml")
    study = store.studies.create(
        name=name,
        space_yaml=text,
        space_path="quickstart.yaml",
        space_digest="0" * 64,
        seed=seed,
        deterministic=False,
        trials_wanted=wanted or count,
    )
    begun = time.time() - 100.0 * (count + 1)
    told = {
        "teacher_metrics": metrics_of(0.05, 6.0, 4.1),
        "corpus": "gone",
        "elapsed_s": 100.0 * count,
    }
    store.studies.change(study.id, **{"state": state, "created_at": begun, **told, **columns})
    rng = np.random.default_rng(seed)
    rows = [_trial(space, study.id, n, begun, rng) for n in range(count)]
    _insert(store, t.trials, iter(rows))
    _insert(store, t.stage_runs, (r for row in rows for r in _stage_runs(row)))
    _insert(store, t.measurements, (m for row in rows for m in _measurements(row)))
    _insert(store, t.events, (e for row in rows for e in _events(row)))
    return store.studies.get(name)


def _insert(store: Store, table: sa.Table, rows: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            _write(store, table, batch)
            batch = []
    if batch:
        _write(store, table, batch)


def _write(store: Store, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    with store.engine.begin() as connection:
        connection.execute(sa.insert(table), rows)


def _trial(
    space: Space, study_id: int, number: int, begun: float, rng: np.random.Generator
) -> dict[str, Any]:
    family = str(rng.choice(list(space.students)))
    values: dict[str, Any] = {"family": family}
    values |= {n: axis.at(float(rng.random())) for n, axis in space.axes_of(family).items()}
    channels, blocks = values[f"{family}.channels"], values[f"{family}.blocks"]
    scheme = values["quantize.scheme"]
    bits = {"fp32": 32, "fp16": 16}.get(scheme, 8)
    capacity = channels * blocks * float(rng.lognormal(0, 0.35)) * (1 - 0.4 * values["prune.ratio"])
    size_mb = capacity * bits / 8 * 5e-4
    latency_p50_ms = 0.8 + capacity * (0.6 + bits / 80) / 400 * float(rng.lognormal(0, 0.25))
    wer = 0.06 + 12 / capacity + 0.25 * (bits == 8) / capacity + float(rng.gamma(1.5, 0.05))
    return {
        "study_id": study_id,
        "number": number,
        "values": values,
        "recipe": recipe_of(values).model_dump(mode="json"),
        "recipe_digest": f"{number:064x}",
        "label": recipe_of(values).label(),
        "source": "initial_design" if number < 8 else "sampler",
        "state": "infeasible" if size_mb > 5 else "complete",
        "created_at": begun + 100.0 * number,
        "reason": "size_mb 5.1 > 5" if size_mb > 5 else None,
        "finished_at": begun + 100.0 * number + 190.0,
        "metrics": metrics_of(wer, latency_p50_ms, size_mb),
        "objective_values": [wer, latency_p50_ms * 1.6, size_mb],
        "constraints": {"size_mb <= 5": size_mb - 5},
        "sampler_attrs": {},
        "compute_s": 90.0,
    }


def _stage_runs(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    history = [
        {
            "epoch": e + 1,
            "epochs": 40,
            "train_ctc": 3 / (e + 1),
            "cpu_s": 2.0 * (e + 1),
            "dev_wer": 0.5 / (e + 1) if e % 4 == 3 else None,
        }
        for e in range(40)
    ]
    samples = [row["metrics"]["latency_p50_ms"] * (1 + 0.01 * (i % 60)) for i in range(300)]
    timed = {"target": "cpu", "metric": "latency_p50_ms", "value": samples[0], "samples": samples}
    errors, words = [0, 1, 2, 0, 1] * 24, [4] * 120
    digest = "0" * 64
    results: dict[str, dict[str, Any]] = {
        "screen": {},
        "train": {"checkpoint": digest, "history": history, "cpu_s": 80.0},
        "export": {
            **dict.fromkeys(("model", "float32", "tokens"), digest),
            "sizes": [{"part": "encoder", "format": "fp32", "bytes": 400000}],
        },
        "score@cpu": {"texts": digest, "errors": errors, "words": words},
        "measure@cpu": {"readings": [timed], "machine": {"processor": "a processor"}},
    }
    for i, (stage, result) in enumerate(results.items()):
        yield {
            "study_id": row["study_id"],
            "trial_number": row["number"],
            "stage": stage,
            "key": f"{row['number']:032x}{i:032x}",
            "attempt": 1,
            "state": "done",
            "started_at": row["created_at"] + i,
            "duration_s": 20.0,
            "result": {"kind": stage.partition("@")[0], "cpu_s": 1.0, **result},
            "error": None,
            "log": None,
        }


def _measurements(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in row["metrics"].items():
        metric, _, target = name.partition("@")
        if not target and metric not in _OF_ALL_TARGETS:
            continue
        samples = [value * (1 + 0.01 * (i % 60)) for i in range(300)]
        yield {
            "study_id": row["study_id"],
            "subject": str(row["number"]),
            "target": target,
            "metric": metric,
            "value": value,
            "samples": samples if metric == "latency_p50_ms" else None,
        }


def _events(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = row["number"]
    said = [f"trial {number}: begun"]
    said += [f"trial {number}: {s} 20.0 s" for s in ("screen", "train", "export", "measure@cpu")]
    said += [f"trial {number}: {row['state']}"]
    for i, message in enumerate(said):
        yield {
            "study_id": row["study_id"],
            "at": row["created_at"] + 20.0 * i,
            "kind": "trial" if i in (0, len(said) - 1) else "stage",
            "message": message,
            "trial_number": number,
            "data": {},
        }


def alive(running: list[dict[str, Any]], waiting: list[str] | None = None) -> dict[str, Any]:
    """What a coordinator says of itself, for the column `live`; an hour from now on."""
    return {
        "at": time.time() + 3600,
        "host": "a host",
        "eta_s": 240.0,
        "elapsed_s": 60.0,
        "waiting": waiting or [],
        "away_s": {},
        "running": running,
    }


__all__ = ["QUICKSTART", "alive", "fabricate", "metrics_of"]


def add_like(store: Store, name: str, count: int, better: float = 1.0) -> None:
    """As a coordinator would: trials, and the event of each."""
    study = store.studies.get(name)
    known = store.trials.of(study.id)
    for number in range(len(known), len(known) + count):
        like = known[number % len(known)]
        trial = store.trials.add(
            study.id,
            number=number,
            values=like.values,
            recipe=like.recipe,
            recipe_digest=like.recipe_digest,
            label=like.label,
            source="sampler",
        )
        store.trials.save(
            trial.evolve(
                state=like.state,
                metrics={name: value * better for name, value in like.metrics.items()},
                finished_at=time.time(),
            )
        )
        store.events.add(study.id, "trial", f"trial {number}: complete", number)
