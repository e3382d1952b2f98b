"""Features of much audio: in 8 bits, shard by shard, and what is done is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spaces.families import SeparableConv
from spaces.front_end import FrontEnd
from spaces.recipe import Training
from spaces.space import Data, Synthetic, Tokens
from workers.data import reading
from workers.data.batches import epoch_plan, load_batch
from workers.data.corpus import Corpus
from workers.data.heard import heard_by
from workers.data.prepare import prepare
from workers.data.synthetic import synthetic_corpus
from workers.errors import DataRefused
from workers.students.base import untrained_student
from workers.train.loop import Trainer

SPOKEN = Synthetic(train_utterances=40, dev_utterances=8, test_utterances=6, speakers=6)
NOISY = {"speeds": (0.9, 1.0, 1.1), "noise_snr_db": (5.0, 20.0)}
Prepared = Callable[..., Corpus]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(cache: Path) -> Prepared:
    def made(features: str, **more: object) -> Corpus:
        data = Data.model_validate(
            {"synthetic": SPOKEN.model_dump(), "features": features, **NOISY, **more}
        )
        return Corpus(prepare(data, Tokens(), 4, cache)[0])

    return made


def test_a_compact_corpus_holds_what_a_whole_one_holds(prepared: Prepared) -> None:
    whole, compact = prepared("whole"), prepared("compact")
    assert compact.is_compact
    assert not whole.is_compact
    assert [(u.text, u.ids, u.audio) for u in compact.train] == [
        (u.text, u.ids, u.audio) for u in whole.train
    ]
    assert [u.text for u in compact.dev] == [u.text for u in whole.dev]
    assert np.abs(compact.n_frames - whole.n_frames).max() <= 1  # of half frames
    np.testing.assert_allclose(compact.mean, whole.mean, atol=1e-3)
    np.testing.assert_allclose(compact.inv_std, whole.inv_std, rtol=1e-3)
    for one, other in zip(whole.dev, compact.dev, strict=True):
        assert (whole.frames(one) == compact.frames(other)).all()


def test_plain_features_are_off_by_half_a_step_at_most(prepared: Prepared) -> None:
    whole, compact = prepared("whole"), prepared("compact")
    off = [
        np.abs(whole.frames(one) - compact.frames(other)).max()
        for one, other in zip(whole.train, compact.train, strict=True)
    ]
    assert max(off) <= 1 / 16 + 0.002


@pytest.mark.parametrize(("copy", "least"), [(1, 0.8), (2, 0.98), (3, 0.85), (4, 0.85), (5, 0.85)])
def test_other_speeds_and_noise_are_like_those_of_the_audio(
    prepared: Prepared, copy: int, least: float
) -> None:
    whole, compact = prepared("whole"), prepared("compact")
    alike = []
    for one, other in zip(whole.train, compact.train, strict=True):
        heard, made = whole.frames(one, copy), compact.frames(other, copy)
        n = min(len(heard), len(made))
        alike.append(np.corrcoef(heard[:n].ravel(), made[:n].ravel())[0, 1])
    assert np.mean(alike) > least


def test_copies_are_the_same_whenever_they_are_asked_for(prepared: Prepared) -> None:
    utterance = prepared("compact").train[3]
    one, other = (prepared("compact").frames(utterance, 4) for _ in range(2))
    assert (one == other).all()


def test_a_batch_has_targets_and_lengths_of_its_utterances(prepared: Prepared) -> None:
    corpus = prepared("compact")
    plan = epoch_plan(corpus, 20.0, np.random.default_rng(0))
    assert sorted(i for items in plan for i, _ in items) == list(range(len(corpus.train)))
    batch = load_batch(corpus, plan[0])
    for row, (number, copy) in enumerate(plan[0]):
        n = int(batch.lengths[row])
        assert n == corpus.train[number].at[copy][1]
        frames = corpus.frames(corpus.train[number], copy)
        assert (batch.features[row, :n].numpy() == frames).all()


def test_a_student_learns_from_it(prepared: Prepared, tmp_path: Path) -> None:
    corpus = prepared("compact")
    network = untrained_student(SeparableConv(channels=16, blocks=1), corpus)
    trainer = Trainer(network, corpus, Training(epochs=2, batch_s=20), 0, tmp_path)
    history = trainer.run()
    assert history[-1].train_ctc < history[0].train_ctc


def test_test_is_scored_on_features_as_they_are(prepared: Prepared, cache: Path) -> None:
    data = Data.model_validate({"synthetic": SPOKEN.model_dump(), "features": "compact", **NOISY})
    _, report = prepare(data, Tokens(), 4, cache)
    assert report.test is not None
    test = Corpus(report.test)
    assert not test.is_compact
    assert len(test.dev) == 6
    assert test.frames(test.dev[0]).dtype == np.float32


def _list_of(folder: Path, cache: Path) -> tuple[Path, Path]:
    """Lists of copies of the spoken corpus, which may be harmed."""
    made = []
    for split, path in synthetic_corpus(SPOKEN, cache).items():
        if split == "test":
            continue
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        for entry in entries:
            source = path.parent / entry["audio_filepath"]
            shutil.copy(source, folder / source.name)
            entry["audio_filepath"] = source.name
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
        made.append(folder / f"{split}.jsonl")
    return made[0], made[1]


def _shards(cache: Path) -> dict[str, int]:
    return {p.parent.name: p.stat().st_mtime_ns for p in cache.glob("shards/*/rows.json")}


def test_only_what_changed_is_read_again(cache: Path, tmp_path: Path) -> None:
    train, dev = _list_of(tmp_path, cache)
    data = Data(train=(str(train),), dev=(str(dev),), features="compact")
    home = tmp_path / "home"
    prepare(data, Tokens(), 4, home)
    before = _shards(home)
    assert len(before) == 6  # 40 and 8 utterances, 8 in a shard
    audio = tmp_path / json.loads(train.read_text().splitlines()[0])["audio_filepath"]
    audio.write_bytes(audio.read_bytes()[:-2])
    with_fault = data.model_copy(update={"max_faulty": 0.5})
    folder, report = prepare(with_fault, Tokens(), 4, home)
    after = _shards(home)
    assert len(set(after) - set(before)) == 1
    assert all(after[name] == before[name] for name in before)
    assert len(report.faults) == 1
    assert str(audio) in report.faults[0]
    assert len(Corpus(folder).train) == 39


def test_a_preparation_that_was_interrupted_keeps_what_it_has_done(
    cache: Path, tmp_path: Path
) -> None:
    train, dev = _list_of(tmp_path, cache)
    data = Data(train=(str(train),), dev=(str(dev),), features="compact")
    home = tmp_path / "home"

    def interrupted(what: str, done: int, of: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, Tokens(), 4, home, interrupted)
    before = _shards(home)
    assert len(before) >= 2
    prepare(data, Tokens(), 4, home)
    after = _shards(home)
    assert {name: after[name] for name in before} == before
    assert len(after) == 6


def test_a_shard_that_is_damaged_is_made_again(cache: Path, tmp_path: Path) -> None:
    train, dev = _list_of(tmp_path, cache)
    data = Data(train=(str(train),), dev=(str(dev),), features="compact")
    home = tmp_path / "home"
    folder, _ = prepare(data, Tokens(), 4, home)
    shutil.rmtree(folder)
    shard = next(iter(home.glob("shards/*/plain.u8")))
    shard.write_bytes(shard.read_bytes()[:-80])
    again, _ = prepare(data, Tokens(), 4, home)
    assert again == folder
    assert len(Corpus(again).train) == 40


def test_features_are_compact_where_whole_ones_would_be_too_much(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = _list_of(tmp_path, cache)
    data = Data(train=(str(train),), dev=(str(dev),))
    assert not Corpus(prepare(data, Tokens(), 4, tmp_path / "home")[0]).is_compact
    monkeypatch.setattr(reading, "_MOST_WHOLE_BYTES", 1e5)
    assert Corpus(prepare(data, Tokens(), 4, tmp_path / "home")[0]).is_compact


def test_other_front_ends_of_compact_features_are_refused_in_words(prepared: Prepared) -> None:
    folder = prepared("compact").folder
    with pytest.raises(DataRefused, match=r"data: \{features: whole\}"):
        heard_by(FrontEnd(mels=40), folder)


def test_of_many_hours_progress_is_told_in_minutes_of_audio(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, dev = _list_of(tmp_path, cache)
    lines = [json.loads(line) for line in train.read_text().splitlines()]
    listed = "".join(json.dumps({**e, "duration": 600.0}) + "\n" for e in lines)
    train.write_text(listed)
    told: list[tuple[str, int, int]] = []
    data = Data(train=(str(train),), dev=(str(dev),), features="compact")
    with pytest.raises(DataRefused, match="truncated"):
        prepare(data, Tokens(), 4, tmp_path / "home", lambda *step: told.append(step))
    assert ("checking train (minutes of 7 hours)", 400, 400) in told


@pytest.mark.parametrize("features", ["whole", "compact"])
def test_an_epoch_holds_lists_as_often_as_they_weigh(
    cache: Path, tmp_path: Path, features: str
) -> None:
    train, dev = _list_of(tmp_path, cache)
    lines = train.read_text().splitlines(keepends=True)
    few = train.with_name("few.jsonl")
    few.write_text("".join(lines[:4]))
    train.write_text("".join(lines[4:]))
    data = Data(
        train=(str(few), str(train)), dev=(str(dev),), weights=(3.0, 0.5), features=features
    )
    corpus = Corpus(prepare(data, Tokens(), 4, tmp_path / "home")[0])
    counts = np.zeros(40)
    for seed in range(20):
        for items in epoch_plan(corpus, 20.0, np.random.default_rng(seed)):
            for number, _ in items:
                counts[number] += 1
    assert (counts[:4] == 60).all()
    assert 0.4 < counts[4:].mean() / 20 < 0.6
    plain = Data(train=(str(few), str(train)), dev=(str(dev),), features=features)
    assert prepare(plain, Tokens(), 4, tmp_path / "home")[0] != corpus.folder


def test_a_weight_is_for_a_list() -> None:
    with pytest.raises(ValueError, match="give each list a weight"):
        Data(train=("a.jsonl",), dev=("b.jsonl",), weights=(1.0, 2.0))
