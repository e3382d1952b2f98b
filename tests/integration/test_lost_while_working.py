"""What a stage works with and loses meanwhile is a fault of the host, whatever it then fails of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import workers.stages.export
import workers.stages.prepare
from spaces.recipe import Quantize
from spaces.space import Data, Tokens
from workers.data.corpus import Corpus
from workers.errors import LostInput
from workers.jobs import Export, Prepare
from workers.stages.context import StageContext
from workers.stages.run import run_stage
from workers.workspace import Workspace


@pytest.fixture
def own(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of this test, with the corpora of the others."""
    shutil.copytree(workspace.cache, tmp_path / "cache")
    folders = {name: tmp_path / name for name in ("cache", "work", "locks")}
    return Workspace(artifacts=str(tmp_path / "artifacts"), **folders)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("harm", [Path.unlink, _cut], ids=["deleted", "truncated"])
def test_a_corpus_that_goes_while_a_stage_reads_it_is_lost_input(
    harm: Callable[[Path], None],
    own: Workspace,
    corpus: Corpus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_what_goes(job: Export, context: StageContext) -> None:
        folder = context.corpus(job.corpus).folder
        harm(folder / "index.json")
        raise ValueError("there is nothing where something was")

    monkeypatch.setattr(workers.stages.export, "run", read_what_goes)
    job = Export(checkpoint="0" * 64, quantize=Quantize(), corpus=corpus.folder.name)
    with pytest.raises(LostInput, match="the prepared corpus"):
        run_stage(job, own)


def test_spoken_audio_that_goes_while_it_is_prepared_is_no_fault_of_the_users_data(
    own: Workspace, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(own.cache / "corpora")
    prepare = workers.stages.prepare.prepare

    def delete_what_is_read(*_progress: object) -> None:
        for path in own.cache.glob("synthetic/*/*.flac"):
            path.unlink()

    def prepare_what_goes(*arguments: object) -> object:
        return prepare(*arguments[:-1], delete_what_is_read)

    monkeypatch.setattr(workers.stages.prepare, "prepare", prepare_what_goes)
    spoken = {"train_utterances": 40, "dev_utterances": 10, "speakers": 6}
    data = Data.model_validate({"synthetic": spoken, "speeds": [1.0]})
    with pytest.raises(LostInput, match="the spoken corpus"):
        run_stage(Prepare(data=data, tokens=Tokens(), subsampling_factor=4), own)
