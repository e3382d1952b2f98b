"""Distilled against undistilled: same student, same steps, three seeds, an4 dev."""

from __future__ import annotations

import json

import numpy as np

from search.results import onnx_model
from spaces.families import SeparableConv
from spaces.load import load_space
from spaces.recipe import Distil, Quantize, Training
from storage.artifacts import ArtifactStore
from workers.data.corpus import Corpus
from workers.data.prepare import augmentations_of
from workers.data.word_errors import utterance_errors
from workers.jobs import Export, Score, TeacherTargets, Train
from workers.stages.run import run_stage
from workers.workspace import Workspace

SEEDS = (0, 1, 2)
STUDENT = SeparableConv(channels=96, blocks=6, expand=2.0, dropout=0.05)
TRAINING = Training(epochs=40, learning_rate=5e-3)
DISTIL = Distil(weight=0.67, temperature=1.0)


def texts_of(job: Train, workspace: Workspace) -> list[str]:
    """What the exported student writes for dev."""
    trained = run_stage(job, workspace)
    exported = run_stage(
        Export(checkpoint=trained.checkpoint, quantize=Quantize(), corpus=job.corpus), workspace
    )
    scored = run_stage(
        Score(runtime="cpu", model=onnx_model(exported.model), corpus=job.corpus), workspace
    )
    path = ArtifactStore(workspace.artifacts).fetch(scored.texts, workspace.work / "texts.json")
    return json.loads(path.read_text())


def test_distillation(an4: Corpus, workspace: Workspace) -> None:
    space = load_space("an4.yaml")
    trained = space.teacher.train
    corpus = an4.folder.name
    teacher = run_stage(
        Train(student=trained.student, training=trained.training, corpus=corpus, seed=0, threads=2),
        workspace,
    )
    taught = run_stage(
        TeacherTargets(
            corpus=corpus,
            threads=2,
            checkpoint=teacher.checkpoint,
            speeds=tuple(s for s, noise in augmentations_of(space.data) if noise is None),
            subsampling_factor=space.contract.subsampling_factor,
        ),
        workspace,
    )
    references = [e.text for e in an4.dev]
    n_words = np.array([len(r.split()) for r in references])
    errors = {}
    for name, distil in (("undistilled", Distil(weight=0.0)), ("distilled", DISTIL)):
        rows = []
        for seed in SEEDS:
            job = Train(
                student=STUDENT,
                training=TRAINING,
                distil=distil,
                soft_targets=taught.soft_targets if distil.weight else None,
                corpus=corpus,
                seed=seed,
                threads=1,
            )
            rows.append(utterance_errors(references, texts_of(job, workspace)))
            print(f"\n{name}, seed {seed}: WER {rows[-1].sum() / n_words.sum():.2%}", end="")
        errors[name] = np.mean(rows, axis=0)
    gain = errors["undistilled"] - errors["distilled"]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(gain), (5000, len(gain)))
    low, high = np.percentile(gain[drawn].sum(1) / n_words[drawn].sum(1), [2.5, 97.5])
    print(
        f"\nmean of {len(SEEDS)} seeds, {n_words.sum()} words: "
        f"undistilled {errors['undistilled'].sum() / n_words.sum():.2%}, "
        f"distilled {errors['distilled'].sum() / n_words.sum():.2%}; gain "
        f"{gain.sum() / n_words.sum() * 100:.2f} points, 95 % interval over utterances "
        f"{low * 100:.2f} to {high * 100:.2f}"
    )
