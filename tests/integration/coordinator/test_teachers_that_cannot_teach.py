"""A teacher that the user brings and that gets nothing right is refused before trials begin."""

from __future__ import annotations

import pytest
from coordinated import Silent, run
from fakes import SPACE, Work

from search.errors import StudyFault
from storage.records import StudyState
from workers.results import Reading, TeacherTargetsResult

BROUGHT = SPACE.replace("teacher: {train: {}}", "teacher: {torchaudio: SOME_PIPELINE}")


class Teaching(Work):
    """Its teacher runs in torch only, so it is scored where it infers the training set."""

    def __init__(self, wer: float, used: int | None) -> None:
        super().__init__()
        self._wer, self._used = wer, used

    def _teacher_targets(self, job):
        return TeacherTargetsResult(
            soft_targets="teacher-1",
            target_kind="frames" if self._used is None else "transcripts",
            n_pseudo_labels=self._used,
            n_utterances=None if self._used is None else 60,
            readings=(Reading(metric="wer", value=self._wer),),
        )


@pytest.mark.parametrize(
    ("wer", "used", "reason"),
    [
        (5.01, None, "its WER on dev is 501.0%"),
        (5.01, 0, "its WER on dev is 501.0%"),
        (0.8, 0, "none of its transcripts is near"),
    ],
)
def test_a_teacher_that_gets_nothing_right_is_refused(home, wer, used, reason):
    work = Teaching(wer, used)
    with pytest.raises(StudyFault, match=f"teacher: cannot teach: {reason}; check") as caught:
        run(home, work, BROUGHT)
    assert caught.value.is_user_fault
    assert not any(job.stage == "screen" for job in work.jobs)


def test_a_teacher_that_is_bad_is_told_with_the_share_of_its_transcripts_that_is_used(home):
    view = Silent()
    state, *_ = run(home, Teaching(0.8, 7), BROUGHT, view=view, trials=1)
    assert state is StudyState.FINISHED
    told = "teacher ready: WER 80.0%, 7 of 60 of its transcripts are used"
    assert told in view.messages


def test_a_search_that_has_students_goes_on_with_the_teacher_it_has(home):
    run(home, Teaching(0.8, 7), BROUGHT, trials=1)
    state, trials, *_ = run(home, Teaching(5.01, 0), BROUGHT, trials=2)
    assert state is StudyState.FINISHED
    assert len(trials) == 2
