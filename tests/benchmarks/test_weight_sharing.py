"""Students from nothing against students from slices of a supernet: errors, and what each costs.

Recipes at random from the quickstart's families, on its data with a larger dev set, without a
teacher. N_RECIPES (6) of each family; EPOCHS in place of the space's for a quicker look. The
control is the first of them from nothing, for as many epochs as its slice has seen in all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pytest

from search.executors.local import LocalExecutor
from search.results import onnx_model
from search.strategy.weight_sharing import SupernetPlan, supernet_of, training_of_slice
from spaces.load import load_space
from spaces.points import choose, recipe_of
from spaces.recipe import Distil, Quantize, Recipe
from spaces.space import Space
from workers.data.prepare import prepare
from workers.jobs import Export, Job, Score, Supernet, Train
from workers.measure.bootstrap import difference_interval
from workers.results import AnyResult
from workers.workspace import Workspace

N_RECIPES = int(os.environ.get("N_RECIPES", "6"))
DEV_UTTERANCES = 1400
RESAMPLES = 2000
PARALLEL = int(os.environ.get("PARALLEL", "2"))
FAMILIES = ("separable_conv", "dsconv_lstm")


@pytest.fixture(scope="module")
def space() -> Space:
    found = load_space("quickstart.yaml")
    synthetic = found.data.synthetic.model_copy(update={"dev_utterances": DEV_UTTERANCES})
    changes = {"data": found.data.model_copy(update={"synthetic": synthetic})}
    if "EPOCHS" in os.environ:
        epochs = type(found.training.epochs)((int(os.environ["EPOCHS"]),))
        changes["training"] = found.training.model_copy(update={"epochs": epochs})
    return found.model_copy(update=changes)


@pytest.fixture(scope="module")
def corpus(space: Space, workspace: Workspace) -> str:
    factor = space.contract.subsampling_factor
    folder, _ = prepare(space.data, space.tokens, factor, workspace.cache)
    return folder.name


@pytest.fixture(scope="module")
def executor(workspace: Workspace) -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(workspace, 7200.0)) as made:
        yield made


def all_done(executor: LocalExecutor, jobs: Sequence[Job]) -> list[AnyResult]:
    """Results of jobs, some at a time."""
    results: dict[int, AnyResult] = {}
    waiting = list(enumerate(jobs))
    n_running = 0
    while len(results) < len(jobs):
        while waiting and n_running < PARALLEL:
            executor.submit(*waiting.pop(0))
            n_running += 1
        for outcome in executor.poll(1.0):
            assert outcome.result is not None, (outcome.error, outcome.log)
            results[outcome.ticket] = outcome.result
            n_running -= 1
    return [results[i] for i in range(len(jobs))]


def recipes_of(space: Space, family: str) -> list[Recipe]:
    """Different students at random, undistilled, unpruned."""
    rng, found = random.Random(1), {}
    for _ in range(200):
        recipe = recipe_of(choose(space, family, lambda _, axis: axis.at(rng.random())))
        found.setdefault(recipe.student, recipe)
    return list(found.values())[:N_RECIPES]


def scored(executor: LocalExecutor, corpus: str, trained: Sequence[AnyResult]) -> np.ndarray:
    """Word errors int [recipes, utterances] of the exported files, and words of each utterance."""
    exported = all_done(
        executor,
        [Export(checkpoint=t.checkpoint, quantize=Quantize(), corpus=corpus) for t in trained],
    )
    scores = all_done(
        executor,
        [Score(runtime="cpu", model=onnx_model(e.model), corpus=corpus) for e in exported],
    )
    return np.array([s.errors for s in scores]), np.array(scores[0].words)


@dataclass(frozen=True)
class Jobs:
    """Of one family: its supernet, and its students from nothing."""

    plan: SupernetPlan
    recipes: list[Recipe]
    supernet: Supernet
    alone: list[Train]
    control: Train  # the first, trained as long as supernet and slice together


def jobs_of(space: Space, family: str, corpus: str) -> Jobs:
    plan, recipes = supernet_of(space, family), recipes_of(space, family)
    common = {"corpus": corpus, "seed": 0, "threads": 1}
    alone = [
        Train(student=r.student, training=r.training, distil=Distil(weight=0.0), **common)
        for r in recipes
    ]
    first = alone[0].training
    epochs = plan.training.epochs + training_of_slice(space, first).epochs
    longer = {"training": first.model_copy(update={"epochs": epochs})}
    return Jobs(
        plan,
        recipes,
        Supernet(largest=plan.largest, choices=plan.choices, training=plan.training, **common),
        alone,
        alone[0].model_copy(update=longer),
    )


def test_weight_sharing(space: Space, corpus: str, executor: LocalExecutor) -> None:
    families = {family: jobs_of(space, family, corpus) for family in FAMILIES}
    supernets = [jobs.supernet for jobs in families.values()]
    alone = [job for jobs in families.values() for job in jobs.alone]
    controls = [jobs.control for jobs in families.values()]
    all_done(executor, [*supernets, *alone, *controls])
    for family, jobs in families.items():
        _compare(family, jobs, space, executor)


def _compare(family: str, jobs: Jobs, space: Space, executor: LocalExecutor) -> None:
    plan, recipes, supernet, alone = jobs.plan, jobs.recipes, jobs.supernet, jobs.alone
    net, *from_nothing = all_done(executor, [supernet, *alone])  # found done
    short = [
        job.model_copy(
            update={"start": net.checkpoint, "training": training_of_slice(space, job.training)}
        )
        for job in alone
    ]
    from_slices = all_done(executor, short)
    before, words = scored(executor, supernet.corpus, from_nothing)
    after, _ = scored(executor, supernet.corpus, from_slices)

    supernet_s = net.history[-1].cpu_s  # over interruptions too, without starting a process
    alone_s, short_s = (
        np.array([t.history[-1].cpu_s for t in trained]) for trained in (from_nothing, from_slices)
    )
    print(
        f"\n{family}: supernet {plan.largest.label()}, {plan.training.epochs} epochs, "
        f"{supernet_s:.0f} CPU s; largest {net.history[-1].dev_wer:.1%} WER, "
        f"smallest slice {net.smallest_wer:.1%}; {words.sum()} words in {len(words)} utterances"
    )
    print("student                        from nothing   CPU s   from slice   CPU s   difference")
    for recipe, b, a, *spent in zip(recipes, before, after, alone_s, short_s, strict=True):
        low, high = difference_interval(b, a, words, RESAMPLES)
        dims = " ".join(f"{k[:3]} {v:g}" for k, v in _differing(plan.choices, recipe).items())
        print(
            f"{dims:30} {b.sum() / words.sum():>12.2%} {spent[0]:>7.0f} "
            f"{a.sum() / words.sum():>12.2%} {spent[1]:>7.0f}   "
            f"{(a - b).sum() / words.sum() * 100:+.2f} [{low * 100:+.2f}, {high * 100:+.2f}]"
        )
    low, high = difference_interval(before.mean(0), after.mean(0), words, RESAMPLES)
    saved_s = alone_s.mean() - short_s.mean()
    wer_before, wer_after = (e.sum() / words.sum() / len(recipes) for e in (before, after))
    print(
        f"mean: {wer_before:.2%} in {alone_s.mean():.0f} CPU s of "
        f"{recipes[0].training.epochs} epochs against {wer_after:.2%} "
        f"in {short_s.mean():.0f} CPU s of {short[0].training.epochs}; difference "
        f"{(wer_after - wer_before) * 100:+.2f} points "
        f"[{low * 100:+.2f}, {high * 100:+.2f}]; the supernet costs "
        f"{supernet_s / alone_s.mean():.1f} trainings and pays from "
        f"{supernet_s / saved_s if saved_s > 0 else float('inf'):.1f} recipes on"
    )

    (control,) = all_done(executor, [jobs.control])
    long, _ = scored(executor, supernet.corpus, [control])
    low, high = difference_interval(long[0], after[0], words, RESAMPLES)
    print(
        f"control: the first from nothing, {jobs.control.training.epochs} epochs: "
        f"{long.sum() / words.sum():.2%} in {control.history[-1].cpu_s:.0f} CPU s; its slice "
        f"differs by {(after[0] - long[0]).sum() / words.sum() * 100:+.2f} points "
        f"[{low * 100:+.2f}, {high * 100:+.2f}]"
    )


def _differing(choices: dict[str, tuple], recipe: Recipe) -> dict[str, float]:
    return {name: getattr(recipe.student, name) for name in choices}
