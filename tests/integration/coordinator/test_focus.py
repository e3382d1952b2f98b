"""A study that is extended towards limits looks there, and afterwards as before."""

from __future__ import annotations

from coordinated import Silent, run
from fakes import Work

from storage.records import Focus, TrialState
from storage.store import Store
from workers.jobs import Train

N_KNOWN, N_FOCUS, N_AFTER = 14, 8, 3
LIMIT_MB = 2.0  # of the untrained student, which the fake work makes of channels and blocks


def _extend(home, trials, towards=None):
    store = Store(home.store_url)
    study = store.studies.get("fake")
    store.studies.extend(study.id, trials, towards)
    store.close()


def test_an_extended_study_looks_where_the_limits_are_met_and_trains_nothing_else(home):
    run(home, Work())
    _extend(home, N_FOCUS, {"size_mb": f"<= {LIMIT_MB}"})
    _extend(home, N_AFTER)
    work, view = Work(), Silent()
    _, trials, *_, study = run(home, work, view=view)
    focus = Focus(N_KNOWN, N_FOCUS, {"size_mb": f"<= {LIMIT_MB}"})
    assert study.focuses == (focus,)
    assert len(trials) == N_KNOWN + N_FOCUS + N_AFTER

    within, after = trials[N_KNOWN : N_KNOWN + N_FOCUS], trials[N_KNOWN + N_FOCUS :]
    assert [t.source for t in within[:3]] == ["focus"] * 3
    out = [t for t in within if t.state is TrialState.SCREENED_OUT]
    assert len(out) < N_FOCUS
    for trial in out:
        assert trial.reason is not None
        assert trial.reason.startswith(f"outside the focus: size_mb <= {LIMIT_MB:g} (is ")
        assert all(excess <= 0 for excess in trial.constraints.values())
    trained = sum(isinstance(job, Train) for job in work.jobs)
    assert trained <= N_FOCUS + N_AFTER - len(out)
    assert {t.state for t in after} == {TrialState.COMPLETE}  # whatever their size

    again = Work()
    _, same, *_ = run(home, again)
    assert [t.recipe_digest for t in same] == [t.recipe_digest for t in trials]
    assert {job.stage for job in again.jobs} <= {"prepare", "teacher_targets"}


def test_what_is_proposed_in_a_focus_does_not_depend_on_being_killed(home, tmp_path):
    from search.home import Home

    class Dies(Work):
        def _export(self, job):
            if sum(j.stage == "export" for j in self.jobs) == 3:
                raise KeyboardInterrupt
            return super()._export(job)

    other = Home.at(tmp_path / "other")
    for place in (home, other):
        run(place, Work(), parallel=1)
        _extend(place, N_FOCUS, {"size_mb": f"<= {LIMIT_MB}"})
    _, whole, *_ = run(home, Work(), parallel=1)
    run(other, Dies(), parallel=1)
    _, parts, *_ = run(other, Work(), parallel=1)
    assert [t.recipe_digest for t in whole] == [t.recipe_digest for t in parts]
