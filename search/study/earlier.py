"""The earlier studies that a study learns from: looked up once, at its first launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.added_targets import space_of
from search.errors import UsageFault
from search.policy import Policy
from search.strategy.warm_start import Earlier, usable
from spaces.space import WHERE_IT_IS_REACHED, Space
from storage.records import Study, Trial
from storage.store import Store


@dataclass(frozen=True)
class EarlierStudy:
    """An earlier study with the trials that are learnt from."""

    study: Study
    space: Space
    trials: tuple[Trial, ...]


def earlier_studies(store: Store, space: Space, policy: Policy) -> tuple[EarlierStudy, ...]:
    """Those that `search.warm_start` names. A study that was launched before remembers which of
    their trials it learns from; what they were given since changes nothing.

    Raises:
        UsageFault: when one is not there, or has nothing in common with this space.
    """
    study = store.studies.find(space.name)
    remembered = None if study is None else study.warm_start
    return tuple(
        _earlier(store, space, policy, name, remembered) for name in space.search.warm_start
    )


def _earlier(
    store: Store,
    space: Space,
    policy: Policy,
    name: str,
    remembered: Mapping[str, Sequence[int]] | None,
) -> EarlierStudy:
    if name == space.name:
        raise UsageFault(f"search.warm_start: {name} is this study; it cannot begin with itself")
    study = store.studies.find(name)
    if study is None:
        known = ", ".join(s.name for s in store.studies.all() if s.name != space.name)
        held = f"it holds: {known}" if known else "it holds no other"
        raise UsageFault(f'search.warm_start: no study "{name}" in this store; {held}')
    theirs = space_of(study)
    trials = store.trials.of(study.id)
    if remembered is not None:
        numbers = set(remembered.get(name, ()))
        trials = [t for t in trials if t.number in numbers]
    found = usable(space, policy, trials)
    if not found:
        raise UsageFault(f"search.warm_start: {name} {_why_useless(space, theirs, trials)}")
    return EarlierStudy(study, theirs, tuple(found))


def _why_useless(space: Space, theirs: Space, trials: Sequence[Trial]) -> str:
    """What an earlier study lacks, in words."""
    if not set(space.students) & set(theirs.students):
        here, there = ", ".join(space.students), ", ".join(theirs.students)
        return f"has students of {there}, this space of {here}"
    if not any(t.state.is_measured for t in trials):
        return "has no measured trial to learn from"
    wanted = ", ".join(space.objectives)
    return f"has no trial of these families with figures of all of {wanted}"


def remember(store: Store, study: Study, earlier: Sequence[EarlierStudy]) -> Study:
    """Put into the record which trials a study learns from, where it does not know yet."""
    if study.warm_start is not None or not earlier:
        return study
    trials = {e.study.name: [t.number for t in e.trials] for e in earlier}
    store.studies.change(study.id, warm_start=trials)
    return store.studies.get(study.name)


def as_told(space: Space, corpus: str, earlier: Sequence[EarlierStudy]) -> list[Earlier]:
    """What a sampler is given of them.

    Args:
        corpus: the prepared data of the study that learns.
    """
    return [Earlier(e.study.name, e.trials, _is_alike(space, corpus, e)) for e in earlier]


def _is_alike(space: Space, corpus: str, earlier: EarlierStudy) -> bool:
    """Whether its figures mean the same: of the same data, on targets of the same settings."""
    pairs = [
        (space.targets[m.target or space.first_target], earlier.space.targets.get(theirs))
        for m in space.objectives
        for theirs in (m.target or earlier.space.first_target,)
    ]
    same = all(
        other is not None
        and own.model_dump(exclude=WHERE_IT_IS_REACHED)
        == other.model_dump(exclude=WHERE_IT_IS_REACHED)
        for own, other in pairs
    )
    return same and earlier.study.corpus == corpus


def described(earlier: Sequence[Earlier]) -> str:
    """In words."""
    parts = []
    for one in earlier:
        how = "as they are" if one.is_alike else "by rank: data or targets are others"
        parts.append(f"{len(one.trials)} trials of {one.study} ({how})")
    return f"learns from {', '.join(parts)}"
