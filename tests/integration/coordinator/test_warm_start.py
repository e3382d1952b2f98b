"""A study that names earlier ones begins with what they know, and remembers their trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from away import PACE, View
from fakes import SPACE, Work

from search.errors import UsageFault
from search.executors.inline import InlineExecutor
from search.home import Home
from search.study.launch import launch
from search.study.options import Options
from storage.records import Study, Trial
from storage.store import Store

N_EARLIER, N_TRIALS = 14, 10
LATER = SPACE.replace("trials: 14", f"trials: {N_TRIALS}, warm_start: [first]")


def _launch(home: Home, name: str, text: str = SPACE, work: Work | None = None, **options) -> View:
    path = home.folder.parent / "fake.yaml"
    path.write_text(text)
    view, executor = View(), InlineExecutor(work or Work())
    launch(str(path), home, Options(study=name, **options), view, executor, PACE)
    return view


def _study(home: Home, name: str) -> tuple[Study, list[Trial]]:
    store = Store(home.store_url)
    study = store.studies.get(name)
    trials = store.trials.of(study.id)
    store.close()
    return study, trials


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    _launch(home, "first")
    return home


def test_the_front_comes_first_and_nothing_is_counted_as_its_own(home: Home) -> None:
    view = _launch(home, "second", LATER)
    study, trials = _study(home, "second")
    assert study.warm_start == {"first": list(range(N_EARLIER))}
    assert len(trials) == N_TRIALS
    sources = [t.source for t in trials]
    assert sources[0] == "warm_start"
    assert set(sources[:6]) <= {"warm_start", "initial_design"}
    _, earlier = _study(home, "first")
    digests = {t.recipe_digest for t in earlier}
    assert {t.recipe_digest for t in trials if t.source == "warm_start"} <= digests
    assert f"learns from {N_EARLIER} trials of first (as they are)" in view.said


def test_other_data_are_learnt_from_by_rank(home: Home) -> None:
    class OtherData(Work):
        def _prepare(self, job):
            return super()._prepare(job).model_copy(update={"corpus": "corpus-2"})

    view = _launch(home, "second", LATER, OtherData())
    said = f"learns from {N_EARLIER} trials of first (by rank: data or targets are others)"
    assert said in view.said
    assert len(_study(home, "second")[1]) == N_TRIALS


def test_what_it_learns_from_stays_when_the_earlier_study_goes_on(home: Home) -> None:
    class Dies(Work):
        def _measure(self, job):
            if sum(j.stage == "measure" for j in self.jobs) == 5:
                raise KeyboardInterrupt
            return super()._measure(job)

    _launch(home, "whole", LATER, parallel=1)
    _launch(home, "parts", LATER, Dies(), parallel=1)
    assert len(_study(home, "parts")[1]) < N_TRIALS
    _launch(home, "first", trials=N_EARLIER + 4)
    _launch(home, "parts", LATER, parallel=1)
    whole, parts = (_study(home, name)[1] for name in ("whole", "parts"))
    assert [t.recipe_digest for t in parts] == [t.recipe_digest for t in whole]
    assert [t.values for t in parts] == [t.values for t in whole]
    _launch(home, "new", LATER)
    assert _study(home, "new")[0].warm_start == {"first": list(range(N_EARLIER + 4))}


def test_a_space_that_allows_none_of_their_recipes_begins_by_itself(home: Home) -> None:
    text = LATER.replace("channels: {int: [32, 256], step: 8}", "channels: [33, 35]")
    text = text.replace("channels: {int: [32, 128], step: 8}", "channels: [33, 35]")
    _launch(
        home,
        "second",
        text.replace("conformer:", "recurrent:").replace(
            "blocks: {int: [2, 6]}", "cell: [gru, lstm]"
        ),
    )
    sources = [t.source for t in _study(home, "second")[1]]
    assert sources[0] == "initial_design"
    assert "warm_start" not in sources


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LATER.replace("[first]", "[nobody]"), 'no study "nobody" in this store; it holds: first'),
        (LATER.replace("[first]", "[second]"), "second is this study"),
        (
            LATER.partition("students:")[0]
            + "students: {recurrent: {hidden: [16, 24]}}\nsearch: {warm_start: first}\n",
            "first has students of separable_conv, conformer, this space of recurrent",
        ),
        (
            LATER + "objectives: [wer, peak_memory_mb]\n",
            "first has no trial of these families with figures of all of wer, peak_memory_mb",
        ),
    ],
)
def test_what_has_nothing_in_common_is_refused_before_anything_is_written(
    home: Home, text: str, said: str
) -> None:
    with pytest.raises(UsageFault) as caught:
        _launch(home, "second", text)
    assert str(caught.value).startswith("search.warm_start: ")
    assert said in str(caught.value)
    store = Store(home.store_url)
    assert [s.name for s in store.studies.all()] == ["first"]
    store.close()


def test_a_study_without_a_measured_trial_teaches_nothing(home: Home) -> None:
    class Fails(Work):
        def _train(self, job):
            if job.soft_targets is None and job.distil.weight == 0 and not self._has_teacher():
                return super()._train(job)
            raise RuntimeError("no")

        def _has_teacher(self):
            return any(j.stage == "teacher_targets" for j in self.jobs)

    _launch(home, "failed", SPACE, Fails())
    assert not any(t.state.is_measured for t in _study(home, "failed")[1])
    with pytest.raises(UsageFault, match="failed has no measured trial to learn from"):
        _launch(home, "second", LATER.replace("[first]", "[failed]"))
