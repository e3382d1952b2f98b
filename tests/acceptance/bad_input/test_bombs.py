"""Small files that would fill a memory are refused with a sentence by every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from bombs import MOST_SAMPLES, claiming, doubling, long_flac
from bundles import write_bundle
from lists import N_GOOD, Corpus, noise
from refusals import SPACE, Refused

ENDLESS = "stand for more than 100,000 values; write the values out"
YAML_BOMBS = {
    "aliases": doubling("a{this}: &a{this} [*a{last}, *a{last}]"),
    "merges": doubling("a{this}: &a{this} {{<<: [*a{last}, *a{last}], k{this}: 1}}"),
    "two merges in a mapping": doubling("a{this}: &a{this} {{<<: *a{last}, <<: *a{last}}}"),
    "a key given twice": doubling("a{this}: &a{this} {{x: *a{last}, x: *a{last}}}"),
    "a key that is a bomb": doubling("a{this}: &a{this} [*a{last}, *a{last}]") + "? *a29\n: 1\n",
}


@pytest.mark.parametrize("kind", YAML_BOMBS)
def test_yaml_that_multiplies_is_refused_before_it_is_unpacked(
    refused: Refused, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text(YAML_BOMBS[kind])
    assert ENDLESS in refused("validate", path, "--quick")


def test_a_merge_of_itself_is_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text("a: &a\n  <<: [*a]\n  b: 1\n")
    assert f"{path}:1: a.<<.0: refers to itself; write" in refused("validate", path, "--quick")


def test_a_key_that_is_no_word_is_refused_with_its_line(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("name: odd\n? [a, b]\n: 1\n")
    said = refused("validate", path, "--quick")
    assert f"{path}:2: holds a list or a mapping where a key should be" in said


def test_a_merge_that_ends_is_a_way_to_write_a_space(tmp_path: Path) -> None:
    from spaces.load import parse_space

    more = "  recurrent:\n    <<: {channels: 16}\n    hidden: 16\n"
    space = parse_space(SPACE.replace("objectives:", f"{more}objectives:"), tmp_path / "s.yaml")
    assert set(space.students) == {"separable_conv", "recurrent"}


@pytest.mark.parametrize(
    "number",
    [
        "9" * 5000,
        "0x" + "f" * 5000,
        "0b" + "1" * 5000,
        "1" + ":59" * 5000,
        "1" + ":59" * 5000 + ".5",
    ],
    ids=["decimal", "hexadecimal", "binary", "sexagesimal", "sexagesimal fraction"],
)
def test_a_number_of_thousands_of_digits_is_told_with_its_line(
    refused: Refused, tmp_path: Path, number: str
) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(SPACE.replace("trials: 2", f"trials: {number}"))
    said = refused("validate", path, "--quick")
    line = SPACE.splitlines().index("  trials: 2") + 1
    count = f"{len(number):,} characters; write a smaller one"
    assert f"{path}:{line}: search.trials: is a number of {count}" in said
    assert len(said) < 1000


def test_a_list_with_a_number_of_thousands_of_digits_is_told_without_words_for_programmers(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    corpus.add(corpus.train, '{"duration": ' + "1" * 5000 + "}")
    said = refused("--home", home, "validate", corpus.space())
    assert f"{corpus.train}:{N_GOOD + 1}: is not JSON: Exceeds the limit (4300 digits)" in said
    assert "set_int_max_str_digits" not in said


def test_audio_bombs_in_a_list_are_faults_of_their_lines(
    refused: Refused, home: Path, corpus: Corpus
) -> None:
    bomb = long_flac(corpus.folder / "bomb.flac")
    claims = claiming(corpus.folder / "claims.flac", noise(1, 0), MOST_SAMPLES)
    slow = corpus.folder / "slow.wav"
    soundfile.write(slow, noise(0.1, 0), 1)
    corpus.add(corpus.train, *(corpus.row(str(p)) for p in (bomb, claims, slow)))
    said = refused("--home", home, "validate", corpus.space())
    assert f"{corpus.train}:5: {bomb}: lasts 1200.0 s, above data.max_duration_s (40 s)" in said
    assert f"{corpus.train}:6: {claims}: lasts 4294967.3 s, above data.max_duration_s (40 s" in said
    assert f"{corpus.train}:7: {slow}: has 1 samples a second; 4,000 to 384,000 are read" in said


def test_audio_bombs_are_named_and_the_other_recordings_transcribed(
    refused: Refused, tmp_path: Path, audio: Path
) -> None:
    claims = claiming(tmp_path / "claims.flac", noise(1, 0), MOST_SAMPLES)
    bundle = write_bundle(tmp_path / "student")
    said = refused("transcribe", bundle, audio / "train0.wav", claims, audio / "train1.wav")
    assert f"search: {claims}: is not audio that can be read" in said  # any length is, if there
    assert f"{audio / 'train0.wav'}\t" in said
    assert f"{audio / 'train1.wav'}\t" in said


def test_a_description_of_a_bundle_that_is_nested_too_deeply_is_told(
    refused: Refused, tmp_path: Path, audio: Path
) -> None:
    bundle = write_bundle(tmp_path / "student", "[" * 100_000)
    said = refused("transcribe", bundle, audio / "train0.wav")
    assert f"{bundle}/bundle.json: is not JSON (nested too deeply)" in said
