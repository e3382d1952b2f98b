"""Recorded tables, and searches that replay on them in virtual time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from coordinated import Silent
from fakes import SPACE, Work, space

from search.cli.main import run
from search.clock import VirtualClock
from search.errors import UsageFault
from search.executors.inline import InlineExecutor
from search.home import Home
from search.replay.dev_view import TRUE_WER
from search.replay.growth import growth_of
from search.replay.lookup import Lookup
from search.replay.run import replay
from search.replay.table import RecordedTable, read_table, table_of, write_table
from search.study.launch import launch
from search.study.options import Options
from spaces.recipe import Quantize
from storage.records import StudyState, TrialState
from storage.store import Store
from workers.errors import WorkError
from workers.jobs import key_of
from workers.results import Reading

SECONDS = {"train": 60.0, "compress": 20.0, "export": 1.0, "score": 2.0, "measure": 3.0}


class Timed(InlineExecutor):
    """Does what `Work` does, in so many seconds of a clock of its own."""

    def __init__(self, work: Work) -> None:
        clock = VirtualClock()

        def perform(job):
            seconds = SECONDS.get(job.stage, 0.5)
            clock.sleep(seconds)
            return work(job).model_copy(update={"cpu_s": seconds})

        super().__init__(perform, clock)


@pytest.fixture
def recorded(tmp_path: Path):
    """Records a search of a space; its table, and the trials."""

    def record(text: str = SPACE, work: Work | None = None, **options: object):
        path = tmp_path / "fake.yaml"
        path.write_text(text)
        home = Home.at(tmp_path / "home")
        study, state = launch(str(path), home, Options(**options), Silent(), Timed(work or Work()))
        assert state is StudyState.FINISHED
        store = Store(home.store_url)
        try:
            return table_of(store, study), store.trials.of(study.id)
        finally:
            store.close()

    return record


def searching(text: str = SPACE, **search: object):
    made = space(text)
    return made.model_copy(update={"search": made.search.model_copy(update=search)})


def outcome(trials):
    return [(t.recipe_digest, t.state, dict(t.metrics)) for t in trials]


def test_a_search_replays_on_its_own_table_to_the_same_trials(recorded):
    table, trials = recorded(parallel=1)
    replayed = replay(table, searching(parallel=1))
    assert outcome(replayed.trials) == outcome(trials)
    assert replayed.nearest_share == 0
    assert replayed.study.state is StudyState.FINISHED


def test_time_passes_as_it_was_recorded_and_workers_share_it(recorded):
    table, _ = recorded(parallel=1)
    alone = replay(table, searching(parallel=1))
    assert alone.elapsed_s >= sum(t.compute_s for t in alone.trials)
    assert sum(t.compute_s for t in alone.trials) >= 14 * SECONDS["train"]
    eight = replay(table, searching(parallel=8))
    assert eight.elapsed_s < alone.elapsed_s / 3
    ends = [t.finished_at for t in alone.trials]
    assert ends == sorted(ends)


def test_a_recipe_that_was_not_recorded_is_answered_by_the_nearest_and_counted(recorded):
    table, _ = recorded(parallel=1)
    replayed = replay(table, searching(parallel=1, seed=99, trials=20))
    assert replayed.nearest_share > 0
    assert [t.reason for t in replayed.trials if not t.state.is_measured] == []
    known = {s.value("wer") for t in table.trials for s in t.results.scored.values()}
    assert {t.metrics["wer"] for t in replayed.trials} <= known


def test_a_network_in_another_format_costs_no_second_training(recorded):
    text = SPACE.replace("search: {", "search: {formats: all, ")
    table, _ = recorded(text, parallel=1)
    trials = replay(table, searching(text, parallel=1)).trials
    others = [t for t in trials if t.source == "format"]
    assert others
    assert all(t.compute_s < SECONDS["train"] for t in others)
    assert all(t.compute_s > SECONDS["train"] for t in trials if t.source == "sampler")


class SharedFloat32(Work):
    """As in a real export, a network has one float32 file, which is also its fp32 student."""

    def _export(self, job):
        made = super()._export(job)
        return made.model_copy(update={"float32": job.checkpoint, "model": _model_of(job)})


def _model_of(job):
    return job.checkpoint if job.quantize == Quantize() else key_of(job)


def test_formats_of_one_network_are_told_apart_although_they_share_a_float32_file(recorded):
    text = SPACE.replace("search: {", "search: {formats: all, ")
    table, trials = recorded(text, work=SharedFloat32(), parallel=1)
    assert outcome(replay(table, searching(text, parallel=1)).trials) == outcome(trials)
    fp32 = [t for t in trials if t.values["quantize.scheme"] == "fp32"]
    assert 0 < len(fp32) < len(trials)


def test_a_table_is_recorded_at_random_in_every_format_whatever_it_comes_to(recorded):
    text = SPACE + 'budgets: {size_mb: "<= 0.0001"}\n'
    _, trials = recorded(text, is_recording=True, parallel=1)
    assert [t.source for t in trials] == ["sampler", "format"] * 7
    assert all(t.state.is_measured for t in trials)


def test_a_table_is_read_as_it_was_written(recorded, tmp_path):
    table, _ = recorded(parallel=1)
    path = tmp_path / "table.parquet"
    write_table(table, path)
    found = read_table(path)
    assert found == table
    assert outcome(replay(found, searching()).trials) == outcome(replay(table, searching()).trials)


def _no_parquet(path: Path, _table: RecordedTable) -> None:
    path.write_text("trial,recipe\n")


def _another(path: Path, _table: RecordedTable) -> None:
    pd.DataFrame({"trial": [1]}).to_parquet(path)


def _future(path: Path, table: RecordedTable) -> None:
    origin = table.origin.model_copy(update={"version": 99})
    write_table(dataclasses.replace(table, origin=origin), path)


def _wrong_row(path: Path, table: RecordedTable) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_table(table, path)
    content = pq.read_table(path)
    results = content.column("result").to_pylist()
    results[3] = "{}"
    place = content.schema.get_field_index("result")
    pq.write_table(content.set_column(place, "result", pa.array(results)), path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (None, "table.parquet: no such file"),
        (_no_parquet, "table.parquet: not a recorded table"),
        (_another, "table.parquet: not a recorded table"),
        (_future, "table.parquet: format 99; this version reads 1"),
        (_wrong_row, "table.parquet: row 4: "),
    ],
)
def test_what_is_no_table_is_refused(recorded, tmp_path, write, said):
    table, _ = recorded(parallel=1, trials=2)
    path = tmp_path / "table.parquet"
    if write is not None:
        write(path, table)
    with pytest.raises(UsageFault, match=said):
        read_table(path)


def test_the_command_that_records_goes_on_and_writes_the_table_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("search.study.engine.LocalExecutor", lambda *_: Timed(Work()))
    space_path, out = tmp_path / "fake.yaml", tmp_path / "out.parquet"
    space_path.write_text(SPACE)
    command = ["--home", str(tmp_path / "home"), "record", str(space_path), str(out), "--plain"]
    command += ["--parallel", "1"]
    for trials in (2, 6):
        assert run([*command, "--trials", str(trials)]) == 0
        assert f"{trials // 2} networks, {trials} students" in capsys.readouterr().out
        assert len(read_table(out).trials) == trials


def _no_folder(tmp_path: Path) -> Path:
    return tmp_path / "gone" / "out.parquet"


def _somebody_elses(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text("audio,text\n")
    return path


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (_no_folder, "out.parquet: no such folder "),
        (
            _somebody_elses,
            "train.csv: not a recorded table (search record writes them); it would be",
        ),
    ],
)
def test_where_no_table_can_be_written_is_said_before_anything_is_trained(
    tmp_path, monkeypatch, capsys, place, said
):
    work = Work()
    monkeypatch.setattr("search.study.engine.LocalExecutor", lambda *_: Timed(work))
    space_path, out = tmp_path / "fake.yaml", place(tmp_path)
    space_path.write_text(SPACE)
    assert run(["--home", str(tmp_path / "home"), "record", str(space_path), str(out)]) == 2
    assert said in capsys.readouterr().err
    assert work.jobs == []
    assert not out.exists() or out.read_text() == "audio,text\n"


def test_a_lookup_is_shared_between_replays(recorded):
    table, _ = recorded(parallel=1)
    lookup = Lookup(table)
    first, second = (replay(table, searching(parallel=1), lookup) for _ in range(2))
    assert outcome(first.trials) == outcome(second.trials)
    assert first.elapsed_s == second.elapsed_s


# what a search sees of dev, and how its front grows


class Scored(Work):
    """Scores hold errors by utterance; the more a student errs, the more in all of them."""

    N_UTTERANCES = 200

    def _score(self, job):
        made = super()._score(job)
        rng = np.random.default_rng(int(job.model.files[job.model.main][:8], 16))
        errors = rng.poisson(3 * made.value("wer"), self.N_UTTERANCES)
        wer = float(errors.sum() / (5 * self.N_UTTERANCES))
        readings = (Reading(metric="wer", value=wer),)
        words = (5,) * self.N_UTTERANCES
        return made.model_copy(
            update={"readings": readings, "errors": tuple(errors.tolist()), "words": words}
        )


def test_a_search_may_see_part_of_dev_and_is_told_the_whole_beside_it(recorded):
    table, trials = recorded(work=Scored(), parallel=1)
    seen = range(0, Scored.N_UTTERANCES, 4)
    replayed = replay(table, searching(parallel=1, trials=6), Lookup(table, seen))
    whole = {t.recipe_digest: t.metrics["wer"] for t in trials}
    first = [t for t in replayed.trials if t.recipe_digest in whole]
    assert first
    for trial in first:
        assert trial.metrics[TRUE_WER] == whole[trial.recipe_digest]
        assert trial.metrics["wer"] != whole[trial.recipe_digest]
        assert sum(trial.error_groups) == pytest.approx(trial.metrics["wer"] * 5 * len(seen))


def test_a_table_without_errors_by_utterance_shows_no_part_of_dev(recorded):
    table, _ = recorded(parallel=1)
    with pytest.raises(WorkError, match="without word errors by utterance"):
        Lookup(table, [0, 1])


def test_the_front_grows_with_compute_and_is_judged_by_all_of_dev(recorded):
    table, _ = recorded(work=Scored(), parallel=1)
    space = searching(parallel=2)
    reference = {o: 1.0 if o == "wer" else 100.0 for o in space.objectives}
    whole = growth_of(replay(table, space, Lookup(table)), space, reference)
    assert (np.diff(whole.cpu_s) >= 0).all()
    assert (np.diff(whole.hypervolume) >= 0).all()
    assert whole.hypervolume[-1] > 0
    part = growth_of(replay(table, space, Lookup(table, range(20))), space, reference)
    assert part.hypervolume[-1] <= whole.hypervolume[-1]
    assert whole.at(whole.cpu_s[0] - 1) == 0
    assert whole.cpu_s_to(whole.hypervolume[-1]) <= whole.cpu_s[-1]
    assert whole.cpu_s_to(2.0) == float("inf")


def test_rungs_replay_as_they_were_recorded_and_cost_their_share(recorded):
    text = SPACE.replace("search: {", "search: {rungs: [0.3, 0.6], ")
    every, _ = recorded(text, is_recording=True, parallel=1, trials=60)
    replayed = replay(every, searching(text, parallel=1, trials=60))
    stopped = [t for t in replayed.trials if t.state is TrialState.STOPPED]
    complete = [t for t in replayed.trials if t.state is TrialState.COMPLETE and t.rungs]
    assert stopped
    assert complete
    assert max(t.compute_s for t in stopped) < SECONDS["train"]
    trained = [t for t in complete if t.compute_s >= SECONDS["train"]]
    assert all(t.compute_s < SECONDS["train"] + 40 for t in trained)
