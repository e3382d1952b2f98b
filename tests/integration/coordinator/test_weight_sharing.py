"""A search trains its supernets once, before its trials, and says why it does or does not."""

from __future__ import annotations

import pytest
from coordinated import CACHED, Killed, Lossy, Silent, run
from fakes import SPACE, Work

from search.analysis.costs import stage_costs
from search.home import Home
from storage.records import StudyState
from workers.jobs import Supernet, Train, name_of
from workers.results import AnyResult

SHARED = SPACE.replace("trials: 14", "trials: 14, weight_sharing: on")
AUTO = SPACE.replace("trials: 14", "trials: 14, weight_sharing: auto")
SUPERNETS = ["supernet@separable_conv", "supernet@conformer"]


class KilledAt(Work):
    """As if the machine went down while a stage ran."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self, job) -> AnyResult:
        if name_of(job) == self._name:
            raise Killed
        return super().__call__(job)


def names(work: Work) -> list[str]:
    return [name_of(job) for job in work.jobs]


def students(work: Work) -> list[Train]:
    return [job for job in work.jobs if isinstance(job, Train)][1:]  # the first is the teacher


def test_supernets_are_trained_before_all_trials_and_every_student_begins_as_a_slice(
    home: Home,
) -> None:
    work, view = Work(), Silent()
    state, trials, store, study = run(home, work, SHARED, view)
    assert (state, len(trials)) == (StudyState.FINISHED, 14)
    order = names(work)
    assert [name for name in order if name.startswith("supernet")] == SUPERNETS
    assert order.index(SUPERNETS[1]) < order.index("screen")
    made = {j.largest.family: Work()(j).checkpoint for j in work.jobs if isinstance(j, Supernet)}
    assert all(job.start == made[job.student.family] for job in students(work))
    assert {job.training.epochs for job in students(work)} == {7}
    assert [m for m in view.messages if m.startswith("weight sharing")] == [
        "weight sharing: on, as the space says"
    ]
    costs = [c.stage for c in stage_costs(store.stage_runs.of(study.id)) if not c.of_trials]
    assert "supernet" in costs


def test_a_search_that_shares_no_weights_says_nothing_of_it(home: Home) -> None:
    work, view = Work(), Silent()
    run(home, work, SPACE, view)
    assert not [name for name in names(work) if name.startswith("supernet")]
    assert not [message for message in view.messages if "supernet" in message]
    assert all(job.start is None for job in students(work))


@pytest.mark.parametrize("stage", [*SUPERNETS, "train"])
def test_a_search_killed_at_any_stage_trains_no_supernet_twice(home: Home, stage: str) -> None:
    first = KilledAt(stage)
    with pytest.raises(Killed):
        run(home, first, SHARED)
    again = Work()
    state, trials, *_ = run(home, again, SHARED)
    assert (state, len(trials)) == (StudyState.FINISHED, 14)
    done = [name for name in names(first) + names(again) if name.startswith("supernet")]
    assert done == SUPERNETS


def test_a_finished_study_launched_again_trains_nothing(home: Home) -> None:
    run(home, Work(), SHARED)
    again = Work()
    run(home, again, SHARED)
    assert {job.stage for job in again.jobs} <= set(CACHED)


def test_a_supernet_whose_file_is_lost_is_trained_anew_and_the_other_is_not(home: Home) -> None:
    work = Work()
    run(home, work, SHARED)
    (job,) = (j for j in work.jobs if name_of(j) == SUPERNETS[0])
    again, longer = Work(), SHARED.replace("trials: 14", "trials: 16")
    _, trials, *_ = run(home, again, longer, executor=Lossy(again, {Work()(job).checkpoint}))
    assert [name for name in names(again) if name.startswith("supernet")] == SUPERNETS[:1]
    assert len(trials) == 16


def test_a_search_decides_by_itself_and_tells_the_reason(home: Home) -> None:
    work, view = Work(), Silent()
    run(home, work, AUTO, view)
    (message,) = (m for m in view.messages if m.startswith("weight sharing"))
    assert message.endswith(
        "of the 14 trials about 7 of each family are trainings: it does not pay"
    )
    assert not [name for name in names(work) if name.startswith("supernet")]
    longer, view = Work(), Silent()
    run(home, longer, AUTO.replace("trials: 14", "trials: 18"), view)
    assert [m for m in view.messages if m.startswith("weight sharing") and m.endswith("it pays")]
    assert [name for name in names(longer) if name.startswith("supernet")] == SUPERNETS
    assert all(job.start for job in longer.jobs if isinstance(job, Train))  # the teacher is done


def test_a_deterministic_search_that_shares_weights_tries_the_same_however_parallel(
    tmp_path,
) -> None:
    outcomes = []
    for parallel in (1, 4):
        home = Home.at(tmp_path / str(parallel))
        _, trials, *_ = run(home, Work(), SHARED, parallel=parallel, deterministic=True)
        outcomes.append([(t.recipe_digest, t.metrics["wer"]) for t in trials])
    assert outcomes[0] == outcomes[1]
