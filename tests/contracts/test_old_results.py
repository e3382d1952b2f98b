"""What a stage of an earlier version gave back can be read, and a trial goes on from it."""

from __future__ import annotations

import pytest
from fakes import space
from old_results import TOLD
from old_rows import OLD_RUN, OLD_STUDY, RECIPES, A, B, C, written

from search.results import TrialResults
from search.study.measuring import Submit
from search.study.pipeline import next_trial_step
from search.study.settings import StudyContext, StudySettings
from spaces.recipe import Quantize
from workers.jobs import Export, Score
from workers.results import RESULT, ExportResult, ScreenResult, TrainResult


@pytest.mark.parametrize("told", TOLD)
def test_an_old_result_can_be_read(lasting_url: str, told: str) -> None:
    stage, old, new = TOLD[told]
    row = {**OLD_RUN, "stage": stage, "result": old, "trial_number": None}
    store = written(lasting_url, "0003", {"studies": [OLD_STUDY], "stage_runs": [row]})
    (run,) = store.stage_runs.of(1, None)
    assert RESULT.validate_python(run.result) == new
    assert run.stage == stage.replace("listen", "teacher_targets")
    store.close()


def test_an_export_of_the_first_version_is_made_again_where_a_trial_goes_on() -> None:
    _, _, old = TOLD["export of the first version"]
    assert isinstance(old, ExportResult)
    assert old.digests == (A, C)  # and can be shown and bundled as it is
    screen, train = ScreenResult(), TrainResult(checkpoint=B)
    settings = StudySettings(seed=1, threads=1, teacher_threads=1, host="", imported={})
    context = StudyContext(corpus="abc", soft_targets="t", teacher_texts=None, teacher_metrics={})
    results = TrialResults(screen=screen, train=train, export=old)
    step = next_trial_step(space(), settings, context, RECIPES[0], results)
    assert step == Submit(Export(checkpoint=B, quantize=Quantize(), corpus="abc"))
    made = old.model_copy(update={"float32": B})
    results = TrialResults(screen=screen, train=train, export=made)
    step = next_trial_step(space(), settings, context, RECIPES[0], results)
    assert isinstance(step, Submit)
    assert isinstance(step.job, Score)


def test_an_old_attempt_that_failed_has_its_error_and_no_result(lasting_url: str) -> None:
    row = {**OLD_RUN, "stage": "listen", "state": "failed", "error": "boom", "result": {}}
    store = written(lasting_url, "0001", {"studies": [OLD_STUDY], "stage_runs": [row]})
    (run,) = store.stage_runs.of(1)
    assert (run.stage, run.state, run.error, run.log) == (
        "teacher_targets",
        "failed",
        "boom",
        "größe\n",
    )
    assert run.result == {}
    store.close()
