"""Corpora as they come: each layout is read, checked and prepared to the same features."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from spaces.load import parse_space
from workers.data.audio import read_audio
from workers.data.check import check_data
from workers.data.corpus import Corpus
from workers.data.features import fbank
from workers.data.prepare import prepare
from workers.data.text import decode

SENTENCES = ("turn on the light", "don't stop", "nine seven", "yes", "go left", "open the door")
RATE_HZ = 16_000


def samples(i, seconds=1.0):
    rng = np.random.default_rng(i)
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def what_is_prepared(data, extra=""):
    """Data, tokens and frame rate as a space tells them."""
    space = parse_space(
        f"name: t\ndata: {json.dumps(data)}\nteacher: {{train: {{}}}}\n"
        f"students: {{separable_conv: {{}}}}\n{extra}",
        "t.yaml",
    )
    return space.data, space.tokens, space.contract.subsampling_factor


def checked(data, cache):
    report, _, _ = check_data(*what_is_prepared(data), cache)
    return report


def prepared(data, cache, extra=""):
    return prepare(*what_is_prepared(data, extra), cache)


def json_lines(folder, split, first):
    folder.mkdir(exist_ok=True)
    lines = []
    for i, text in enumerate(SENTENCES, first):
        soundfile.write(folder / f"{split}{i}.wav", samples(i), RATE_HZ)
        lines.append(
            {"audio_filepath": f"{split}{i}.wav", "text": text, "speaker": f"{split}{i % 2}"}
        )
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return str(folder / f"{split}.jsonl")


def librispeech(folder, split, first):
    for i, text in enumerate(SENTENCES, first):
        chapter = folder / split / f"{first + i % 2}" / "7"
        chapter.mkdir(parents=True, exist_ok=True)
        name = f"{first + i % 2}-7-{i:04d}"
        soundfile.write(chapter / f"{name}.flac", samples(i), RATE_HZ)
        with (chapter / f"{first + i % 2}-7.trans.txt").open("a") as file:
            file.write(f"{name} {text.upper()}\n")
    return str(folder / split)


def timit(folder, split, first):
    for i, text in enumerate(SENTENCES, first):
        speaker = folder / split.upper() / "DR1" / f"S{first + i % 2}"
        speaker.mkdir(parents=True, exist_ok=True)
        soundfile.write(
            speaker / f"SX{i}.WAV", samples(i), RATE_HZ, format="NIST", subtype="PCM_16"
        )
        (speaker / f"SX{i}.TXT").write_text(f"0 {RATE_HZ} {text.capitalize()}.\n")
        (speaker / f"SX{i}.PHN").write_text(f"0 {RATE_HZ} h#\n")
    return str(folder / split.upper())


def common_voice(folder, split, first):
    (folder / "clips").mkdir(exist_ok=True, parents=True)
    rows = ["client_id\tpath\tsentence\tup_votes"]
    for i, text in enumerate(SENTENCES, first):
        soundfile.write(folder / "clips" / f"c{i}.mp3", samples(i), RATE_HZ)
        rows.append(f'{split}{i % 2}\tc{i}.mp3\t{text.capitalize()} "now"\t2')
    (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return str(folder / f"{split}.tsv")


def plain_csv(folder, split, first):
    folder.mkdir(exist_ok=True)
    rows = ["file,transcript,speaker_id"]
    for i, text in enumerate(SENTENCES, first):
        soundfile.write(folder / f"p{i}.ogg", samples(i), RATE_HZ)
        rows.append(f'p{i}.ogg,"{text}, please",{split}{i % 2}')
    (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return str(folder / f"{split}.csv")


@pytest.mark.parametrize("write", [json_lines, librispeech, timit, common_voice, plain_csv])
def test_a_corpus_is_read_in_its_own_layout(write, tmp_path):
    data = {
        "train": write(tmp_path / "corpus", "train", 0),
        "dev": write(tmp_path / "corpus", "dev", 100),
        "remove_punctuation": True,
    }
    report = checked(data, tmp_path)
    assert report.refused is None
    assert report.faults == ()
    for split in ("train", "dev"):
        assert report.splits[split].utterances == len(SENTENCES)
        assert report.splits[split].speakers == 2
        assert report.splits[split].hours * 3600 == pytest.approx(len(SENTENCES), abs=0.3)
    folder, _ = prepared(data, tmp_path)
    corpus = Corpus(folder)
    texts = sorted(u.text for u in corpus.train)
    assert [
        " ".join(t.split()[: len(s.split())]) for t, s in zip(texts, sorted(SENTENCES), strict=True)
    ] == (sorted(SENTENCES))
    assert "'" in corpus.symbols  # an apostrophe is spelling, not punctuation


def test_stretches_of_a_long_recording_are_utterances_of_their_own(tmp_path):
    whole = np.concatenate([samples(i) for i in range(6)])
    soundfile.write(tmp_path / "long.wav", whole, RATE_HZ, subtype="FLOAT")
    lines = [
        {"audio_filepath": "long.wav", "offset": float(i), "duration": 1.0, "text": text}
        for i, text in enumerate(SENTENCES)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dev = json_lines(tmp_path / "dev", "dev", 50)
    folder, _ = prepared({"train": str(tmp_path / "train.jsonl"), "dev": dev}, tmp_path)
    corpus = Corpus(folder)
    for i, utterance in enumerate(corpus.train):
        assert np.allclose(corpus.frames(utterance), fbank(samples(i)), atol=1e-3)


def test_augmentations_add_speeds_and_noise_to_the_training_audio_only(tmp_path):
    data = {
        "train": json_lines(tmp_path, "train", 0),
        "dev": json_lines(tmp_path, "dev", 50),
        "speeds": [0.8, 1.0],
        "noise_snr_db": [0, 5],
    }
    folder, _ = prepared(data, tmp_path)
    corpus = Corpus(folder)
    assert corpus.n_augmentations == 4
    lengths = [n for _, n in corpus.train[0].at]
    assert lengths == [100, 125, 100, 125]  # as it is, slower, and both again with noise
    assert np.abs(corpus.frames(corpus.train[0], 0) - corpus.frames(corpus.train[0], 2)).max() > 0.1
    assert len(corpus.dev[0].at) == 1
    again, _ = prepared(data, tmp_path)
    assert again == folder  # found, not made again


def test_denoising_changes_the_training_audio(tmp_path):
    pytest.importorskip("noisereduce", reason="the extra denoise is not installed")
    data = {
        "train": json_lines(tmp_path, "train", 0),
        "dev": json_lines(tmp_path, "dev", 50),
        "speeds": [1.0],
    }
    plain = Corpus(prepared(data, tmp_path)[0])
    clean = Corpus(prepared({**data, "denoise": True}, tmp_path)[0])
    assert clean.frames(clean.train[0]).mean() < plain.frames(plain.train[0]).mean() - 0.5
    assert np.array_equal(clean.frames(clean.dev[0]), plain.frames(plain.dev[0]))


def test_the_spoken_corpus_is_the_same_for_the_same_seed_and_no_speaker_is_in_both(tmp_path):
    def data(seed):
        size = {"train_utterances": 150, "dev_utterances": 6, "speakers": 6}
        return {"synthetic": {**size, "seed": seed}}

    def spoken(seed, cache):
        return Corpus(prepared(data(seed), tmp_path / cache)[0])

    first, second, other = spoken(1, "a"), spoken(1, "b"), spoken(2, "c")
    assert first.digest == second.digest
    assert first.digest != other.digest
    report = checked(data(1), tmp_path / "a")
    assert report.faults == ()
    assert report.splits["dev"].speakers == 2


def test_a_test_set_changes_nothing_of_what_is_trained_and_chosen_on(tmp_path):
    data = {"train": json_lines(tmp_path, "train", 0), "dev": json_lines(tmp_path, "dev", 50)}
    plain, _ = prepared(data, tmp_path / "a")
    test = json_lines(tmp_path, "test", 90)
    folder, report = prepared({**data, "test": test}, tmp_path / "b")
    assert folder.name == plain.name
    assert (folder / "features.f32").read_bytes() == (plain / "features.f32").read_bytes()
    assert report.splits["test"].utterances == len(SENTENCES)
    apart = Corpus(report.test)
    assert apart.folder != folder
    assert [u.text for u in apart.dev] == list(SENTENCES)
    assert apart.train == []
    heard = read_audio(str(tmp_path / "test92.wav"))
    assert np.array_equal(apart.frames(apart.dev[2]), fbank(heard))
    again, report = prepared({**data, "test": test}, tmp_path / "b")
    assert (again, report.test) == (folder, apart.folder)


def test_an_utterance_of_train_or_dev_is_left_out_of_test(tmp_path):
    train, dev = json_lines(tmp_path, "train", 0), json_lines(tmp_path, "dev", 50)
    test = json_lines(tmp_path, "test", 90)
    for i in (91, 94):  # what is there of train, of dev
        soundfile.write(tmp_path / f"test{i}.wav", samples(3 if i == 91 else 52), RATE_HZ)
    data = {"train": train, "dev": dev, "test": test, "max_faulty": 0.2}
    folder, report = prepared(data, tmp_path)
    assert folder.name == prepared({"train": train, "dev": dev}, tmp_path)[0].name
    assert report.faults == (
        f"{test}:2: the same utterance is in train ({train}:4)",
        f"{test}:5: the same utterance is in dev ({dev}:3)",
    )
    assert len(Corpus(report.test).dev) == len(SENTENCES) - 2


def test_the_test_set_of_the_spoken_corpus_has_speakers_of_its_own(tmp_path):
    size = {"train_utterances": 150, "dev_utterances": 6, "speakers": 6}
    plain, _ = prepared({"synthetic": size}, tmp_path)
    data = {"synthetic": {**size, "test_utterances": 9}}
    folder, report = prepared(data, tmp_path)
    assert folder.name == plain.name  # by the digest of audio and transcripts
    assert report.faults == ()
    assert report.splits["test"].utterances == 9
    assert report.splits["test"].speakers == 2

    corpora = sorted((tmp_path / "synthetic").iterdir(), key=lambda f: (f / "test.jsonl").exists())
    same = [
        [path.read_bytes() for path in sorted(corpus.glob("*.flac")) if "test" not in path.name]
        for corpus in corpora
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("tokens", "symbol"), [("{kind: words}", "▁light"), ("{kind: bpe, vocabulary: 32}", "▁")]
)
def test_words_and_pieces_are_tokens_too(tokens, symbol, tmp_path):
    same = json_lines(tmp_path, "train", 0)
    data = {"train": same, "dev": json_lines(tmp_path, "dev", 50)}
    corpus = Corpus(prepared(data, tmp_path, f"tokens: {tokens}\n")[0])
    assert any(s.startswith(symbol) for s in corpus.symbols)
    for utterance in corpus.train:
        spaced = [i for token in utterance.ids for i in (token, 0)]
        assert decode(spaced, corpus.symbols) == utterance.text


def test_faults_under_the_limit_are_left_out_and_listed(tmp_path):
    train = json_lines(tmp_path, "train", 0)
    (tmp_path / "train5.wav").write_bytes(b"")
    data = {"train": train, "dev": json_lines(tmp_path, "dev", 50), "max_faulty": 0.2}
    folder, report = prepared(data, tmp_path)
    assert len(Corpus(folder).train) == len(SENTENCES) - 1
    (fault,) = report.faults
    assert fault.startswith(f"{train}:6: ")
    assert "empty file" in fault
