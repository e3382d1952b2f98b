"""What a search finds for its compute: strategies on recorded tables, over many seeds.

make bench-search; N_SEEDS=4 for a quick look; GP=1 with the Gaussian process, whose asks take
seconds each. Tables are those of `search record` in the folder `tables` here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from search.replay.growth import Growth, Reference, growth_of, reference_of
from search.replay.lookup import Lookup
from search.replay.run import replay
from search.replay.table import RecordedTable, RecordedTrial, read_table
from spaces.recipe import Quantize
from workers.results import ScoreResult

TABLES = sorted((Path(__file__).parent / "tables").glob("*.parquet"))
N_SEEDS = int(os.environ.get("N_SEEDS", "20"))
AT = (5, 10, 20, 50, 100)  # full trainings
N_SEEN = 120  # utterances of dev that a search sees, drawn anew for each seed
PLAIN: dict[str, object] = {"initial_trials": 0, "trials": 100}
RUNGS: dict[str, object] = {"rungs": (1 / 3,), "trials": 240}
OURS: dict[str, object] = {**RUNGS, "sampler": "tpe", "formats": "all", "settings": "learned"}
STRATEGIES: dict[str, dict[str, object]] = {
    "random": {**PLAIN, "sampler": "random"},
    "NSGA-II": {**PLAIN, "sampler": "nsga2"},
    "TPE": {**PLAIN, "sampler": "tpe"},
    "rungs over random": {**RUNGS, "sampler": "random", "initial_trials": 0},
    "ours": OURS,
    "ours without rungs": {**OURS, "rungs": ()},
    "ours without all formats": {**OURS, "formats": "sampled"},
    "ours without learned settings": {**OURS, "settings": "sampled"},
    "ours without initial design": {**OURS, "initial_trials": 0},
    "ours with random shapes": {**OURS, "sampler": "random"},
}
if os.environ.get("GP"):
    STRATEGIES["GP"] = {**PLAIN, "sampler": "gp"}
if not TABLES:
    pytest.skip(
        "no table: search record quickstart.yaml tests/benchmarks/tables/quickstart.parquet",
        allow_module_level=True,
    )


@dataclass(frozen=True)
class Bench:
    """A table, ready to be searched."""

    table: RecordedTable
    reference: Reference
    training_cpu_s: float  # of a trial, all its stages
    n_dev: int

    def search(self, seed: int, workers: int, **search: object) -> tuple[Growth, float]:
        """How its front grows, judged by all of dev, and the share of answers that are those of a
        neighbour. Each seed sees utterances of its own."""
        space = self.table.space
        given = {"parallel": workers, "seed": seed, **search}
        space = space.model_copy(update={"search": space.search.model_copy(update=given)})
        rng = np.random.default_rng(seed)
        seen = rng.choice(self.n_dev, min(N_SEEN, self.n_dev), replace=False)
        replayed = replay(self.table, space, Lookup(self.table, seen))
        return growth_of(replayed, space, self.reference), replayed.nearest_share


@pytest.fixture(scope="module", params=TABLES, ids=lambda p: p.stem)
def bench(request: pytest.FixtureRequest) -> Bench:
    table = read_table(request.param)
    costs = [sum(r.result.cpu_s for r in t.stages.values()) for t in table.trials]
    scored = next(iter(table.trials[0].results.scored.values()))
    assert isinstance(scored, ScoreResult)
    print(
        f"\n{request.param.stem}: {table.n_networks} networks, {len(table.trials)} students, "
        f"{table.cpu_s / 3600:.1f} hours of compute, {sum(scored.words)} words of dev; a search "
        f"sees {min(N_SEEN, len(scored.words))} of {len(scored.words)} utterances"
    )
    reference = reference_of(table, table.space)
    return Bench(table, reference, float(np.median(costs)), len(scored.words))


def interval(values: np.ndarray) -> str:
    """Median over seeds with its 95 % bootstrap interval."""
    found = stats.bootstrap((values,), np.median, method="percentile", random_state=0)
    low, high = found.confidence_interval
    return f"{np.median(values):.3f} [{low:.3f}, {high:.3f}]"


@pytest.mark.parametrize("workers", [2, 8])
def test_hypervolume_over_compute(bench: Bench, workers: int) -> None:
    budgets = [n * bench.training_cpu_s for n in AT]
    teacher_s = sum(r.result.cpu_s for r in bench.table.study_stages.values())
    print(f"\nhypervolume, {workers} workers, {N_SEEDS} seeds, after trainings' worth of compute")
    print(f"{'':32}" + "".join(f"{n:>22}" for n in AT))
    grown: dict[str, list[Growth]] = {}
    for name, search in STRATEGIES.items():
        found = [bench.search(seed, workers, **search) for seed in range(N_SEEDS)]
        grown[name] = [growth for growth, _ in found]
        cells = [interval(np.array([g.at(teacher_s + b) for g in grown[name]])) for b in budgets]
        share = np.mean([s for _, s in found])
        print(f"{name:32}" + "".join(f"{c:>22}" for c in cells) + f"   nearest {share:.0%}")
    goal = float(np.median([g.at(teacher_s + budgets[-1]) for g in grown["TPE"]]))
    print(f"trainings' worth of compute to reach {goal:.3f}, what TPE has after {AT[-1]} (median)")
    for name, growths in grown.items():
        costs = [(g.cpu_s_to(goal) - teacher_s) / bench.training_cpu_s for g in growths]
        n_reached = sum(np.isfinite(costs))
        print(f"{name:32}{np.median(costs):>10.1f}   {n_reached} of {len(costs)} seeds reach it")
    assert goal > 0


def test_rungs_rank_as_the_end_does(bench: Bench) -> None:
    """Kendall's correlation of what is known of a network early with its WER in the end, of those
    that are pruned then after that."""
    networks: dict[str, RecordedTrial] = {}
    for trial in bench.table.trials:
        if trial.recipe.quantize == Quantize():
            networks.setdefault(str(trial.results.checkpoint), trial)
    families = {t.recipe.student.family for t in networks.values()}
    for family in sorted(families):
        trials = [t for t in networks.values() if t.recipe.student.family == family]
        final = np.array([_final_wer(t) for t in trials])
        print(f"\n{family}, {len(trials)} networks: Kendall's tau with the WER in the end")
        predictors = {"fewer parameters": np.array([-_params(t) for t in trials])}
        for place, rung in enumerate(trials[0].results.train.rungs):  # type: ignore[union-attr]
            scores = [t.results.train.rungs[place].wer for t in trials]  # type: ignore[union-attr]
            predictors[f"WER after {rung.epoch}/{rung.epochs} epochs"] = np.array(scores)
        for name, values in predictors.items():
            print(f"  {name:28}{_tau(values, final)}")
        assert len(final) > 2


def _tau(values: np.ndarray, final: np.ndarray) -> str:
    found = stats.bootstrap(
        (values, final),
        lambda a, b: float(np.nan_to_num(stats.kendalltau(a, b).statistic)),  # all drawn alike: 0
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        random_state=0,
    )
    low, high = found.confidence_interval
    return f"{stats.kendalltau(values, final).statistic:6.2f} [{low:.2f}, {high:.2f}]"


def _final_wer(trial: RecordedTrial) -> float:
    wer = next(iter(trial.results.scored.values())).value("wer")
    assert wer is not None
    return wer


def _params(trial: RecordedTrial) -> float:
    assert trial.results.export is not None
    value = trial.results.export.value("params")
    assert value is not None
    return value
