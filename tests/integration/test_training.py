"""Real training on a few spoken utterances: exact to resume, to continue and to repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.families import SeparableConv
from spaces.recipe import Distil, Quantize, Training
from spaces.space import Target
from storage.artifacts import ArtifactStore
from workers.checkpoint import load_network
from workers.data.batches import epoch_plan, load_batch, spec_augment
from workers.errors import Diverged
from workers.jobs import Compress, Export, Measure, Score, Screen, TeacherTargets, Train, key_of
from workers.results import Model
from workers.stages.run import run_stage
from workers.students.base import untrained_student
from workers.teachers.rate import output_steps
from workers.train.averaging import rung_average
from workers.train.loop import Trainer
from workers.train.losses.soft_targets import SoftTargets
from workers.train.schedule import learning_rate_at

DIMS = SeparableConv(channels=16, blocks=2, kernel=5)


class Cut(Exception):
    """Stands for a kill in the middle of training."""


def train(corpus, folder, epochs=6, cut_after=None, rungs=(), **settings):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)

    def report(what, done, of):
        assert (what, of) == ("epochs", epochs)
        if done == cut_after:
            raise Cut

    trainer = Trainer(
        untrained_student(DIMS, corpus),
        corpus,
        Training(epochs=epochs, **settings),
        1,
        folder,
        report=report,
        rungs=rungs,
        save_every_s=0.0,
    )
    return trainer, trainer.run()


def weights(network):
    return torch.cat([p.flatten() for p in network.state_dict().values()])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_the_same_recipe_and_seed_give_the_same_weights(corpus, tmp_path):
    first, _ = train(corpus, tmp_path / "a", epochs=2)
    second, _ = train(corpus, tmp_path / "b", epochs=2)
    assert torch.equal(weights(first.network), weights(second.network))


def test_scores_at_rungs_change_nothing_of_the_training(corpus, tmp_path):
    plain, _ = train(corpus, tmp_path / "a")
    scored, _ = train(corpus, tmp_path / "b", rungs=(0.3, 0.5, 1.0))
    assert torch.equal(weights(plain.network), weights(scored.network))
    assert plain.rungs == []
    assert [(r.epoch, r.epochs) for r in scored.rungs] == [(2, 6), (3, 6), (6, 6)]
    assert all(len(r.errors) == len(corpus.dev) for r in scored.rungs)


@pytest.mark.parametrize("cut_after", [1, 2, 3])
def test_training_cut_off_and_resumed_has_the_scores_of_an_uncut_run(corpus, tmp_path, cut_after):
    rungs = (0.3, 0.5)
    whole, _ = train(corpus, tmp_path / "whole", rungs=rungs)
    with pytest.raises(Cut):
        train(corpus, tmp_path / "cut", cut_after=cut_after, rungs=rungs)
    resumed, _ = train(corpus, tmp_path / "cut", rungs=rungs)
    untimed = {"cpu_s"}
    found, expected = ([r.model_dump(exclude=untimed) for r in t.rungs] for t in (resumed, whole))
    assert found == expected


@pytest.mark.parametrize("shares", [(0.3,), (0.3, 0.5)])
def test_a_training_that_paused_at_rungs_gives_the_weights_and_scores_of_one_that_did_not(
    corpus, tmp_path, shares
):
    rungs = (0.3, 0.5)
    whole, _ = train(corpus, tmp_path / "whole", rungs=rungs)
    for share in shares:
        torch.manual_seed(1)
        network = untrained_student(DIMS, corpus)
        folder = tmp_path / "paused"
        folder.mkdir(exist_ok=True)
        paused = Trainer(network, corpus, Training(epochs=6), 1, folder, rungs=rungs)
        score = paused.run_to_rung(share)
        assert (score.epoch, len(paused.history)) == (round(6 * share), round(6 * share))
    resumed, history = train(corpus, tmp_path / "paused", rungs=rungs)
    assert torch.equal(weights(whole.network), weights(resumed.network))
    assert [e.epoch for e in history] == list(range(1, 7))
    found, expected = ([r.model_dump(exclude={"cpu_s"}) for r in t.rungs] for t in (resumed, whole))
    assert found == expected


def test_a_rung_that_a_training_has_passed_is_told_without_training(corpus, tmp_path):
    train(corpus, tmp_path / "t", rungs=(0.3,))
    network = untrained_student(DIMS, corpus)
    again = Trainer(network, corpus, Training(epochs=6), 1, tmp_path / "t", rungs=(0.3,))
    assert again.run_to_rung(0.3).epoch == 2
    assert len(again.history) == 6


def test_a_rung_is_judged_by_the_mean_of_the_last_third_of_its_epochs(corpus, tmp_path):
    trainer, _ = train(corpus, tmp_path / "six", epochs=6, rungs=(1.0,))
    mean = rung_average(1.0, 6)
    assert (mean.first, mean.last) == (5, 6)
    assert rung_average(1 / 3, 40).first == 10
    assert rung_average(0.01, 5).first == rung_average(0.01, 5).last == 1
    assert trainer.rungs[0].wer == pytest.approx(
        sum(trainer.rungs[0].errors) / sum(len(u.text.split()) for u in corpus.dev)
    )


@pytest.mark.parametrize("cut_after", [1, 4, 5])
def test_training_cut_off_and_resumed_gives_the_weights_of_an_uncut_run(
    corpus, tmp_path, cut_after
):
    whole, whole_history = train(corpus, tmp_path / "whole")
    with pytest.raises(Cut):
        train(corpus, tmp_path / "cut", cut_after=cut_after)
    resumed, history = train(corpus, tmp_path / "cut")
    assert torch.equal(weights(whole.network), weights(resumed.network))
    assert [e.epoch for e in history] == list(range(1, 7))
    assert [e.train_ctc for e in history] == [e.train_ctc for e in whole_history]


def test_training_lowers_the_loss(corpus, tmp_path):
    _, history = train(corpus, tmp_path / "t", epochs=12, learning_rate=5e-3, batch_s=8)
    assert history[-1].train_ctc < 0.6 * history[0].train_ctc


def test_two_consistent_views_train_too(corpus, tmp_path):
    _, history = train(corpus, tmp_path / "t", epochs=3, consistency=0.2, intermediate_ctc=0.3)
    assert history[-1].train_ctc < history[0].train_ctc


def test_the_learning_rate_warms_up_stays_and_decays_to_zero():
    rates = [learning_rate_at(s, 1.0) for s in (0.0, 0.05, 0.1, 0.5, 0.6, 0.8, 1.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0])


def test_an_epoch_holds_every_utterance_once_and_no_batch_is_too_long(corpus):
    plan = epoch_plan(corpus, batch_s=8.0, rng=np.random.default_rng(0))
    assert sorted(i for batch in plan for i, _ in batch) == list(range(len(corpus.train)))
    for items in plan:
        batch = load_batch(corpus, items)
        assert len(items) == 1 or batch.features.shape[0] * batch.features.shape[1] <= 800


def test_augmentation_masks_bins_and_frames_but_never_all(corpus):
    batch = load_batch(corpus, [(0, 0), (1, 0)])
    ones = torch.ones_like(batch.features)
    masked = spec_augment(ones, batch.lengths, 1.0, np.random.default_rng(0))
    kept = masked.mean().item()
    assert 0.3 < kept < 1.0
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    untouched = spec_augment(ones, batch.lengths, 0.0, np.random.default_rng(0))
    assert untouched.mean().item() > 0.95


def train_job(corpus, **changes):
    fields = {
        "student": DIMS,
        "training": Training(epochs=2),
        "corpus": corpus.folder.name,
        "seed": 0,
        "threads": 1,
    }
    return Train(**{**fields, **changes})


@pytest.fixture(scope="module")
def soft_targets(corpus, workspace):
    """What a teacher makes of the corpus."""
    teacher = run_stage(train_job(corpus, seed=7), workspace)
    job = TeacherTargets(
        corpus=corpus.folder.name,
        checkpoint=teacher.checkpoint,
        hidden=True,
        subsampling_factor=DIMS.contract.subsampling_factor,
    )
    return run_stage(job, workspace).soft_targets


def test_every_stage_of_a_trial_works_on_what_the_last_one_made(corpus, workspace, soft_targets):
    targets = {"cpu": Target(runs=10)}
    screened = run_stage(
        Screen(student=DIMS, quantize=Quantize(), corpus=corpus.folder.name, targets=targets),
        workspace,
    )
    distil = Distil(weight=0.6, temperature=2.0, hidden_weight=0.5)
    taught = run_stage(train_job(corpus, distil=distil, soft_targets=soft_targets), workspace)
    pruned = run_stage(
        Compress(
            checkpoint=taught.checkpoint,
            ratio=0.5,
            training=Training(epochs=2),
            distil=distil,
            soft_targets=soft_targets,
            corpus=corpus.folder.name,
            seed=0,
            threads=1,
        ),
        workspace,
    )
    exported = run_stage(
        Export(
            checkpoint=pruned.checkpoint,
            quantize=Quantize(encoder="int8_static"),
            corpus=corpus.folder.name,
        ),
        workspace,
    )
    model = Model(
        backend="onnxruntime",
        main="model.onnx",
        files={"model.onnx": exported.model},
    )
    scored = run_stage(Score(runtime="cpu", model=model, corpus=corpus.folder.name), workspace)
    measured = run_stage(
        Measure(
            target_name="cpu",
            target=targets["cpu"],
            model=model,
            corpus=corpus.folder.name,
            macs=exported.value("macs"),
        ),
        workspace,
    )
    assert exported.parity < 1e-3
    assert exported.value("params") < screened.value("params")
    total, features, graph = (
        measured.value(m) for m in ("latency_p50_ms", "features_p50_ms", "graph_p50_ms")
    )
    assert 0 < graph < total
    assert features < total
    n_utterances = len(measured.utterances_s)
    samples = next(r.samples for r in measured.readings if r.metric == "latency_p50_ms")
    assert len(samples) >= 30 and len(samples) % n_utterances == 0
    assert measured.profile[0].time_ms > 0
    assert 0 <= scored.value("wer_low") <= scored.value("wer") <= scored.value("wer_high")
    assert sum(scored.errors) == round(scored.value("wer") * scored.value("n_words"))


def test_a_stage_that_is_done_is_found_and_not_done_again(corpus, workspace):
    job = train_job(corpus, seed=42)
    first = run_stage(job, workspace)
    again = run_stage(job, workspace)
    assert not first.reused
    assert again.reused
    assert again.checkpoint == first.checkpoint


def test_a_stage_whose_artifact_was_lost_is_done_again(corpus, workspace):
    job = train_job(corpus, seed=43)
    digest = run_stage(job, workspace).checkpoint
    store = ArtifactStore(workspace.artifacts)
    (Path(workspace.artifacts) / digest[:2] / digest).unlink()
    again = run_stage(job, workspace)
    assert not again.reused
    assert again.checkpoint == digest  # the same work gives the same file
    assert store.has(digest)


def test_a_checkpoint_describes_itself(corpus, workspace, tmp_path):
    digest = run_stage(train_job(corpus, seed=0), workspace).checkpoint
    path = ArtifactStore(workspace.artifacts).fetch(digest, tmp_path / "c.safetensors")
    network, symbols, _ = load_network(path)
    assert network.dims == DIMS
    assert symbols == corpus.symbols


def test_jobs_with_other_seeds_have_other_keys(corpus):
    assert key_of(train_job(corpus, seed=1)) != key_of(train_job(corpus, seed=2))


def test_what_the_teacher_said_has_the_students_frame_rate(corpus, workspace, soft_targets):
    teacher = SoftTargets(workspace.soft_targets(soft_targets))
    items = ((0, 0), (1, 0))
    said = teacher.log_probs(items)
    lengths = [
        output_steps(corpus.train[i].at[a][1], DIMS.contract.subsampling_factor) for i, a in items
    ]
    assert said.shape == (2, max(lengths), len(corpus.symbols))
    assert said[0, : lengths[0]].exp().sum(-1).sub(1).abs().max() < 0.02


def test_a_training_that_diverges_ends_and_says_what_to_lower(corpus, tmp_path):
    network = untrained_student(SeparableConv(channels=16, blocks=1), corpus)
    with torch.no_grad():
        network.head.weight.fill_(float("inf"))
    trainer = Trainer(network, corpus, Training(epochs=2), 0, tmp_path)
    with pytest.raises(Diverged, match=r"epoch 1 of 2: .* lower training.learning_rate"):
        trainer.run()
