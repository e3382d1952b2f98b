"""Trials are measured again, those that were unsteady or those that are named, and only them."""

from __future__ import annotations

import pytest
from away import IMPATIENT, N_TRIALS, Home_, Workshop

from search.errors import UsageFault
from storage.records import StudyState, TrialState
from workers.jobs import Measure
from workers.results import MeasureResult, Reading


class Shaky(Workshop):
    """Some trials cannot be measured in quiet on this machine."""

    def __init__(self, factor: float = 1.0, unsteady: bool = True) -> None:
        super().__init__()
        self.factor, self.unsteady = factor, unsteady

    def _measure(self, job: Measure) -> MeasureResult:
        done = super()._measure(job)
        readings = [r.model_copy(update={"value": r.value * self.factor}) for r in done.readings]
        shaken = self.unsteady and int(job.model.files["model.onnx"][:2], 16) % 2 == 0
        readings.append(Reading(metric="unsteady", value=float(shaken)))
        reasons = ("drift (+8% from the first third to the last)",) if shaken else ()
        return MeasureResult(readings=tuple(readings), unsteady=reasons)


def test_what_was_unsteady_is_measured_again_and_replaced(there: Home_) -> None:
    there.launch(Shaky())
    before = there.trials
    shaken = {t.number for t in before if t.metrics["unsteady"]}
    assert 0 < len(shaken) < N_TRIALS
    assert any("is unsteady: drift" in m for m in there.messages.said)

    again = Shaky(factor=10.0, unsteady=False)
    assert there.measure(again, unsteady=True) is StudyState.FINISHED
    assert set(again.stages) == {"prepare", "teacher_targets", "measure"}
    assert sum(isinstance(job, Measure) for job in again.jobs) == 2 * len(shaken)
    for old, new in zip(before, there.trials, strict=True):
        factor = 10.0 if new.number in shaken else 1.0
        assert new.state is TrialState.COMPLETE
        for name in ("latency_p95_ms", "latency_p95_ms@pi5"):
            assert new.metrics[name] == pytest.approx(factor * old.metrics[name])
        assert new.metrics["wer"] == old.metrics["wer"]
        assert new.metrics["unsteady"] == 0
        assert there.samples(new.number, "pi5", "latency_p95_ms") == [
            pytest.approx(new.metrics["latency_p95_ms@pi5"])
        ]
    steady = [t.metrics for t in there.trials]
    assert there.measure(Workshop(), unsteady=True) is StudyState.FINISHED
    assert [t.metrics for t in there.trials] == steady


def test_a_trial_that_is_named_is_measured_again_by_a_job_of_its_own(there: Home_) -> None:
    first = Workshop()
    there.launch(first)
    again = Workshop()
    there.measure(again, 2)
    jobs = [job for job in again.jobs if isinstance(job, Measure)]
    assert [job.target_name for job in jobs] == ["cpu", "pi5"]
    assert not {job.model_dump_json() for job in jobs} & {
        job.model_dump_json() for job in first.jobs
    }  # else an equal job's result would be found, and nothing measured


def test_measuring_again_on_a_device_that_is_away_keeps_the_old_figures(there: Home_) -> None:
    there.launch(Workshop(), IMPATIENT)
    before = there.trials
    there.measure(Workshop(away=1e9), 2)
    assert there.trials[2].metrics == before[2].metrics
    there.measure(Workshop())
    assert there.trials[2].state is TrialState.COMPLETE


@pytest.mark.parametrize("numbers", [(99,), (0, 7, 8)])
def test_only_a_measured_trial_is_measured_again(there: Home_, numbers: tuple[int, ...]) -> None:
    there.launch(Workshop())
    strangers = ", ".join(map(str, (n for n in numbers if n >= N_TRIALS)))
    with pytest.raises(UsageFault, match=f"^trial {strangers}: not measured yet, so there is"):
        there.measure(Workshop(), *numbers)
