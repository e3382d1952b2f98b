"""The commands of the README on a finished search, each in a process of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shell import TINY_SPACE, command

from search.errors import UsageFault
from search.study.imports import baseline_figures
from spaces.recipe import Recipe
from storage.artifacts import file_digest
from storage.store import Store


@pytest.fixture(scope="module")
def call(finished, cli):
    def run(*arguments, code=0):
        done = cli("--home", finished, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def recording(finished):
    """One dev utterance of the search."""
    return next((finished / "cache" / "synthetic").glob("*/dev-00000.flac"))


def test_status_tells_how_the_study_ended(call):
    assert "tiny: finished, 6/6 trials (6 complete)" in call("status")
    (row,) = json.loads(call("status", "--json"))
    assert row["by_state"] == {"complete": 6}
    assert 0 < row["teacher"]["wer"] < 2


def test_front_is_a_table_and_the_same_as_csv_and_json(call):
    rows = list(csv.DictReader(io.StringIO(call("front", "--csv"))))
    listed = json.loads(call("front", "tiny", "--json"))
    table = call("front")
    assert [int(r["trial"]) for r in rows] == [t["trial"] for t in listed]
    assert "teacher" in table
    assert "hypervolume" in table
    for trial in listed:
        Recipe.model_validate(trial["recipe"])
        assert f"{trial['metrics']['wer']:.1%}" in table
    for a in listed:  # nothing on the front beats another
        for b in listed:
            names = ("wer", "latency_p95_ms", "size_mb")
            better = [a["metrics"][n] < b["metrics"][n] for n in names]
            worse = [a["metrics"][n] > b["metrics"][n] for n in names]
            assert a is b or any(worse) or not any(better)


def test_front_can_be_filtered_and_all_trials_listed(call):
    everything = json.loads(call("front", "--all", "--json"))
    assert len(everything) == 6
    sizes = sorted(t["metrics"]["size_mb"] for t in everything)
    some = json.loads(call("front", "--all", "--json", "--where", f"size_mb<={sizes[2]}"))
    assert len(some) == 3


@pytest.mark.parametrize(("name", "head"), [("f.html", b"<!doctype html>"), ("f.png", b"\x89PNG")])
def test_front_is_drawn(call, tmp_path, name, head):
    call("front", "--plot", tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(head)
    assert b"<script src" not in content  # opens without a network


def test_show_tells_recipe_stages_and_figures(call):
    said = call("show", 0)
    for word in ("separable_conv", "screen", "train", "measure", "latency_p95_ms", "95 %"):
        assert word in said
    content = json.loads(call("show", 0, "--json"))
    assert {s["stage"] for s in content["stages"]} >= {"screen", "train", "export", "measure@cpu"}


def test_show_tells_what_was_fused_and_where_the_time_goes(call):
    said = call("show", 0, "--graph")
    assert re.search(r"^ONNX Runtime \S+: \d+ operators as written, \d+ as run$", said, re.M)
    assert re.search(r"^ +\d+ × \w+: .+ \((fused|written so)\)$", said, re.M)
    assert "cpu: time by operator" in said and "█" in said
    graph = json.loads(call("show", 0, "--graph", "--json"))["graph"]
    assert sum(graph["run"].values()) < sum(graph["written"].values())


def test_a_bundle_is_the_same_as_folder_and_as_zip_and_transcribes(call, tmp_path, recording):
    call("export", "--trial", 3, tmp_path / "student")
    call("export", "--trial", 3, tmp_path / "student.zip")
    call("export", "--trial", 3, tmp_path / "again.zip")
    assert (tmp_path / "student.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "student.zip") as archive:
        zipped = {n: archive.read(n) for n in archive.namelist()}
    folder = {p.name: p.read_bytes() for p in (tmp_path / "student").iterdir()}
    assert folder == zipped
    assert set(folder) >= {"model.onnx", "tokens.txt", "recipe.json", "measurements.json"}
    assert set(folder) >= {"CARD.md", "LICENSE-NOTICE.txt", "bundle.json", "features.json"}
    from_folder = call("transcribe", tmp_path / "student", recording)
    assert call("transcribe", tmp_path / "student.zip", recording) == from_folder


def test_what_the_front_says_to_ship_is_what_is_exported(call, tmp_path):
    ship = re.search(r"(?:Ship|none of these:) trial (\d+)", call("front"))
    assert f"trial {ship[1]} of tiny: wrote" in call("export", "--ship", tmp_path / "ship.zip")
    assert json.loads(call("pick", "tiny", "--json"))["ship"] == int(ship[1])


def test_what_the_store_says_was_measured_on_the_file_that_ships(call, finished, tmp_path):
    call("export", "--best", "wer", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "bundle.json").read_text())
    trial = json.loads(call("show", manifest["trial"], "--json"))
    assert trial["metrics"]["size_mb"] == (tmp_path / "b" / "model.onnx").stat().st_size / 1e6
    audio, texts = [], []
    for folder in (finished / "cache" / "synthetic").iterdir():
        for line in (folder / "dev.jsonl").read_text().splitlines():
            audio.append(folder / json.loads(line)["audio_filepath"])
            texts.append(json.loads(line)["text"])
    lines = call("transcribe", "--json", tmp_path / "b", *audio).splitlines()
    import jiwer

    written = [json.loads(line)["text"] for line in lines]
    assert jiwer.wer(texts, written) == pytest.approx(trial["metrics"]["wer"])


def test_transcribe_takes_other_rates_and_channels(call, tmp_path, recording):
    call("export", "--trial", 0, tmp_path / "b")
    samples, rate = soundfile.read(recording)
    import soxr

    stereo = np.stack([soxr.resample(samples, rate, 44_100)] * 2, axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 44_100)
    assert call("transcribe", tmp_path / "b", tmp_path / "stereo.wav").endswith("\n")


@pytest.mark.parametrize("more", [(), ("--minimal",), ("--minimal", "--like", "quickstart")])
def test_init_writes_a_space_that_validates_and_names_its_schema(call, tmp_path, more):
    call("init", *more, tmp_path / "mine.yaml")
    said = call("validate", "--quick", tmp_path / "mine.yaml")
    assert "no faults" in said
    written = (tmp_path / "mine.yaml").read_text()
    assert "name: mine\n" in written
    assert written.count("yaml-language-server") == 1
    schema = written.splitlines()[0].partition("$schema=")[2]
    assert Path(schema).read_text() == call("schema")
    assert len(written.splitlines()) == 7 or not more


def test_validate_tells_size_data_budgets_and_cost(cli, tmp_path):
    path, home = tmp_path / "v.yaml", tmp_path / "home"  # its corpus is not that of the search
    path.write_text(TINY_SPACE + 'budgets: {size_mb: "<= 15"}\n')
    said = cli("--home", home, "validate", path).stdout
    for words in (
        "recipes",
        "train: 60 utterances",
        "tokens:",
        "smallest separable_conv",
        "largest recurrent",
        "within the budgets",
        "CPU s",
    ):
        assert words in said
    path.write_text(TINY_SPACE + 'budgets: {size_mb: "<= 0.001"}\n')
    done = cli("--home", home, "validate", path)
    assert done.returncode == 2
    assert "IMPOSSIBLE" in done.stdout


def test_doctor_finds_everything(call):
    said = call("doctor")
    assert "all well" in said
    assert "FAIL" not in said


def test_a_study_is_extended_and_the_same_command_runs_the_rest(finished, cli, tmp_path):
    import shutil

    home = tmp_path / "home"
    shutil.copytree(finished, home)
    space = tmp_path / "tiny.yaml"
    space.write_text(TINY_SPACE)
    assert cli("--home", home, "extend", "tiny", "--trials", 1).returncode == 0
    done = cli("--home", home, "launch", "--space", space, "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["message"] == 'study "tiny" continues'
    assert {e["trial"] for e in events if e["kind"] == "trial"} == {6}


def test_ctrl_c_stops_and_says_how_to_continue(tmp_path, tiny_space):
    process = subprocess.Popen(
        command("--home", tmp_path, "launch", "--space", tiny_space),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if "study: prepare" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "To continue: search launch --space" in said
    assert "Traceback" not in said
    store = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert store.studies.get("tiny").state == "stopped"


def test_what_a_baseline_bundle_says_of_itself_becomes_a_reference_mark(call, tmp_path, make_space):
    call("export", "--trial", 3, tmp_path / "old.zip")
    metrics = json.loads(call("show", 3, "--json"))["metrics"]
    space = make_space(gate={"regression": {"against": str(tmp_path / "old.zip")}})
    figures = baseline_figures(space)
    for metric in ("wer", "size_mb", "latency_p95_ms"):
        assert figures[metric] == pytest.approx(metrics[metric])
        assert figures[f"{metric}@cpu"] == pytest.approx(metrics[f"{metric}@cpu"])
    assert baseline_figures(make_space()) == {}


@pytest.mark.parametrize("content", ["[]", "{}", '{"student": [{"target": "cpu"}]}', "no JSON"])
def test_a_baseline_whose_measurements_cannot_be_read_is_refused(
    call, tmp_path, make_space, content
):
    folder = tmp_path / "old"
    call("export", "--trial", 3, folder)
    (folder / "measurements.json").write_text(content)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["measurements.json"] = file_digest(folder / "measurements.json")
    (folder / "bundle.json").write_text(json.dumps(manifest))
    space = make_space(gate={"regression": {"against": str(folder)}})
    with pytest.raises(UsageFault, match=r"measurements\.json cannot be read; export it again"):
        baseline_figures(space)


def test_steering_a_study_that_does_not_run_says_so(call, cli, finished):
    done = cli("--home", finished, "pause", "tiny")
    assert done.returncode == 2
    assert 'study "tiny" is finished, not running' in done.stderr


def test_a_search_keeps_its_record_in_postgresql_as_well(tmp_path, cli, tiny_space, postgresql):
    place = (
        "--home",
        tmp_path / "home",
        "--store",
        f"postgresql://postgres@/postgres?host={postgresql}",
    )
    done = cli(*place, "launch", "--space", tiny_space, "--trials", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny: finished, 2/2 trials" in cli(*place, "status").stdout
