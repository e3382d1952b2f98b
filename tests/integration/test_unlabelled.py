"""Speech without transcripts is learnt from through the teacher, and by nobody else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spaces.families import SeparableConv
from spaces.front_end import FrontEnd
from spaces.load import SHIPPED_FOLDER
from spaces.recipe import Distil, Training
from spaces.space import Data, Synthetic, Tokens
from storage.artifacts import ArtifactStore
from workers.data.check import check_data
from workers.data.corpus import Corpus
from workers.data.synthetic import synthetic_corpus
from workers.errors import DataRefused
from workers.jobs import Prepare, TeacherTargets, Train
from workers.results import PrepareResult, TeacherTargetsResult, TrainResult
from workers.stages.run import run_stage
from workers.train.losses.soft_targets import SoftTargets
from workers.workspace import Workspace

SPOKEN = Synthetic(train_utterances=40, dev_utterances=10, speakers=6)
OTHERS = Synthetic(train_utterances=24, dev_utterances=5, speakers=12, seed=5)
DIMS = SeparableConv(channels=16, blocks=1)


@pytest.fixture(scope="module")
def recordings(workspace: Workspace) -> Path:
    """Recordings of other speakers, and what they say in a list that is no part of the data."""
    return synthetic_corpus(OTHERS, workspace.cache)["train"]


@pytest.fixture(scope="module")
def folder(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("unlabelled")
    for line in recordings.read_text().splitlines():
        name = json.loads(line)["audio_filepath"]
        (made / name).symlink_to(recordings.parent / name)
    return made


def prepared(workspace: Workspace, *unlabelled: Path, speeds=(1.0,)) -> str:
    data = Data(synthetic=SPOKEN, speeds=speeds, unlabelled=tuple(map(str, unlabelled)) or None)
    result = run_stage(Prepare(data=data, tokens=Tokens(), subsampling_factor=4), workspace)
    assert isinstance(result, PrepareResult)
    return result.corpus


@pytest.fixture(scope="module")
def taught(workspace: Workspace, folder: Path) -> tuple[str, TeacherTargetsResult]:
    """A corpus with speech that is not transcribed, and what a good teacher makes of it."""
    corpus = prepared(workspace, folder)
    teacher = SHIPPED_FOLDER / "teachers" / "spoken.safetensors"
    checkpoint = ArtifactStore(workspace.artifacts).put(teacher)
    job = TeacherTargets(corpus=corpus, checkpoint=checkpoint, subsampling_factor=4)
    result = run_stage(job, workspace)
    assert isinstance(result, TeacherTargetsResult)
    return corpus, result


def weights(workspace: Workspace, corpus: str, soft_targets: str | None) -> torch.Tensor:
    job = Train(
        student=DIMS,
        training=Training(epochs=1, batch_s=8),
        distil=Distil(weight=0.67 if soft_targets else 0.0),
        soft_targets=soft_targets,
        corpus=corpus,
        seed=0,
        threads=1,
    )
    result = run_stage(job, workspace)
    assert isinstance(result, TrainResult)
    artifacts = ArtifactStore(workspace.artifacts)
    path = artifacts.fetch(result.checkpoint, workspace.work / f"{result.checkpoint}.safetensors")
    return torch.cat([t.float().flatten() for t in load_file(path).values()])


def test_a_good_teacher_writes_what_was_said(
    taught: tuple[str, TeacherTargetsResult], workspace: Workspace, recordings: Path
) -> None:
    name, result = taught
    corpus = Corpus(workspace.corpus(name))
    assert result.n_unlabelled == 24 and result.n_unlabelled_used >= 20
    assert sum(result.left_out.values()) == 24 - result.n_unlabelled_used
    labels = SoftTargets(workspace.soft_targets(result.soft_targets)).pseudo_labels
    said = {
        row["audio_filepath"]: row["text"]
        for row in map(json.loads, recordings.read_text().splitlines())
    }
    right = 0
    for number, ids in labels.items():
        text = "".join(corpus.symbols[i] for i in ids).replace("▁", " ").strip()
        right += text == said[Path(corpus.spoken[number].audio).name]
    assert right > 0.8 * len(labels)


def test_students_learn_from_it_with_the_teacher_and_not_without(
    taught: tuple[str, TeacherTargetsResult], workspace: Workspace
) -> None:
    name, result = taught
    plain = prepared(workspace)
    assert plain != name
    assert torch.equal(weights(workspace, name, None), weights(workspace, plain, None))
    with_teacher = weights(workspace, name, result.soft_targets)
    assert not torch.equal(with_teacher, weights(workspace, name, None))


def test_it_is_heard_by_every_front_end(
    taught: tuple[str, TeacherTargetsResult], workspace: Workspace
) -> None:
    from workers.data.heard import heard_by

    plain = Corpus(workspace.corpus(taught[0]))
    heard = Corpus(heard_by(FrontEnd(mels=40), plain.folder))
    assert [u.at for u in heard.unlabelled] == [u.at for u in plain.unlabelled]
    assert heard.features.shape == (len(plain.features), 40)
    assert np.isfinite(heard.frames(heard.unlabelled[-1])).all()
    assert np.abs(heard.frames(heard.unlabelled[-1])).max() > 0


def test_a_list_names_it_as_well_as_a_folder(workspace: Workspace, recordings: Path) -> None:
    bare = recordings.with_name("bare.jsonl")
    rows = [json.loads(line) for line in recordings.read_text().splitlines()]
    bare.write_text("".join(f'{{"audio_filepath": "{row["audio_filepath"]}"}}\n' for row in rows))
    corpus = Corpus(workspace.corpus(prepared(workspace, bare)))
    assert len(corpus.unlabelled) == 24 and not any(u.text for u in corpus.unlabelled)


def test_what_is_in_dev_as_well_is_left_out(workspace: Workspace, tmp_path: Path) -> None:
    dev = synthetic_corpus(SPOKEN, workspace.cache)["dev"]
    data = Data(synthetic=SPOKEN, speeds=(1.0,), unlabelled=(str(dev),), max_faulty=1.0)
    report, checked, _ = check_data(data, Tokens(), 4, workspace.cache)
    assert len(checked["dev"]) == 10 and not checked["unlabelled"]
    assert sum("the same utterance is in dev" in fault for fault in report.faults) == 10


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "no such file or folder"),
        ("empty", "holds no utterances"),
        ("list.csv", "of what format? Give a folder of audio files, or a list of JSON lines"),
    ],
)
def test_what_is_no_speech_is_refused(
    name: str, said: str, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("audio\n")
    with pytest.raises(DataRefused, match=r"no such|holds|format") as refused:
        prepared(workspace, tmp_path / name)
    assert f"{tmp_path / name}: {said}" in str(refused.value)


def test_lines_and_files_that_are_no_speech_are_named(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"text": "hello"}\n{"audio_filepath": "text.wav"}\n')
    with pytest.raises(DataRefused) as refused:
        prepared(workspace, listed)
    assert f'{listed}:1: has no "audio_filepath"' in str(refused.value)
    assert f"{listed}:2: " in str(refused.value)
