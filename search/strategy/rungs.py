"""Students that are stopped at a rung: what another shows there is surely better.

A rung is a share of the epochs. There a student has a score of averaged weights on dev, and what
its other objectives will be is known from its screening. It goes on unless another student, no
larger and no slower, makes fewer errors by so much that chance does not explain it: neither that
of a small dev set, nor that of the epochs to come, after which students stand in another order.
That is successive halving over several objectives (MO-ASHA, arXiv 2106.12639) with dominance in
the place of a fixed share: a strict best third lost three points of WER here. Decisions are
asynchronous: each is made when a student comes to its rung, among those that were there before.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from search.error_groups import error_groups
from search.objectives import objective_values
from search.policy import Policy
from search.strategy.moves import Promote, Stop
from spaces.metrics import MetricRef
from spaces.space import Space
from storage.records import Rung, Trial, TrialState
from workers.results import RungScore

_SURE = 2.0  # standard errors of a paired difference
# The logarithm of the WER in the end over that at a rung varies so much between students (16
# networks of synthetic speech: 0.16 at a third of the epochs, 0.12 at two thirds), until a study
# knows better.
_REORDER_SD = 0.16
_PSEUDO_TRIALS = 8.0
_REORDER_Z = 1.28  # one in ten such differences turns round
_LIKE = 0.1  # figures as near as that are alike: nobody ships a student for them
_FEWEST_RATIOS = 3
# Whoever ended so is no better choice.
_OUT = (TrialState.FAILED, TrialState.CANCELLED, TrialState.INFEASIBLE, TrialState.SCREENED_OUT)


@dataclass(frozen=True)
class Beaten:
    """Another trial is surely better at a rung: by so many points of WER, of which chance explains
    `noise`, both fractions."""

    by: int
    points: float
    noise: float


def rung_of(
    space: Space, policy: Policy, share: float, score: RungScore, screened: Mapping[str, float]
) -> Rung:
    """A score for the record.

    Args:
        screened: the metrics of the screening.
    """
    return Rung(
        share=share,
        epoch=score.epoch,
        epochs=score.epochs,
        wer=score.wer,
        errors=error_groups(score.errors),
        costs=_costs(space, policy, screened),
    )


def promoted(rungs: tuple[Rung, ...], by: str) -> tuple[Rung, ...]:
    """The rungs of a stopped trial that goes on after all."""
    return (*rungs[:-1], replace(rungs[-1], promoted=by, beaten_by=None))


def is_trained(trial: Trial) -> bool:
    """Whether it is another format of a network that is trained already."""
    return trial.source == "format"


def goes_to_end(trial: Trial) -> bool:
    """Whether nobody stops it: its network is trained already, or a person wants it."""
    return is_trained(trial) or any(rung.promoted == "hand" for rung in trial.rungs)


def at_rung(trial: Trial, trials: Iterable[Trial]) -> tuple[Promote | Stop, Beaten | None]:
    """Whether a trial goes on from the last of its rungs.

    Args:
        trials: those whose results may be seen.
    """
    beaten = None if goes_to_end(trial) else beaten_at(trial, trials)
    if beaten is None:
        return Promote(), None
    rung = trial.rungs[-1]
    reason = (
        f"after {rung.epoch} of {rung.epochs} epochs: WER {rung.wer:.1%} there; trial {beaten.by}, "
        f"no larger or slower, made {100 * beaten.points:.1f} points fewer errors "
        f"(chance explains {100 * beaten.noise:.1f})"
    )
    return Stop(reason), beaten


def beaten_at(trial: Trial, trials: Iterable[Trial]) -> Beaten | None:
    """The trial that beats it most at the last of its rungs; None if none surely does."""
    rung, found = trial.rungs[-1], None
    trials = list(trials)
    reorder = _REORDER_Z * math.sqrt(2) * _reorder_sd(trials, rung.share)
    for other in trials:
        theirs = next((r for r in other.rungs if r.share == rung.share), None)
        if theirs is None or other.number == trial.number or other.state in _OUT:
            continue
        if theirs.wer >= rung.wer or not _costs_no_more(theirs, rung):
            continue
        if _pruned(other) > _pruned(trial):  # and loses more to it afterwards
            continue
        points = rung.wer - theirs.wer
        to_come = rung.wer * (1 - math.exp(-reorder))
        noise = math.hypot(_SURE * paired_error(rung, theirs), to_come)
        if points > noise and (found is None or points > found.points):
            found = Beaten(other.number, points, noise)
    return found


def _reorder_sd(trials: Iterable[Trial], share: float) -> float:
    """Standard deviation of what the epochs after a rung do to the logarithm of WER."""
    logs = [
        math.log(trial.metrics["wer"] / rung.wer)
        for trial in trials
        if trial.objective_values is not None and trial.metrics.get("wer", 0.0) > 0
        for rung in trial.rungs
        if rung.share == share and rung.wer > 0
    ]
    spread = statistics.pvariance(logs) * len(logs) if logs else 0.0
    prior = _PSEUDO_TRIALS * _REORDER_SD**2
    return math.sqrt((spread + prior) / (len(logs) + _PSEUDO_TRIALS))


def paired_error(worse: Rung, better: Rung) -> float:
    """Standard error of the difference of two WERs on the same utterances, a fraction."""
    n_groups = len(worse.errors)
    if n_groups != len(better.errors) or n_groups < 2:
        return math.inf
    apart = np.asarray(worse.errors) - np.asarray(better.errors)
    n_words = sum(worse.errors) / worse.wer
    return float(math.sqrt(n_groups * apart.var(ddof=1)) / n_words)


def late_promotion(policy: Policy, number: int, trials: Sequence[Trial]) -> int | None:
    """A stopped trial whose better ended badly and that nobody else beats; None if there is none.

    Args:
        number: of the trial that would be proposed instead.
    """
    if policy.settled(number) != number and policy.generation is not None:
        return None  # what is seen in mid-generation depends on who was faster
    states = {t.number: t.state for t in trials}
    for trial in trials:
        if trial.state is TrialState.STOPPED and states.get(_better(trial)) in _OUT:
            move, _ = at_rung(trial, policy.seen(trial.number, trials))
            if isinstance(move, Promote):
                return trial.number
    return None


def _better(trial: Trial) -> int:
    beaten_by = trial.rungs[-1].beaten_by if trial.rungs else None
    return -1 if beaten_by is None else beaten_by


# Costs: what is known before training


def _costs(space: Space, policy: Policy, metrics: Mapping[str, float]) -> dict[str, float]:
    """What a student costs in each objective but errors, less is better. Where a network is judged
    in every format, the one that it was screened in says nothing; parameters and operations do."""
    found: dict[str, float] = {}
    for objective in space.objectives:
        if objective.name in ("wer", "cer"):
            continue
        metric = policy.proxy_metric(objective)
        if space.search.formats == "all":
            metric = MetricRef("macs" if metric.known.noisy else "params")
        value = metrics.get(metric)
        if value is not None:
            found[str(metric)] = 1 / max(value, 1e-12) if metric.known.higher_is_better else value
    return found


def _costs_no_more(other: Rung, rung: Rung) -> bool:
    """Whether another is as cheap in everything, as far as anybody cares."""
    return rung.costs.keys() == other.costs.keys() and all(
        other.costs[metric] <= cost * (1 + _LIKE) for metric, cost in rung.costs.items()
    )


def _pruned(trial: Trial) -> float:
    return float(trial.values.get("prune.ratio", 0.0))


# What the sampler is told of stopped trials


def with_predictions(space: Space, policy: Policy, trials: Sequence[Trial]) -> list[Trial]:
    """The trials as the sampler learns from them: those stopped have the figures that they would
    have come to, as far as that can be said. Their last WER times what others made of theirs;
    without it the sampler learns nothing of most of what was spent."""
    ratios = _ratios(trials)
    return [_predicted(space, policy, t, ratios) for t in trials]


def _ratios(trials: Iterable[Trial]) -> dict[float, float]:
    """By rung: the median of the WER in the end over the WER there, rounded so that the sampler
    does not see every trial move with each that ends."""
    found: dict[float, list[float]] = {}
    for trial in trials:
        if trial.objective_values is not None and "wer" in trial.metrics:
            for rung in trial.rungs:
                if rung.wer > 0:
                    found.setdefault(rung.share, []).append(trial.metrics["wer"] / rung.wer)
    return {
        share: round(statistics.median(ratios), 2)
        for share, ratios in found.items()
        if len(ratios) >= _FEWEST_RATIOS
    }


def _predicted(space: Space, policy: Policy, trial: Trial, ratios: Mapping[float, float]) -> Trial:
    if trial.state is not TrialState.STOPPED or not trial.rungs:
        return trial
    rung = trial.rungs[-1]
    if rung.share not in ratios:
        return trial
    wer = rung.wer * ratios[rung.share]
    metrics = {**trial.metrics, "wer": wer}
    metrics |= {o: wer for o in space.objectives if o.name == "wer"}
    try:
        return trial.evolve(objective_values=objective_values(space, metrics, policy))
    except KeyError:  # an objective that no screening tells
        return trial
