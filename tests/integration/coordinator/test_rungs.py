"""Rungs in a whole search: who stops, what is recorded, how it goes on after a kill or by hand."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest
from coordinated import EAGER, Killed, Silent, run
from fakes import SPACE, Work

from search.cli.main import run as search
from search.home import Home
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.jobs import key_of, name_of

RUNGS = SPACE.replace("search: {", "search: {rungs: [0.3, 0.6], ")
IN_FORMATS = RUNGS.replace("rungs:", "formats: all, rungs:")


def stages_of(work: Work) -> Counter[str]:
    return Counter(name_of(job) for job in work.jobs)


def by_state(trials, state):
    return [t for t in trials if t.state is state]


def test_weak_students_are_stopped_and_never_trained_to_the_end(home):
    work = Work()
    _, trials, *_ = run(home, work, RUNGS)
    stopped, complete = (by_state(trials, s) for s in (TrialState.STOPPED, TrialState.COMPLETE))
    assert stopped
    assert complete
    assert all(t.objective_values is None and t.finished_at is not None for t in stopped)
    assert all("no larger or slower" in t.reason for t in stopped)
    assert all(t.rungs[-1].promoted is None and t.rungs[-1].beaten_by is not None for t in stopped)
    assert all([r.promoted for r in t.rungs] == ["rule", "rule"] for t in complete)
    trained = [j for j in work.jobs if j.stage == "train" and j.until is None]
    assert len(trained) == 1 + len({key_of(j) for j in trained[1:]})
    assert len(trained) - 1 <= len(complete)
    at_first = [j for j in work.jobs if j.stage == "train" and j.until == 0.3]
    assert len(at_first) == len(trials)


def test_a_stopped_trial_has_the_figures_of_its_screening_and_no_wer(home):
    _, trials, *_ = run(home, Work(), RUNGS)
    for trial in by_state(trials, TrialState.STOPPED):
        assert trial.metrics["size_mb"] > 0
        assert "wer" not in trial.metrics


def test_nobody_is_stopped_where_rungs_are_only_recorded(home):
    work = Work()
    text = RUNGS.replace("rungs:", "stop_early: false, rungs:")
    _, trials, *_ = run(home, work, text)
    assert not by_state(trials, TrialState.STOPPED)
    assert not [name for name in stages_of(work) if name.startswith("train@")]


def test_the_other_formats_of_a_trained_network_are_not_judged_at_rungs(home):
    work = Work()
    _, trials, *_ = run(home, work, IN_FORMATS)
    others = [t for t in trials if t.source == "format"]
    assert others
    assert all(t.state is TrialState.COMPLETE and not t.rungs for t in others)
    screened = [j for j in work.jobs if j.stage == "screen"]
    assert len(screened) == len(trials) - len(others)


def test_a_deterministic_search_stops_the_same_trials_however_parallel(tmp_path):
    outcomes = []
    for parallel in (1, 3, 7):
        home = Home.at(tmp_path / str(parallel))
        _, trials, *_ = run(home, Work(), RUNGS, parallel=parallel, deterministic=True)
        outcomes.append([(t.recipe_digest, t.state) for t in trials])
    assert by_state(trials, TrialState.STOPPED)
    assert all(outcome == outcomes[0] for outcome in outcomes)


class Mortal(Work):
    """Is killed with the coordinator in the middle of its nth job."""

    def __init__(self, dies_at):
        super().__init__()
        self.dies_at = dies_at

    def __call__(self, job):
        if len(self.jobs) == self.dies_at:
            raise Killed
        return super().__call__(job)


@pytest.mark.parametrize("dies_at", [6, 11, 17, 25, 40])
def test_a_killed_search_goes_on_to_the_same_end_and_does_nothing_twice(tmp_path, dies_at):
    whole, first, second = Work(), Mortal(dies_at), Work()
    _, expected, *_ = run(Home.at(tmp_path / "a"), whole, RUNGS, parallel=1)
    home = Home.at(tmp_path / "b")
    with pytest.raises(Killed):
        run(home, first, RUNGS, parallel=1)
    _, found, *_ = run(home, second, RUNGS, parallel=1)
    outcome = [[(t.recipe_digest, t.state, t.rungs) for t in ts] for ts in (found, expected)]
    assert outcome[0] == outcome[1]
    done = first.done + second.done
    lasting = {k: n for k, n in done.items() if k in whole.done}
    again = [j for j in second.jobs if lasting[key_of(j)] > 1]
    assert {j.stage for j in again} <= {"prepare", "teacher_targets"}


@pytest.fixture
def stopped(home):
    """A finished search; the number of one that was stopped."""
    _, trials, *_ = run(home, Work(), RUNGS)
    return by_state(trials, TrialState.STOPPED)[0].number


def promote(home, *arguments) -> int:
    return search(["--home", str(home.folder), "promote", *map(str, arguments)])


def test_a_trial_that_a_person_promotes_is_trained_to_the_end(home, stopped, capsys):
    assert promote(home, stopped) == 0
    assert f"trial {stopped} will be trained to the end; go on with `search launch`" in (
        capsys.readouterr().out
    )
    work = Work()
    state, trials, *_ = run(home, work, RUNGS)
    assert state is StudyState.FINISHED
    assert trials[stopped].state is TrialState.COMPLETE
    assert trials[stopped].rungs[-1].promoted == "hand"
    done = [name_of(j) for j in work.jobs if j.stage not in ("prepare", "teacher_targets")]
    assert done[0] == "train"
    assert not [name for name in done if name.startswith("train@")]


def test_a_running_search_takes_up_what_a_person_promotes(home, stopped):
    class Promoting(Silent):
        """Promotes it in the middle of the search."""

        def event(self, event):
            super().event(event)
            if event.message.startswith("trial 15: ") and "screen" in event.message:
                with closing(Store(home.store_url)) as store:
                    store.commands.add(store.studies.get("fake").id, "promote", stopped)

    view = Promoting()
    text = RUNGS.replace("trials: 14", "trials: 40")
    _, trials, *_ = run(home, Work(), text, view=view, pace=EAGER)
    assert trials[stopped].state is TrialState.COMPLETE
    assert f"trial {stopped}: goes on" in view.messages


def test_only_what_was_stopped_can_be_promoted(home, stopped, capsys):
    with closing(Store(home.store_url)) as store:
        trials = store.trials.of(store.studies.get("fake").id)
    complete = by_state(trials, TrialState.COMPLETE)[0].number
    assert promote(home, complete) == 2
    assert f"trial {complete} is complete; only those that were stopped" in capsys.readouterr().err
    assert promote(home, 999) == 2
    assert promote(home, "x") == 2


def test_show_and_events_tell_of_rungs(home, stopped, capsys):
    view = Silent()
    run(home, Work(), RUNGS, view=view)
    assert search(["--home", str(home.folder), "show", str(stopped)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"trial {stopped} of fake: stopped" in out
    assert "rung, 30 of 100 epochs: WER" in out
    assert "stopped there" in out
    assert f"`search promote {stopped} --study fake` trains it on" in out
