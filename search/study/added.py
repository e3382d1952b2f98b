"""Which targets a study is given beside those of its space, and which of its trials are measured
there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from search.added_targets import added_targets, own_space_of
from search.analysis.front import front_numbers
from search.analysis.trial_frame import trial_frame
from search.errors import UsageFault
from search.policy import policy_of
from spaces.metrics import MetricRef
from spaces.space import WHERE_IT_IS_REACHED, Target
from storage.records import Study
from storage.store import Store


@dataclass(frozen=True)
class OnAdded:
    """What `search measure --target-file` is to measure: the front by default.

    Args:
        trials: by number, instead of the front.
        everything: every measured trial, instead of the front.
        unsteady: only those that were measured there already and not in quiet, once more.
    """

    targets: Mapping[str, Target]
    trials: tuple[int, ...] = ()
    everything: bool = False
    unsteady: bool = False


def new_targets(store: Store, study: Study, what: OnAdded) -> tuple[str, ...]:
    """Names of the targets that are not the space's own. One that was added before may have other
    settings as long as nothing was measured there.

    Raises:
        UsageFault: when there are none, or one has the name of another.
    """
    own, added = own_space_of(study).targets, added_targets(study)
    figures = [study.teacher_metrics, *(t.metrics for t in store.trials.rows(study.id))]
    used = {MetricRef.of(name).target for metrics in figures for name in metrics}
    added = {name: target for name, target in added.items() if name in used}
    faults = []
    for name, target in what.targets.items():
        known = own.get(name, added.get(name))
        if known is not None and (differing := _differing(known, target)):
            faults.append(
                f'targets.{name}: study "{study.name}" has a target of that name with other '
                f"settings ({differing}); give this one another name"
            )
    if faults:
        raise UsageFault("\n".join(faults))
    names = tuple(name for name in what.targets if name not in own)
    if not names:
        raise UsageFault(
            f"{', '.join(what.targets)}: the space of {study.name} has it, so its trials are "
            f"measured there; `search measure {study.name}` does what waits"
        )
    return names


def _differing(known: Target, given: Target) -> str:
    """Settings in which two targets differ, but for where they are reached."""
    theirs, ours = known.model_dump(), given.model_dump()
    names = [n for n in theirs if n not in WHERE_IT_IS_REACHED and theirs[n] != ours[n]]
    apart = [f"{name} {theirs[name]}, not {ours[name]}" for name in names]
    if (known.agent is None, known.adb is None) != (given.agent is None, given.adb is None):
        apart.append(f"on {known.device}, not on {given.device}")
    return ", ".join(apart)


def chosen_trials(store: Store, study: Study, what: OnAdded) -> list[int]:
    """Numbers of the trials to measure.

    Raises:
        UsageFault: when one was not measured yet, or there is none.
    """
    trials = {t.number: t for t in store.trials.of(study.id)}
    measured = [n for n, t in trials.items() if t.state.is_measured]
    strangers = [n for n in what.trials if n not in measured]
    if strangers:
        raise UsageFault(
            f"trial {', '.join(map(str, strangers))}: not measured yet, so there is no exported "
            f"student; `search front {study.name} --all` lists those there are"
        )
    chosen = sorted(set(what.trials)) or measured
    if not (what.trials or what.everything or what.unsteady):
        space = own_space_of(study)
        frame = trial_frame(list(trials.values()), study, space)
        chosen = front_numbers(frame, space.objectives, policy_of(study.deterministic))
    if what.unsteady:
        flags = [MetricRef("unsteady", name) for name in what.targets]
        chosen = [n for n in chosen if any(trials[n].metrics.get(flag) for flag in flags)]
    if not chosen:
        which = "no chosen trial was unsteady there" if what.unsteady else "no trial to measure"
        raise UsageFault(f"{study.name}: {which}")
    return chosen


def add_targets(
    store: Store, study: Study, targets: Mapping[str, Target], names: Collection[str]
) -> Study:
    """Put targets into the record of a study, and return it as it is then."""
    given = {n: targets[n].model_dump(mode="json", exclude_defaults=True) for n in names}
    added = {**study.added_targets, **given}
    if added != study.added_targets:
        store.studies.change(study.id, added_targets=added)
        new = [name for name in names if name not in study.added_targets]
        if new:
            store.events.add(study.id, "study", f"has a further target: {', '.join(new)}")
    return store.studies.get(study.name)
