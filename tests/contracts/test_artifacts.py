"""Files are kept by the digest of their content: in a folder, and behind an fsspec URL."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import fsspec
import pytest

from storage.artifacts import ArtifactStore, file_digest
from storage.errors import ArtifactError

CONTENT = b"\x00\x01weights" * 5000

Roots = dict[str, Callable[[Path], str]]
ROOTS: Roots = {
    "folder": lambda folder: str(folder / "artifacts"),
    "folder with odd characters": lambda folder: str(folder / "ä b%20c"),
    "file URL": lambda folder: f"file://{folder}/artifacts",
    "memory URL": lambda _folder: f"memory://bucket-{uuid.uuid4().hex}/artifacts",
}


@pytest.fixture(params=ROOTS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ROOTS[request.param](tmp_path)


@pytest.fixture
def store(root: str) -> ArtifactStore:
    return ArtifactStore(root)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(CONTENT)
    return path


def _stored(root: str) -> list[str]:
    """Every file below a root."""
    fs, path = fsspec.core.url_to_fs(root)
    return sorted(fs.find(path))


def _place_of(root: str, digest: str) -> str:
    (found,) = [path for path in _stored(root) if path.endswith(digest)]
    return found


def test_a_file_is_named_by_its_content(store: ArtifactStore, root: str, file: Path) -> None:
    digest = store.put(file)
    assert digest == hashlib.sha256(CONTENT).hexdigest() == file_digest(file)
    assert _stored(root) == [_place_of(root, digest)]


def test_what_was_put_is_fetched(store: ArtifactStore, file: Path, tmp_path: Path) -> None:
    digest = store.put(file)
    target = tmp_path / "new" / "folder" / "copy.onnx"
    assert store.fetch(digest, target) == target
    assert target.read_bytes() == CONTENT
    assert [p.name for p in target.parent.iterdir()] == ["copy.onnx"]


def test_what_was_put_is_there_for_every_store_of_that_root(root: str, file: Path) -> None:
    digest = ArtifactStore(root).put(file)
    again = ArtifactStore(root)
    assert again.has(digest)
    assert not again.has("0" * 64)


def test_fetching_replaces_what_was_there(store: ArtifactStore, file: Path, tmp_path: Path) -> None:
    digest = store.put(file)
    target = tmp_path / "copy.onnx"
    target.write_bytes(b"old")
    store.fetch(digest, target)
    assert target.read_bytes() == CONTENT


def test_equal_content_is_kept_once(
    store: ArtifactStore, root: str, file: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other name.bin"
    other.write_bytes(CONTENT)
    assert store.put(file) == store.put(other) == store.put(file)
    assert len(_stored(root)) == 1


def test_an_empty_file_is_a_file(store: ArtifactStore, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert store.fetch(store.put(path), tmp_path / "copy").read_bytes() == b""


def test_what_is_not_there_is_missed_by_name(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"^artifact 0{12} is missing from .+"):
        store.fetch("0" * 64, tmp_path / "copy")
    assert list(tmp_path.glob("copy*")) == []


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-1], lambda content: b"\xff" + content[1:], lambda _content: b""],
    ids=["shorter", "changed", "emptied"],
)
def test_damaged_content_is_not_handed_out(
    store: ArtifactStore,
    root: str,
    file: Path,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    digest = store.put(file)
    fs, _ = fsspec.core.url_to_fs(root)
    fs.pipe_file(_place_of(root, digest), damage(CONTENT))
    target = tmp_path / "copy.onnx"
    target.write_bytes(b"old")
    with pytest.raises(ArtifactError, match=rf"^artifact {digest[:12]} in .+ is damaged$"):
        store.fetch(digest, target)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.glob("copy*")] == ["copy.onnx"]


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "0" * 63,
        "0" * 65,
        "0" * 64 + "\n",
        "A" * 64,
        "g" * 64,
        "../" + "0" * 61,
        "0" * 62 + "/.",
        "*" * 64,
    ],
)
def test_what_is_no_digest_is_refused(store: ArtifactStore, digest: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a digest"):
        store.has(digest)
    with pytest.raises(ArtifactError, match="is not a digest"):
        store.fetch(digest, tmp_path / "new" / "copy")
    assert not (tmp_path / "new").exists()


def test_many_who_put_the_same_at_once_all_succeed(root: str, tmp_path: Path) -> None:
    n_writers = 8
    together = Barrier(n_writers)
    same = [tmp_path / f"same-{i}" for i in range(n_writers)]
    own = [tmp_path / f"own-{i}" for i in range(n_writers)]
    for i in range(n_writers):
        same[i].write_bytes(CONTENT * 20)
        own[i].write_bytes(CONTENT + bytes([i]))
    stores = [ArtifactStore(root) for _ in range(n_writers)]

    def put(i: int) -> tuple[str, str]:
        together.wait()
        return stores[i].put(same[i]), stores[i].put(own[i])

    with ThreadPoolExecutor(n_writers) as pool:
        digests = list(pool.map(put, range(n_writers)))
    assert {shared for shared, _ in digests} == {file_digest(same[0])}
    assert len(_stored(root)) == 1 + n_writers
    for i, (_, digest) in enumerate(digests):
        assert stores[0].fetch(digest, tmp_path / "copy").read_bytes() == own[i].read_bytes()


def test_a_writer_that_died_half_way_leaves_nothing_that_counts(
    root: str, file: Path, tmp_path: Path
) -> None:
    digest = file_digest(file)
    fs, path = fsspec.core.url_to_fs(root)
    fs.makedirs(f"{path}/{digest[:2]}", exist_ok=True)
    fs.pipe_file(f"{path}/{digest[:2]}/{digest}.0123.partial", CONTENT[:100])
    store = ArtifactStore(root)
    assert not store.has(digest)
    store.put(file)
    assert store.fetch(digest, tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["a::b", "x%41", "runs?a", "file:"])
def test_a_folder_is_taken_by_its_name_whatever_that_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    digest = ArtifactStore(str(tmp_path / name)).put(tmp_path / "file")
    assert (tmp_path / name / digest[:2] / digest).read_text() == "content"


def test_the_size_of_a_file_is_known_without_fetching_it(store: ArtifactStore, file: Path) -> None:
    assert store.size(store.put(file)) == len(CONTENT)
    with pytest.raises(ArtifactError, match="artifact 000000000000 is missing from"):
        store.size("0" * 64)
