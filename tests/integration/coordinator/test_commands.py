"""A search does what it is told from another shell: to extend, cancel, pause, resume and stop."""

from __future__ import annotations

from coordinated import EAGER, Silent, run
from fakes import Work

from search.executors.inline import InlineExecutor
from storage.records import StudyState, TrialState
from storage.store import Store


def test_commands_from_another_shell_are_obeyed(home):
    work = Work()

    class Commanding(InlineExecutor):
        sent = False

        def poll(self, timeout_s):
            if not self.sent and any(j.stage == "screen" for j in work.jobs):
                self.sent = True
                store = Store(home.store_url)
                study = store.studies.get("fake")
                store.studies.change(study.id, trials_wanted=16)
                store.commands.add(study.id, "extend", 2)
                store.commands.add(study.id, "cancel", 1)
                store.commands.add(study.id, "pause")
                store.commands.add(study.id, "resume")
                store.close()
            return super().poll(timeout_s)

    view = Silent()
    _, trials, *_ = run(home, work, executor=Commanding(work), view=view, pace=EAGER)
    assert len(trials) == 16
    assert trials[1].state is TrialState.CANCELLED
    assert "paused: nothing new starts" in view.messages
    assert "resumed" in view.messages


def test_stop_ends_the_study_and_a_launch_continues_it(home):
    work = Work()

    class Stopping(InlineExecutor):
        def poll(self, timeout_s):
            if sum(j.stage == "measure" for j in work.jobs) == 3:
                store = Store(home.store_url)
                store.commands.add(store.studies.get("fake").id, "stop")
                store.close()
            return super().poll(timeout_s)

    state, *_ = run(home, work, executor=Stopping(work), pace=EAGER)
    assert state is StudyState.STOPPED
    state, trials, *_ = run(home, work)
    assert state is StudyState.FINISHED
    assert all(t.state is TrialState.COMPLETE for t in trials)


def test_a_paused_study_starts_no_further_stage(home):
    work = Work()
    at_pause = []

    class Pausing(InlineExecutor):
        n_idle = 0

        def poll(self, timeout_s):
            store = Store(home.store_url)
            study = store.studies.get("fake")
            if not at_pause and sum(j.stage == "train" for j in work.jobs) == 3:
                store.commands.add(study.id, "pause")
                at_pause.append(len(work.jobs))
            done = super().poll(timeout_s)
            if at_pause and not done:
                self.n_idle += 1
                if self.n_idle == 5:
                    at_pause.append(len(work.jobs))
                    store.commands.add(study.id, "resume")
            store.close()
            return done

    _, trials, *_ = run(home, work, executor=Pausing(work), pace=EAGER)
    under_way = at_pause[1] - at_pause[0]
    assert under_way <= 3  # one being done when the pause was asked for, one waiting in each slot
    assert all(t.state is TrialState.COMPLETE for t in trials)
