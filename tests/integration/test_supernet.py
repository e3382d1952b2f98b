"""A supernet trains on a few spoken utterances, is exact to resume, and students begin as its
slices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spaces.families import Recurrent, SeparableConv
from spaces.recipe import Training
from storage.artifacts import ArtifactStore
from workers.checkpoint import load_network, load_supernet
from workers.data.corpus import Corpus
from workers.jobs import Supernet as SupernetJob
from workers.jobs import Train, key_of
from workers.stages.run import run_stage
from workers.stages.supernet import untrained_supernet
from workers.students.supernet import Supernet
from workers.train.recalibration import recalibrate
from workers.train.supernet import SupernetTrainer
from workers.workspace import Workspace

CHOICES = {"channels": (16, 24, 32), "blocks": (2, 3), "expand": (1.0, 2.0)}
SMALL = SeparableConv(channels=16, blocks=2, kernel=5)


def job(corpus: Corpus, **changes: object) -> SupernetJob:
    made = SupernetJob(
        largest=SeparableConv(channels=32, blocks=3, kernel=5, expand=2),
        choices=CHOICES,
        training=Training(epochs=4, learning_rate=5e-3, batch_s=16),
        corpus=corpus.folder.name,
        seed=1,
        threads=1,
    )
    return made.model_copy(update=changes)


class Cut(Exception):
    """Stands for a kill in the middle of training."""


def trained(made: SupernetJob, corpus: Corpus, folder: Path, cut_after: int = 0) -> Supernet:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(made.seed)

    def report(what: str, done: int, of: int) -> None:
        if done == cut_after:
            raise Cut

    supernet = untrained_supernet(made, corpus)
    trainer = SupernetTrainer(
        supernet, corpus, made.training, made.seed, folder, report=report, save_every_s=0.0
    )
    trainer.run()
    return supernet


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten().double() for p in network.state_dict().values()])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("cut_after", [1, 3])
def test_a_supernet_cut_off_and_resumed_has_the_weights_of_an_uncut_one(
    corpus: Corpus, tmp_path: Path, cut_after: int
) -> None:
    whole = trained(job(corpus), corpus, tmp_path / "whole")
    with pytest.raises(Cut):
        trained(job(corpus), corpus, tmp_path / "cut", cut_after)
    resumed = trained(job(corpus), corpus, tmp_path / "cut")
    assert torch.equal(weights(whole), weights(resumed))


def test_a_step_may_leave_some_tensors_without_gradients_and_is_still_exact_to_resume(
    corpus: Corpus, tmp_path: Path
) -> None:
    made = job(
        corpus,
        largest=Recurrent(cell="lstm", channels=16, hidden=16, layers=2),
        choices={"cell": ("gru", "lstm"), "layers": (1, 2), "hidden": (8, 16)},
        training=Training(epochs=3, batch_s=200.0),  # one step an epoch: not every kind has begun
    )
    whole = trained(made, corpus, tmp_path / "whole")
    with pytest.raises(Cut):
        trained(made, corpus, tmp_path / "cut", 1)
    assert torch.equal(weights(whole), weights(trained(made, corpus, tmp_path / "cut")))


def test_all_students_of_a_supernet_learn(corpus: Corpus, tmp_path: Path) -> None:
    made = job(corpus, training=Training(epochs=12, learning_rate=5e-3, batch_s=8))
    torch.manual_seed(made.seed)
    before = untrained_supernet(made, corpus)
    after = trained(made, corpus, tmp_path / "s")
    for dims in (made.largest, SMALL, SMALL.model_copy(update={"channels": 24, "expand": 2.0})):
        losses = []
        for supernet in (before, after):
            student = supernet.slice(dims).materialised().eval()
            recalibrate(student, corpus)
            losses.append(_ctc(student, corpus))
        assert losses[1] < 0.7 * losses[0]


def _ctc(student: torch.nn.Module, corpus: Corpus) -> float:
    from workers.data.batches import load_batch
    from workers.train.losses.ctc import ctc_per_frame

    batch = load_batch(corpus, [(i, 0) for i in range(len(corpus.train))])
    with torch.inference_mode():
        said = student(student.normalise(batch.features), batch.lengths)
    loss = ctc_per_frame(said.logits, said.lengths, batch.targets, batch.target_lengths)
    return float(loss)


def test_recalibration_makes_running_statistics_those_of_the_audio_and_draws_nothing(
    corpus: Corpus,
) -> None:
    torch.manual_seed(0)
    student = untrained_supernet(job(corpus), corpus).slice(SMALL).materialised().train()
    student.frontend.bn.norm.running_mean.fill_(9.0)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    recalibrate(student, corpus)
    first = weights(student)
    assert torch.equal(torch.rand(2), expected)
    assert student.training
    assert student.frontend.bn.norm.momentum == 0.1
    assert student.frontend.bn.norm.running_mean.abs().max() < 5.0
    recalibrate(student, corpus)
    assert torch.equal(weights(student), first)
    assert not torch.equal(first, weights(_recalibrated(student, corpus, audio_s=5.0)))


def _recalibrated(student: torch.nn.Module, corpus: Corpus, audio_s: float) -> torch.nn.Module:
    recalibrate(student, corpus, audio_s)
    return student


# stages


def start_job(corpus: Corpus, start: str | None, **changes: object) -> Train:
    made = Train(
        student=SMALL,
        training=Training(epochs=1, batch_s=16),
        corpus=corpus.folder.name,
        seed=1,
        threads=1,
        start=start,
    )
    return made.model_copy(update=changes)


def test_a_student_begins_as_its_slice_and_is_trained_from_there(
    corpus: Corpus, workspace: Workspace, tmp_path: Path
) -> None:
    result = run_stage(job(corpus), workspace)
    assert [e.epoch for e in result.history] == [1, 2, 3, 4]
    assert result.smallest_wer is not None
    assert run_stage(job(corpus), workspace).reused
    still = Training(epochs=1, learning_rate=1e-12, weight_decay=0.0, batch_s=16)
    slow = run_stage(start_job(corpus, result.checkpoint, training=still), workspace)
    assert slow.sliced_share == 1.0
    artifacts = ArtifactStore(workspace.artifacts)
    student, _, _ = load_network(artifacts.fetch(slow.checkpoint, tmp_path / "student"))
    supernet, symbols = load_supernet(artifacts.fetch(result.checkpoint, tmp_path / "supernet"))
    assert symbols == corpus.symbols
    wanted = dict(supernet.slice(SMALL).materialised().named_parameters())
    for name, parameter in student.named_parameters():
        assert torch.allclose(parameter, wanted[name], atol=1e-6), name


def test_what_the_supernet_lacks_is_the_students_own_and_told(
    corpus: Corpus, workspace: Workspace
) -> None:
    result = run_stage(job(corpus, choices={"channels": (16, 32)}), workspace)
    foreign = run_stage(start_job(corpus, result.checkpoint), workspace)  # without a projection
    assert 0 < foreign.sliced_share < 1
    from_nothing = run_stage(start_job(corpus, None), workspace)
    assert from_nothing.sliced_share is None


def test_training_from_nothing_has_the_key_it_had_before_there_were_supernets(
    corpus: Corpus,
) -> None:
    plain = start_job(corpus, None).model_copy(update={"corpus": "c"})
    before = "46a3011107c11dc9cfd1330b41f29e8a800c749b998dc83c338be2a4442b6813"
    assert key_of(plain) == before
    assert key_of(plain.model_copy(update={"start": "a" * 64})) != before
