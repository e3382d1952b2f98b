"""Audio that is no file of its own: behind a URL, in tar archives, in cuts of Lhotse."""

from __future__ import annotations

import functools
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from spaces.load import parse_space
from spaces.space import Data, Synthetic, Tokens
from workers.data.audio import read_audio
from workers.data.check import check_data
from workers.data.corpora import BadLine, ListOptions, ManifestEntry, read_split
from workers.data.corpus import Corpus
from workers.data.prepare import prepare
from workers.data.synthetic import synthetic_corpus
from workers.errors import DataFault, DataRefused

SPOKEN = Synthetic(train_utterances=20, dev_utterances=6, speakers=6)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Without durations, which archives have none of."""
    found = synthetic_corpus(SPOKEN, tmp_path_factory.mktemp("cache"))
    for path in found.values():
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{k: v for k, v in entry.items() if k != "duration"} for entry in entries]
        path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
    return found


@pytest.fixture(scope="module")
def url(lists: dict[str, Path]) -> Iterator[str]:
    """Where the corpus is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    handler = functools.partial(Quiet, directory=str(lists["train"].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _tar(path: Path, manifest: Path, kind: str) -> Path:
    """A shard of a WebDataset with what a list names; of one sample the text is missing."""
    with tarfile.open(path, "w") as tar:
        for number, line in enumerate(manifest.read_text().splitlines()):
            entry = json.loads(line)
            audio = manifest.parent / entry["audio_filepath"]
            key = f"part/{number:06d}"
            tar.add(audio, f"{key}{audio.suffix}")
            said = entry["text"] if kind == "txt" else json.dumps(entry)
            content = said.encode()
            member = tarfile.TarInfo(f"{key}.{kind}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def _texts(corpus: Corpus) -> list[str]:
    return [u.text for u in corpus.train]


def test_lists_and_audio_behind_a_url_are_read_as_files_are(
    lists: dict[str, Path], url: str, tmp_path: Path
) -> None:
    names = {split: (f"{url}/{path.name}",) for split, path in lists.items() if split != "test"}
    text = f"data: {json.dumps({k: list(v) for k, v in names.items()})}\nname: far\n"
    space = parse_space(
        f"{text}teacher: {{train: {{}}}}\nstudents: {{recurrent: {{hidden: 16}}}}\n", "far.yaml"
    )
    assert space.data.train == names["train"]
    far = Corpus(prepare(space.data, Tokens(), 4, tmp_path / "far")[0])
    near_data = Data(train=(str(lists["train"]),), dev=(str(lists["dev"]),))
    near = Corpus(prepare(near_data, Tokens(), 4, tmp_path / "near")[0])
    assert _texts(far) == _texts(near)
    assert (np.asarray(far.features) == np.asarray(near.features)).all()


@pytest.mark.parametrize("kind", ["txt", "json"])
def test_a_shard_of_a_webdataset_is_read_as_files_are(
    lists: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    shard = _tar(tmp_path / "train.tar", lists["train"], kind)
    data = Data(train=(str(shard),), dev=(str(lists["dev"]),), allow_shared_speakers=True)
    found = Corpus(prepare(data, Tokens(), 4, tmp_path / "tar")[0])
    near_data = Data(train=(str(lists["train"]),), dev=(str(lists["dev"]),))
    near = Corpus(prepare(near_data, Tokens(), 4, tmp_path / "near")[0])
    assert _texts(found) == _texts(near)
    assert (np.asarray(found.features) == np.asarray(near.features)).all()
    assert (found.samples(found.train[3]) == near.samples(near.train[3])).all()


def test_a_shard_behind_a_url_is_read(lists: dict[str, Path], tmp_path: Path) -> None:
    shard = _tar(tmp_path / "shard.tar", lists["dev"], "txt")
    fsspec.filesystem("memory").pipe("/shard.tar", shard.read_bytes())
    items = read_split(("memory://shard.tar",), ListOptions())
    local = read_split((str(shard),), ListOptions())
    assert len(items) == len(local) == 6
    for one, other in zip(items, local, strict=True):
        assert isinstance(one, ManifestEntry)
        assert isinstance(other, ManifestEntry)
        assert one.text == other.text
        assert (read_audio(one.audio) == read_audio(other.audio)).all()


def test_a_sample_without_a_text_is_a_fault_of_its_own(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        member = tarfile.TarInfo("a.wav")
        tar.addfile(member, io.BytesIO())
    (item,) = read_split((str(tmp_path / "bad.tar"),), ListOptions())
    assert isinstance(item, BadLine)
    assert item.source == f"{tmp_path}/bad.tar: a"
    assert "has no text" in item.message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.tar", "no such file"),
        ("no.tar", "is no tar archive that can be read"),
        ("http://127.0.0.1:9/train.jsonl", "cannot be read"),
        ("http://127.0.0.1:9/train.csv", "lists of JSON lines"),
        ("nowhere://bucket/train.jsonl", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_name(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "no.tar").write_text("this is no archive")
    where = name if "://" in name else str(tmp_path / name)
    with pytest.raises(DataRefused, match=words) as refused:
        read_split((where,), ListOptions())
    assert where in str(refused.value)


def test_a_recording_that_is_gone_behind_its_url_is_a_fault(url: str) -> None:
    with pytest.raises(DataFault, match="is not there"):
        read_audio(f"{url}/none.flac")


def test_cuts_of_lhotse_are_utterances(lists: dict[str, Path], tmp_path: Path) -> None:
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

    line = json.loads(lists["train"].read_text().splitlines()[0])
    audio = lists["train"].parent / line["audio_filepath"]
    recording = Recording.from_file(audio)
    said = SupervisionSegment("s", recording.id, 0.0, 0.5, text="one two", speaker="ann")
    cuts = [
        MonoCut("a", 0.25, 0.5, 0, recording=recording, supervisions=[said]),
        MonoCut("b", 0.0, 0.5, 0),
    ]
    path = tmp_path / "cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    first, second = read_split((str(path),), ListOptions())
    assert first == ManifestEntry(str(audio), "one two", f"{path}:1", "ann", 0.25, 0.5)
    assert isinstance(second, BadLine)
    assert "has no recording" in second.message


def test_of_a_long_list_a_sample_is_read_and_that_is_said(
    lists: dict[str, Path], tmp_path: Path
) -> None:
    data = Data(train=(str(lists["train"]),), dev=(str(lists["dev"]),))
    report, checked, _ = check_data(data, Tokens(), 4, tmp_path, sample=5)
    assert len(checked["train"]) == 5
    assert report.train_share == 0.25
    assert report.notes[0] == (
        "train: 5 of 20 items were read, evenly over the list (--all reads every one)"
    )
    everything, _, _ = check_data(data, Tokens(), 4, tmp_path)
    assert everything.train_share == 1.0
    assert everything.notes == ()
