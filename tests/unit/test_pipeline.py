"""Which stage is next and what its readings are called, where targets have own runtimes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from fakes import Work

from search.errors import UsageFault
from search.results import TrialResults, model_of, readings_of
from search.strategy.weight_sharing import training_of_slice
from search.study.pipeline import (
    Complete,
    Step,
    Submit,
    Wait,
    next_study_step,
    next_trial_step,
    study_context,
)
from search.study.settings import StudySettings
from spaces.families import DsconvLstm, SeparableConv
from spaces.recipe import PARTS, Distil, Prune, Quantize, Recipe
from spaces.space import Space
from storage.records import StageRun
from workers.jobs import Convert, Job, Measure, Score, key_of, name_of

Make = Callable[..., Space]
SETTINGS = StudySettings(seed=0, threads=1, teacher_threads=1, host="here", imported={})
PLAIN = Recipe(student=SeparableConv(channels=32), distil=Distil(weight=0.0))
BF16 = {"precision": "bf16"}
PI5 = {"agent": "https://pi5:8765", "token_env": "SEARCH_PI5"}


def _all(scheme: str) -> Quantize:
    return Quantize.model_validate(dict.fromkeys(PARTS, scheme))


def _work_through(
    ask: Callable[[TrialResults], Step], unavailable_targets: Collection[str]
) -> tuple[list[Job], TrialResults]:
    """Every job that is asked for until nothing is left but to wait for what cannot be asked."""
    work, results = Work(), TrialResults()
    while isinstance(step := ask(results), Submit):
        assert name_of(step.job) not in names(work.jobs)
        results = results.having(name_of(step.job), work(step.job))
    assert step == (Wait(tuple(unavailable_targets)) if unavailable_targets else Complete())
    return work.jobs, results


def of_study(
    space: Space,
    settings: StudySettings = SETTINGS,
    unavailable_targets: Collection[str] = (),
    shared: Collection[str] = (),
) -> tuple[list[Job], TrialResults]:
    return _work_through(
        lambda results: next_study_step(space, settings, results, unavailable_targets, shared),
        unavailable_targets,
    )


def of_trial(
    space: Space,
    recipe: Recipe = PLAIN,
    settings: StudySettings = SETTINGS,
    unavailable_targets: Collection[str] = (),
    shared: Collection[str] = (),
) -> tuple[list[Job], TrialResults]:
    context = study_context(space, settings, of_study(space, settings, shared=shared)[1])
    return _work_through(
        lambda results: next_trial_step(
            space, settings, context, recipe, results, unavailable_targets
        ),
        unavailable_targets,
    )


def replace_recipe(**sections: Any) -> Recipe:
    return PLAIN.model_copy(update=sections)


def names(jobs: list[Job]) -> list[str]:
    return [name_of(job) for job in jobs]


def recorded_runs(jobs: list[Job]) -> list[StageRun]:
    """What the store holds of these jobs."""
    work = Work()
    return [
        StageRun(
            id=i,
            study_id=1,
            trial_number=0,
            stage=name_of(job),
            key=key_of(job),
            attempt=1,
            state="done",
            started_at=0.0,
            duration_s=1.0,
            result=work(job).model_dump(mode="json"),
        )
        for i, job in enumerate(jobs)
    ]


def one(jobs: list[Job], name: str) -> Any:
    (job,) = (job for job in jobs if name_of(job) == name)
    return job


# stages


def test_a_target_of_onnx_runtime_is_scored_and_measured_with_the_exported_file(
    make_space: Make,
) -> None:
    jobs, results = of_trial(make_space(), replace_recipe(prune=Prune(ratio=0.4)))
    stages = ["screen", "train", "compress", "export", "score@cpu", "measure@cpu"]
    assert names(jobs) == stages
    assert results.export is not None
    for job in (one(jobs, "score@cpu"), one(jobs, "measure@cpu")):
        assert job.model.files == {"model.onnx": results.export.model}


def test_runtimes_are_converted_once_scored_once_and_measured_on_each_target(
    make_space: Make,
) -> None:
    ov = {"backend": "openvino"}
    space = make_space(
        targets={"ov": ov, "cpu": {}, "ov4": {**ov, "threads": 4}, "fast": {**ov, **BF16}, "b": {}}
    )
    jobs, _ = of_trial(space, replace_recipe(quantize=_all("int8")))
    assert names(jobs) == [
        *("screen", "train", "export"),
        *("score@cpu", "measure@cpu", "measure@b"),
        *("convert@openvino", "score@ov", "measure@ov", "measure@ov4"),
        *("score@fast", "measure@fast"),
    ]
    assert one(jobs, "score@fast").precision == "bf16"


def test_without_a_target_of_onnx_runtime_students_are_scored_there_to_be_compared_with(
    make_space: Make,
) -> None:
    jobs, results = of_trial(make_space(targets={"ov": {"backend": "openvino"}}))
    assert names(jobs)[3:] == ["score@=onnx", "convert@openvino", "score@ov", "measure@ov"]
    scored = results.score("=onnx")
    assert scored is not None
    assert one(jobs, "score@ov").onnx_texts == scored.texts
    assert one(jobs, "score@=onnx").onnx_texts is None


@pytest.mark.parametrize(
    ("scheme", "precision", "same"),
    [("fp32", "fp32", True), ("fp16", "fp32", False), ("fp32", "bf16", False)],
)
def test_only_float32_must_write_the_same_texts(
    make_space: Make, scheme: str, precision: str, same: bool
) -> None:
    space = make_space(targets={"ov": {"backend": "openvino", "precision": precision}})
    jobs, _ = of_trial(space, replace_recipe(quantize=_all(scheme)))
    assert one(jobs, "score@ov").same_numbers is same


def test_another_runtime_starts_from_the_float32_file_and_the_network(make_space: Make) -> None:
    space = make_space(
        targets={"cpu": {}, "ov": {"backend": "openvino"}}, gate={"long_audio": True}
    )
    recipe = replace_recipe(quantize=_all("int8"), prune=Prune(ratio=0.4))
    jobs, results = of_trial(space, recipe)
    convert = one(jobs, "convert@openvino")
    assert results.export is not None and results.compress is not None
    assert convert.onnx == results.export.float32
    assert convert.network == results.compress.checkpoint
    assert convert.quantize == recipe.quantize
    assert convert.long_audio
    assert all(job.long_audio for job in jobs if isinstance(job, Score | Convert))


def test_a_target_that_is_put_off_is_left_for_later_and_nothing_else(make_space: Make) -> None:
    space = make_space(targets={"pi5": PI5, "cpu": {}, "ov": {"backend": "openvino"}})
    jobs, results = of_trial(space, unavailable_targets=("pi5",))
    assert names(jobs)[-4:] == ["measure@cpu", "convert@openvino", "score@ov", "measure@ov"]
    context = study_context(space, SETTINGS, of_study(space)[1])
    step = next_trial_step(space, SETTINGS, context, PLAIN, results, ("pi5",))
    assert step == Wait(("pi5",))
    left = next_trial_step(space, SETTINGS, context, PLAIN, results)
    assert isinstance(left, Submit)
    assert name_of(left.job) == "measure@pi5"
    measured = results.having("measure@pi5", results.measured["cpu"])
    assert next_trial_step(space, SETTINGS, context, PLAIN, measured, ("pi5",)) == Complete()


def test_what_a_device_writes_is_compared_with_what_was_written_here(make_space: Make) -> None:
    jobs, results = of_trial(make_space(targets={"cpu": {}, "pi5": PI5}))
    there, here = one(jobs, "measure@pi5"), one(jobs, "measure@cpu")
    scored = results.score("cpu")
    assert scored is not None
    assert (there.texts, here.texts) == (scored.texts, None)
    assert (there.host, here.host) == ("", "here")  # which machine it is there nobody knows
    assert (there.reusable, here.reusable) == (False, True)


def test_a_calibrated_target_is_told_its_anchor(make_space: Make) -> None:
    settings = replace(SETTINGS, anchors_ms={"pi5": 1.5})
    jobs, _ = of_trial(make_space(targets={"cpu": {}, "pi5": PI5}), settings=settings)
    anchors = [j.calibrated_anchor_ms for j in jobs if isinstance(j, Measure)]
    assert anchors == [None, 1.5]


def test_a_baseline_is_run_in_turn_where_onnx_runtime_has_an_anchor(make_space: Make) -> None:
    space = make_space(
        targets={"cpu": {}, "pi5": PI5, "ov": {"backend": "openvino"}, "phone": {"adb": "R58M"}},
        gate={"regression": {"against": "old"}},
    )
    imported = {"baseline": "b" * 64, "baseline_tokens": "t" * 64}
    settings = replace(SETTINGS, imported=imported)
    jobs, _ = of_trial(space, settings=settings)
    with_it = [j.target_name for j in jobs if isinstance(j, Measure) and j.baseline]
    assert with_it == ["cpu", "pi5"]
    assert one(jobs, "measure@cpu").baseline_tokens == "t" * 64
    assert not [j for j in of_study(space, settings)[0] if isinstance(j, Measure) and j.baseline]


def test_a_teacher_is_not_prepared_for_runtimes_that_take_minutes_for_it(
    make_space: Make,
) -> None:
    targets = {b: {"backend": b} for b in ("litert", "openvino", "ncnn", "executorch")}
    space = make_space(targets={**targets, "cpu": {}})
    stages = ["prepare", "train", "export", "score@cpu", "measure@cpu"]
    stages += ["convert@openvino", "score@openvino", "measure@openvino", "teacher_targets"]
    assert names(of_study(space)[0]) == stages


def test_a_teacher_gives_its_targets_while_a_device_is_away(make_space: Make) -> None:
    space = make_space(targets={"pi5": PI5})
    jobs, results = of_study(space, unavailable_targets=("pi5",))
    assert names(jobs)[-2:] == ["score@pi5", "teacher_targets"]
    left = next_study_step(space, SETTINGS, results)
    assert isinstance(left, Submit)
    assert name_of(left.job) == "measure@pi5"


# weight sharing


def test_supernets_follow_the_teacher_and_learn_from_it(make_space: Make) -> None:
    space = make_space(students={"separable_conv": {"blocks": [2, 4]}, "dsconv_lstm": {}})
    settings = replace(SETTINGS, teacher_threads=3)
    jobs, results = of_study(space, settings, shared=("separable_conv", "dsconv_lstm"))
    stages = ["teacher_targets", "supernet@separable_conv", "supernet@dsconv_lstm"]
    assert names(jobs)[-3:] == stages
    assert results.teacher_targets is not None
    for name in stages[1:]:
        assert one(jobs, name).soft_targets == results.teacher_targets.soft_targets
        assert one(jobs, name).threads == 3
    assert TrialResults.of(recorded_runs(jobs)) == results
    unfollowed = make_space(distil={"weight": 0.0})
    jobs, _ = of_study(unfollowed, shared=("separable_conv",))
    assert one(jobs, "supernet@separable_conv").soft_targets is None


def test_students_of_a_family_with_a_supernet_begin_as_its_slices_and_pause_at_no_rung(
    make_space: Make,
) -> None:
    space = make_space(
        students={"separable_conv": {"blocks": [2, 4]}, "dsconv_lstm": {}},
        search={"weight_sharing": "on", "rungs": [0.5]},
    )
    supernet = one(of_study(space, shared=("separable_conv",))[0], "supernet@separable_conv")
    train = one(of_trial(space, shared=("separable_conv",))[0], "train")
    assert train.start == Work()(supernet).checkpoint
    assert train.training == training_of_slice(space, PLAIN.training)
    assert (train.rungs, train.until) == ((), None)
    other = replace_recipe(student=DsconvLstm())
    whole = one(of_trial(space, other, shared=("separable_conv",))[0], "train")
    assert (whole.start, whole.training) == (None, other.training)
    assert whole.rungs == (0.5,)


# readings


def test_what_a_runtime_scored_holds_for_each_of_its_targets(make_space: Make) -> None:
    ov = {"backend": "openvino"}
    space = make_space(targets={"cpu": {}, "pi5": PI5, "ov": ov, "ov4": {**ov, "threads": 4}})
    _, results = of_trial(space)
    found = {(r.metric, r.target): r.value for r in readings_of(space, results)}
    targets = ("cpu", "pi5", "ov", "ov4")
    for metric in ("wer", "size_mb", "latency_p95_ms"):
        assert {t for m, t in found if m == metric} == set(targets)
    assert {t for m, t in found if m == "macs"} == {""}
    for metric in ("wer", "size_mb"):
        assert found[metric, "cpu"] == found[metric, "pi5"] != found[metric, "ov"]
        assert found[metric, "ov"] == found[metric, "ov4"]


@pytest.mark.parametrize("first", ["cpu", "ov"])
def test_a_plain_name_is_a_figure_of_the_first_target(make_space: Make, first: str) -> None:
    targets = {"cpu": {}, "ov": {"backend": "openvino"}}
    order = sorted(targets, key=lambda name: name != first)
    space = make_space(targets={name: targets[name] for name in order})
    context = study_context(space, SETTINGS, of_study(space)[1])
    for metric in ("wer", "size_mb", "latency_p95_ms"):
        assert context.teacher_metrics[metric] == context.teacher_metrics[f"{metric}@{first}"]


def test_a_teacher_that_the_first_target_is_too_slow_for_has_the_errors_of_onnx_runtime(
    make_space: Make,
) -> None:
    space = make_space(targets={"tfl": {"backend": "litert"}, "cpu": {}})
    teacher = study_context(space, SETTINGS, of_study(space)[1]).teacher_metrics
    assert teacher["wer"] == teacher["wer@cpu"]
    assert teacher["size_mb"] == teacher["size_mb@cpu"]
    assert "wer@tfl" not in teacher
    assert "latency_p95_ms" not in teacher  # times of another runtime stand for nothing
    alone = make_space(targets={"tfl": {"backend": "litert"}})
    assert "wer" in study_context(alone, SETTINGS, of_study(alone)[1]).teacher_metrics


@pytest.mark.parametrize("first", ["cpu", "ov"])
def test_a_teacher_brought_as_onnx_has_its_size_where_a_student_has_one(
    make_space: Make, first: str
) -> None:
    targets = {"cpu": {}, "cpu4": {"threads": 4}, "ov": {"backend": "openvino"}}
    order = sorted(targets, key=lambda name: name != first)
    brought = {"onnx": "teacher.onnx", "tokens": "tokens.txt"}
    space = make_space(teacher=brought, targets={name: targets[name] for name in order})
    imported = {"model": "e" * 64, "tokens": "f" * 64}
    settings = replace(SETTINGS, imported=imported, teacher_size_mb=123.4)
    metrics = study_context(space, settings, of_study(space, settings)[1]).teacher_metrics
    assert metrics["size_mb@cpu"] == metrics["size_mb@cpu4"] == 123.4 != metrics["size_mb@ov"]
    assert metrics["size_mb"] == metrics[f"size_mb@{first}"]


# models


def test_the_model_that_was_measured_is_found_again(make_space: Make) -> None:
    space = make_space(targets={"cpu": {}, "ov": {"backend": "openvino"}})
    jobs, results = of_trial(space)
    recorded = TrialResults.of(recorded_runs(jobs))
    assert recorded == results
    for name in ("cpu", "ov"):
        model, tokens = model_of(space, name, recorded)
        assert model == one(jobs, f"measure@{name}").model
        assert tokens == "t"
    with pytest.raises(UsageFault, match="it was never converted for openvino"):
        model_of(space, "ov", replace(recorded, converted={}))
    with pytest.raises(UsageFault, match="it has no exported file"):
        model_of(space, "cpu", TrialResults())
