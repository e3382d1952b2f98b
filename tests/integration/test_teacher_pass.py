"""The teacher's pass over the training set: cut off and taken up, whole or the likeliest only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spaces.families import SeparableConv
from workers.checkpoint import save_network
from workers.data.corpus import Corpus
from workers.students.base import untrained_student
from workers.teachers import draft
from workers.teachers.base import TeacherOutput
from workers.teachers.checkpoint import CheckpointTeacher
from workers.teachers.runner import TeacherRunner
from workers.teachers.targets import Layers, infer_targets
from workers.train.losses.soft_targets import SoftTargets


@pytest.fixture(scope="module")
def checkpoint(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = untrained_student(SeparableConv(channels=16, blocks=1), corpus)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_network(network, corpus.symbols, path)
    return path


class Interrupted(Exception):
    """What cuts a pass off."""


class Counting:
    """A teacher that counts what it is asked, and ends a pass after so many."""

    def __init__(self, teacher: CheckpointTeacher, most: int | None = None) -> None:
        self._teacher, self._most, self.n_asked = teacher, most, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._teacher, name)

    def infer(self, features: np.ndarray) -> TeacherOutput:
        if self.n_asked == self._most:
            raise Interrupted
        self.n_asked += 1
        return self._teacher.infer(features)


Pass = Callable[..., Counting]


@pytest.fixture
def a_pass(checkpoint: Path, corpus: Corpus) -> Pass:
    def run(folder: Path, most: int | None = None, top_k: int | None = None) -> Counting:
        teacher = Counting(CheckpointTeacher(checkpoint), most)
        runner = TeacherRunner(teacher, corpus, (1.0,))  # type: ignore[arg-type]
        infer_targets(runner, folder, 4, Layers(last=True), lambda _done, _of: None, top_k)
        return teacher

    return run


def test_a_pass_that_was_cut_off_goes_on_and_ends_as_one_that_was_not(
    a_pass: Pass, corpus: Corpus, tmp_path: Path
) -> None:
    whole = a_pass(tmp_path / "whole")
    assert whole.n_asked == len(corpus.train)
    cut_off_at = 17
    with pytest.raises(Interrupted):
        a_pass(tmp_path / "cut", most=cut_off_at)
    with pytest.raises(Interrupted):
        a_pass(tmp_path / "cut", most=5)
    assert not (tmp_path / "cut").exists()
    rest = a_pass(tmp_path / "cut")
    assert rest.n_asked <= len(corpus.train)
    for name in ("frames.f16", "hidden.f16", "index.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert list(tmp_path.glob(".*draft")) == []


def test_what_a_power_cut_took_of_a_pass_is_inferred_again(
    a_pass: Pass, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "_KEPT_EVERY", 1)
    a_pass(tmp_path / "whole")
    with pytest.raises(Interrupted):
        a_pass(tmp_path / "cut", most=len(corpus.train) - 1)
    (frames,) = tmp_path.glob(".cut.draft/frames.f16")
    with frames.open("r+b") as file:
        file.truncate(frames.stat().st_size // 2)
    rest = a_pass(tmp_path / "cut")
    assert 0 < rest.n_asked < len(corpus.train)
    for name in ("frames.f16", "hidden.f16", "index.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_kept_of_a_frame_is_the_likeliest_and_the_rest_is_shared_out(
    a_pass: Pass, corpus: Corpus, tmp_path: Path
) -> None:
    a_pass(tmp_path / "whole")
    a_pass(tmp_path / "top", top_k=4)
    items = ((0, 0), (3, 0))
    whole = SoftTargets(tmp_path / "whole").log_probs(items).numpy()
    top = SoftTargets(tmp_path / "top").log_probs(items).numpy()
    n = SoftTargets(tmp_path / "top")._index["at"][0][0][1]
    np.testing.assert_allclose(np.exp(top[0, :n]).sum(-1), 1.0, atol=2e-3)
    kept, all_of_it = (np.sort(each[0, :n], axis=-1) for each in (top, whole))
    np.testing.assert_allclose(kept[:, -4:], all_of_it[:, -4:], atol=0.01)
    assert np.ptp(kept[:, :-4], axis=-1).max() < 1e-4
    sizes = [(tmp_path / "top" / name).stat().st_size for name in ("top.u16", "top.f16")]
    frames = (tmp_path / "whole" / "frames.f16").stat().st_size
    assert sum(sizes) == frames // len(corpus.symbols) * 8


def test_of_a_vocabulary_that_is_smaller_all_is_kept(
    a_pass: Pass, corpus: Corpus, tmp_path: Path
) -> None:
    a_pass(tmp_path / "top", top_k=len(corpus.symbols))
    assert (tmp_path / "top" / "frames.f16").exists()
