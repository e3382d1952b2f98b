"""kill -9 of everything, at any moment; then the same command."""

from __future__ import annotations

from killed_searches import done_more_than_once, run_through_kills
from shell import command

from storage.records import StudyState
from storage.store import Store

N_TRIALS, N_KILLS = 5, 6


def test_a_search_killed_six_times_ends_with_every_trial_once_and_nothing_trained_twice(
    tmp_path, tiny_space
):
    home = tmp_path / "home"
    arguments = command("--home", home, "launch", "--space", tiny_space, "--trials", N_TRIALS)
    run_through_kills(arguments, seed=2, n_kills=N_KILLS, latest_s=5.0)
    store = Store(f"sqlite:///{home / 'store.sqlite'}")
    (study,) = store.studies.all()
    trials = store.trials.of(study.id)
    assert study.state is StudyState.FINISHED
    assert [t.number for t in trials] == list(range(N_TRIALS))
    assert all(t.state == "complete" for t in trials), [t.reason for t in trials]
    assert done_more_than_once(home) == []
    for trial in trials:
        stages = {r.stage for r in store.stage_runs.of(study.id, trial.number)}
        assert {"screen", "train", "export", "score@cpu", "measure@cpu"} <= stages
