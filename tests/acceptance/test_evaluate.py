"""`search evaluate` scores bundles on transcribed audio, whole and by group, and pairs them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import pytest
import soundfile
from bundles import write_bundle, write_tokens
from folders import AN4
from lists import noise

from search.cli.main import run
from workers.data.audio import read_audio
from workers.errors import WorkError
from workers.recognizer import Recognizer, open_bundle

SPEAKERS = ("ann", "bob", "eve")
TEXTS = ("ab ba", "b a b", "a", "ba ba ab")

Evaluated = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return write_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def other(folder: Path) -> Path:
    """The same network writing other symbols, as a zip."""
    made = write_bundle(folder / "other", manifest="{}")
    write_tokens(made / "tokens.txt", "<blk>", "▁b", "a")
    path = folder / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in made.iterdir():
            archive.write(file, file.name)
    return path


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    """Twelve utterances of three speakers, from half a second to three."""
    found = []
    for i in range(12):
        soundfile.write(folder / f"{i}.wav", noise(0.5 + 0.25 * i, seed=i), 16_000)
        text = TEXTS[i % len(TEXTS)].upper() + "."
        found.append({"audio_filepath": f"{i}.wav", "text": text, "speaker": SPEAKERS[i % 3]})
    return found


@pytest.fixture(scope="module")
def jsonl(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "all.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def evaluated(capsys: pytest.CaptureFixture[str]) -> Evaluated:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["evaluate", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_the_figures_are_those_of_what_the_bundle_writes(
    evaluated: Evaluated, bundle: Path, jsonl: Path, rows: list[dict[str, Any]]
) -> None:
    code, out, _ = evaluated(bundle, jsonl, "--remove-punctuation", "--json", "--worst", 2)
    assert code == 0
    recognizer = open_bundle(bundle)
    audio = [read_audio(jsonl.parent / row["audio_filepath"]) for row in rows]
    written = [recognizer.transcribe(samples) for samples in audio]
    recognizer.session.close()
    said = [row["text"].lower().rstrip(".") for row in rows]
    words, found = jiwer.process_words(said, written), json.loads(out)
    (of_bundle,) = found["bundles"]
    assert of_bundle["wer"]["value"] == pytest.approx(words.wer)
    assert of_bundle["wer"]["low"] <= words.wer <= of_bundle["wer"]["high"]
    assert of_bundle["cer"]["value"] == pytest.approx(jiwer.cer(said, written))
    for kind in ("substitutions", "deletions", "insertions"):
        assert of_bundle[kind] == getattr(words, kind)
    assert (found["n_utterances"], found["n_words"]) == (12, sum(len(s.split()) for s in said))
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for group in of_bundle["groups"]:
        by_kind.setdefault(group["kind"], []).append(group)
    assert {kind: len(groups) for kind, groups in by_kind.items()} == {"duration": 2, "speaker": 3}
    for groups in by_kind.values():
        assert sum(g["n_utterances"] for g in groups) == 12
        assert sum(g["n_words"] for g in groups) == found["n_words"]
    assert all(g["is_too_few_for_an_interval"] for g in by_kind["speaker"])  # four each
    assert all(g["wer"]["low"] is None for g in by_kind["speaker"])
    assert len(of_bundle["worst"]) == 2


def test_every_utterance_is_a_row_of_the_csv_and_capitals_and_marks_count_where_asked(
    evaluated: Evaluated, bundle: Path, jsonl: Path, tmp_path: Path
) -> None:
    path = tmp_path / "errors.csv"
    code, out, _ = evaluated(bundle, jsonl, "--keep-case", "--csv", path)
    assert code == 0
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 12
    assert table[0]["reference"] == "AB BA."
    assert table[0]["audio"] == str(jsonl.parent / "0.wav")
    assert [row["speaker"] for row in table[:3]] == list(SPEAKERS)
    assert table[2]["duration_s"] == "1.0"
    for row in table:
        aligned = jiwer.process_words(row["reference"], row["hypothesis"])
        wrong = aligned.substitutions + aligned.deletions + aligned.insertions
        assert int(row["errors"]) == wrong
        assert int(row["words"]) == len(row["reference"].split())
    wer = sum(int(r["errors"]) for r in table) / sum(int(r["words"]) for r in table)
    assert f"WER {wer:.1%}" in out
    code, _, err = evaluated(bundle, jsonl, "--csv", path)
    assert code == 2
    assert "exists already" in err
    assert evaluated(bundle, jsonl, "--csv", path, "--overwrite")[0] == 0


def test_of_several_bundles_each_is_paired_with_the_first(
    evaluated: Evaluated, bundle: Path, other: Path, jsonl: Path
) -> None:
    code, out, _ = evaluated(bundle, other, jsonl, "--remove-punctuation", "--json")
    assert code == 0
    found = json.loads(out)
    first, second = (b["wer"]["value"] for b in found["bundles"])
    assert first != second
    (difference,) = found["differences"]
    assert (difference["bundle"], difference["against"]) == (str(other), str(bundle))
    assert difference["wer"] == pytest.approx(second - first)
    assert difference["low"] <= difference["wer"] <= difference["high"]
    code, out, _ = evaluated(bundle, other, jsonl, "--remove-punctuation", "--worst", 1)
    assert code == 0
    assert f"{other} against {bundle}: WER {100 * (second - first):+.1f} points (95 %: " in out
    assert out.count("  written: ") == 2


def test_lists_of_other_layouts_are_read_and_are_groups(
    evaluated: Evaluated, bundle: Path, jsonl: Path, rows: list[dict[str, Any]]
) -> None:
    table = jsonl.with_name("mine.csv")
    lines = [f"{row['audio_filepath']},{row['text']},{row['speaker']}" for row in rows[:6]]
    table.write_text("\n".join(["sound,words,who", *lines]))
    columns = ("--audio-column", "sound", "--text-column", "words", "--speaker-column", "who")
    code, _, err = evaluated(bundle, table)
    assert code == 2
    assert "name it by data.audio_column (or --audio-column)" in err
    code, out, _ = evaluated(bundle, jsonl, table, *columns, "--json")
    assert code == 0
    found = json.loads(out)
    groups = [g for g in found["bundles"][0]["groups"] if g["kind"] == "corpus"]
    assert [(g["name"], g["n_utterances"]) for g in groups] == [(str(jsonl), 12), (str(table), 6)]
    assert groups[1]["wer"]["low"] is not None


def test_faulty_audio_is_named_and_left_out_all_in_one_message(
    evaluated: Evaluated, bundle: Path, jsonl: Path, rows: list[dict[str, Any]]
) -> None:
    path = jsonl.with_name("faulty.jsonl")
    (jsonl.parent / "empty.wav").write_bytes(b"")
    bad = [{**rows[0], "audio_filepath": name} for name in ("gone.wav", "empty.wav")]
    path.write_text("\n".join(map(json.dumps, [*rows[:6], *bad])) + "\n{\n")
    code, out, err = evaluated(bundle, path)
    assert code == 0
    assert "6 utterances" in out
    assert "left out, 3 faults:" in err
    for fault in (
        f"{path}:7: {path.parent}/gone.wav: no such file",
        f"{path}:8: {path.parent}/empty.wav: is an empty file",
        f"{path}:9: is not JSON",
    ):
        assert fault in err
    path.write_text("\n".join(map(json.dumps, bad)))
    code, out, err = evaluated(bundle, path)
    assert code == 2
    assert out == ""
    assert f"{path}: no usable utterance\n2 faults:" in err


def test_what_is_no_bundle_or_no_list_is_told_before_anything_is_read(
    evaluated: Evaluated, bundle: Path, jsonl: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"junk")
    for arguments, fault in (
        ((jsonl,), "no bundle among"),
        ((bundle,), "nothing to score on"),
        ((bundle, tmp_path / "gone.jsonl"), "gone.jsonl: no such file or folder"),
        ((bundle, bundle, jsonl), "is given twice"),
        ((broken, jsonl), "broken.zip: is neither a bundle's folder nor its zip"),
        ((bundle, jsonl, "--csv", tmp_path / "gone" / "x.csv"), "no such folder"),
    ):
        code, out, err = evaluated(*arguments)
        assert code == 2
        assert fault in err
        assert out == ""


def test_a_network_that_does_not_fit_its_tokens_is_the_users_fault(
    evaluated: Evaluated, jsonl: Path, tmp_path: Path
) -> None:
    made = write_bundle(tmp_path / "bundle")
    write_tokens(made / "tokens.txt", "<blk>", "▁a")
    code, _, err = evaluated(made, jsonl)
    assert code == 2
    assert "writes 3 symbols, but tokens.txt lists 2: they are not of one bundle" in err


@pytest.mark.parametrize("n_failing", [1, 12])
def test_what_a_bundle_fails_on_counts_as_nothing_written_and_is_told(
    evaluated: Evaluated,
    bundle: Path,
    jsonl: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_failing: int,
) -> None:
    transcribe, heard = Recognizer.transcribe, []

    def crashes(self: Recognizer, samples: Any) -> str:
        heard.append(samples)
        if len(heard) <= n_failing:
            raise WorkError("onnxruntime crashed (SIGSEGV)")
        return transcribe(self, samples)

    monkeypatch.setattr(Recognizer, "transcribe", crashes)
    code, out, err = evaluated(bundle, jsonl, "--remove-punctuation", "--json")
    assert code == 1
    failed = f"{bundle}: {jsonl}:1: {jsonl.parent}/0.wav: onnxruntime crashed (SIGSEGV)"
    if n_failing == 12:
        assert out == ""
        assert f"{bundle}: fails on every utterance; the first: {failed}" in err
        return
    assert f"counted as nothing written:\n  {failed}\n" in err
    assert json.loads(out)["counted_as_nothing_written"] == [failed]
    assert json.loads(out)["n_utterances"] == 12


def test_the_runtime_of_a_bundle_stays_out_of_the_command(bundle: Path, jsonl: Path) -> None:
    code = (
        "import sys; from search.cli.main import run; run(sys.argv[1:]);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'onnxruntime')))"
    )
    done = subprocess.run([sys.executable, "-c", code, "evaluate", bundle, jsonl])
    assert done.returncode == 0


@pytest.mark.skipif(not AN4.exists(), reason=f"no recorded speech at {AN4}")
def test_recorded_speech_is_scored_by_speaker(evaluated: Evaluated, bundle: Path) -> None:
    code, out, err = evaluated(bundle, AN4 / "dev.jsonl", "--json")
    assert code == 0
    assert err == ""
    found = json.loads(out)
    assert (found["n_utterances"], found["left_out"]) == (116, [])
    speakers = [g for g in found["bundles"][0]["groups"] if g["kind"] == "speaker"]
    assert sum(g["n_utterances"] for g in speakers) == 116
    assert len(speakers) == 9
    assert all(g["wer"]["low"] <= g["wer"]["value"] <= g["wer"]["high"] for g in speakers)
