"""A stage that fails costs its trial at most; what is wrong with the data ends the study."""

from __future__ import annotations

import pytest
from coordinated import Silent, run
from fakes import Work

from search.errors import StudyFault
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.errors import UserFault


def test_a_stage_that_fails_is_tried_again_then_the_trial_is_failed_with_its_reason(home):
    class Flaky(Work):
        def _export(self, job):
            if self.done[job_key := job.checkpoint[:8] + job.quantize.encoder] == 0:
                self.done[job_key] += 1
                raise RuntimeError("out of luck")
            return super()._export(job)

    view = Silent()
    _, trials, *_ = run(home, Flaky(), view=view)
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert any("out of luck" in m and "trying again" in m for m in view.messages)


def test_a_trial_that_keeps_failing_ends_failed_and_the_study_goes_on(home):
    class Broken(Work):
        def _compress(self, job):
            raise RuntimeError("no such channel")

    _, trials, *_ = run(home, Broken())
    failed = [t for t in trials if t.state is TrialState.FAILED]
    assert failed
    assert all(t.reason == "compress: RuntimeError: no such channel (2 attempts)" for t in failed)
    assert all(t.values["prune.ratio"] > 0 for t in failed)
    assert any(t.state is TrialState.COMPLETE for t in trials)


def test_a_fault_in_the_users_data_ends_the_study_as_the_users(home):
    class Refusing(Work):
        def _prepare(self, job):
            raise UserFault("train.jsonl:3: no such file")

    with pytest.raises(StudyFault, match=r"train\.jsonl:3") as caught:
        run(home, Refusing())
    assert caught.value.is_user_fault
    assert Store(home.store_url).studies.get("fake").state is StudyState.FAILED


def test_data_that_changed_under_a_study_is_refused(home):
    run(home, Work(), trials=4)

    class Changed(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    with pytest.raises(StudyFault, match="the data changed since this study began"):
        run(home, Changed(), trials=8)


def test_data_that_changed_while_the_teacher_was_trained_is_refused(home):
    class Cut(Work):
        def _export(self, job):
            raise KeyboardInterrupt

    run(home, Cut())

    class Changed(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    with pytest.raises(StudyFault, match="the data changed since this study began"):
        run(home, Changed())
