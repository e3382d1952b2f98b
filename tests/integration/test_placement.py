"""Training on a device, in fewer bits, with too little memory: each path on the CPU, and on a GPU
where there is one."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from search.errors import UsageFault
from search.study import place
from search.study.settings import Place
from spaces.families import DsconvLstm, SeparableConv
from spaces.recipe import Training
from spaces.space import Search
from workers.accelerators import Accelerators, slot_on_gpu
from workers.data.batches import epoch_plan, load_batch
from workers.data.corpus import Corpus
from workers.jobs import Train, key_of
from workers.students.base import untrained_student
from workers.train.loop import Trainer
from workers.train.placement import Placement

DIMS = SeparableConv(channels=16, blocks=2, kernel=5)
CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def trained(
    corpus: Corpus,
    folder: Path,
    placement: Placement | None = None,
    dims=DIMS,
    epochs=3,
    **settings,
) -> Trainer:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    training = Training(epochs=epochs, batch_s=8, **settings)
    network = untrained_student(dims, corpus)
    trainer = Trainer(network, corpus, training, 1, folder, placement=placement, save_every_s=0.0)
    trainer.run()
    return trainer


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.flatten().float() for p in trainer.network.state_dict().values()])


def plan(corpus: Corpus) -> list[list[tuple[int, int]]]:
    return epoch_plan(corpus, 8.0, np.random.default_rng(0))


# where batches come from


@pytest.mark.parametrize("keeps_features", [True, False])
def test_a_batch_is_the_same_from_wherever_it_comes(corpus: Corpus, keeps_features: bool) -> None:
    placement = Placement(CPU, keeps_features=keeps_features)
    for batch, items in zip(placement.batches(corpus, plan(corpus)), plan(corpus), strict=True):
        usual = load_batch(corpus, items)
        for name in ("features", "lengths", "targets", "target_lengths"):
            assert torch.equal(getattr(batch, name), getattr(usual, name))
        assert batch.items == usual.items


def test_batches_that_are_read_ahead_are_the_same_in_their_order(corpus: Corpus) -> None:
    placement = Placement(CPU)
    ahead = list(placement._prefetched(corpus, plan(corpus)))  # what a small GPU gets
    assert [batch.items for batch in ahead] == [tuple(items) for items in plan(corpus)]
    usual = load_batch(corpus, plan(corpus)[0])
    assert torch.equal(ahead[0].features, usual.features)


def test_the_cpu_gives_the_weights_that_it_gave_before_there_were_devices(
    corpus: Corpus, tmp_path: Path
) -> None:
    plain = trained(corpus, tmp_path / "plain")
    kept = trained(corpus, tmp_path / "kept", Placement(CPU, Placement.on_cpu().dtype, True))
    assert torch.equal(weights(plain), weights(kept))


# fewer bits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, None])
def test_a_network_learns_in_any_numbers(corpus: Corpus, tmp_path: Path, dtype) -> None:
    trainer = trained(corpus, tmp_path, Placement(CPU, dtype), epochs=6, learning_rate=0.01)
    losses = [epoch.train_ctc for epoch in trainer.history]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.dtype == torch.float32 for p in trainer.network.parameters())


def test_a_step_whose_gradients_are_not_finite_is_left_out_and_counted(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placement, n_calls = Placement(CPU, torch.float16), 0
    backward = placement.backward

    def overflowing(loss: torch.Tensor) -> None:
        nonlocal n_calls
        n_calls += 1
        backward(loss * float("inf") if n_calls == 3 else loss)

    monkeypatch.setattr(placement, "backward", overflowing)
    trainer = trained(corpus, tmp_path, placement)
    assert n_calls > 3
    assert [epoch.n_skipped for epoch in trainer.history][-1] == 1
    assert torch.isfinite(weights(trainer)).all()


def test_the_scale_of_the_loss_outlives_an_interruption(corpus: Corpus, tmp_path: Path) -> None:
    whole = trained(corpus, tmp_path / "whole", Placement(CPU, torch.float16), epochs=4)

    class Cut(Exception):
        pass

    def cut(_what: str, done: int, _of: int) -> None:
        if done == 2:
            raise Cut

    folder = tmp_path / "cut"
    folder.mkdir()
    torch.manual_seed(1)
    network = untrained_student(DIMS, corpus)
    first = Trainer(
        network,
        corpus,
        Training(epochs=4, batch_s=8),
        1,
        folder,
        placement=Placement(CPU, torch.float16),
        report=cut,
        save_every_s=0.0,
    )
    with pytest.raises(Cut):
        first.run()
    resumed = trained(corpus, folder, Placement(CPU, torch.float16), epochs=4)
    assert len(resumed.history) == 4
    assert torch.equal(weights(resumed), weights(whole))


# too little memory


def test_a_batch_that_is_too_much_is_worked_on_in_parts(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    placement, most = Placement(CPU), 0

    torch.manual_seed(1)
    network = untrained_student(DIMS, corpus)
    training = Training(epochs=2, batch_s=16, consistency=0.2, augment=0.5)
    trainer = Trainer(network, corpus, training, 1, tmp_path, placement=placement)
    forward = network.forward

    def small(features: torch.Tensor, lengths: torch.Tensor):
        nonlocal most
        if network.training and len(features) > 4:
            raise torch.OutOfMemoryError("fake")
        most = max(most, len(features))
        return forward(features, lengths)

    monkeypatch.setattr(network, "forward", small)
    trainer.run()
    assert most in (2, 4)
    said = capsys.readouterr().out
    assert "out of memory: batches are worked on in 2 parts from now on" in said
    assert "in 4 parts from now on" in said
    assert torch.isfinite(weights(trainer)).all()


def test_a_single_utterance_that_is_too_much_is_no_longer_divided(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = untrained_student(DIMS, corpus)

    def never(_features: torch.Tensor, _lengths: torch.Tensor):
        raise torch.OutOfMemoryError("fake")

    monkeypatch.setattr(network, "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        Trainer(network, corpus, Training(epochs=1), 1, tmp_path).run()


@pytest.mark.parametrize("dims", [DIMS, DsconvLstm(channels=16, blocks=1, hidden=16)])
def test_parts_add_up_to_the_gradient_of_the_whole(corpus: Corpus, dims, tmp_path: Path) -> None:
    batch = load_batch(corpus, plan(corpus)[0])
    assert len(batch.items) > 2
    gradients = []
    for n_parts in (1, 3):
        torch.manual_seed(1)
        network = untrained_student(dims, corpus).eval()  # norms look at the whole batch otherwise
        trainer = Trainer(
            network, corpus, Training(augment=0.0), 1, tmp_path, placement=Placement(CPU, None)
        )
        parts, total = batch.parts(n_parts), batch.lengths.sum()
        assert sum(len(part.items) for part in parts) == len(batch.items)
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
        for part in parts:
            output = network(network.normalise(part.features), part.lengths)
            loss, _ = trainer.loss(output, part, 0.5)
            (loss * (part.lengths.sum() / total)).backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        )
    assert torch.allclose(*gradients, rtol=0.05, atol=0.02 * float(gradients[0].abs().max()))


# several stages on a GPU


def _hold(locks: Path, per_gpu: int, got, leave) -> None:
    with slot_on_gpu(locks, (0, 1), per_gpu) as gpu:
        got.put(gpu)
        leave.wait(30)


def test_stages_take_the_emptiest_gpu_and_wait_for_room(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    got, leave = context.Queue(), context.Event()
    stages = [context.Process(target=_hold, args=(tmp_path, 2, got, leave)) for _ in range(5)]
    for stage in stages:
        stage.start()
    taken = [got.get(timeout=60) for _ in range(4)]
    assert sorted(taken) == [0, 0, 1, 1]
    time.sleep(1.0)
    assert got.empty()  # the fifth waits
    leave.set()
    assert got.get(timeout=60) in (0, 1)
    for stage in stages:
        stage.join(60)
    with slot_on_gpu(tmp_path, (0,), 1) as gpu:
        assert gpu == 0


# what a launch trains on

TWO = Accelerators(("Fast", "Faster"), True, False)
OLD = Accelerators(("Old",), False, False)
APPLE = Accelerators((), False, True)


@pytest.mark.parametrize(
    ("wanted", "found", "place_of_it", "words"),
    [
        ({"device": "cpu"}, TWO, Place(), "cpu"),
        ({"device": "cpu", "precision": "fp32"}, TWO, Place("", "fp32"), "cpu in fp32"),
        ({}, TWO, Place("cuda", "bf16", (0, 1)), "GPU 0, 1 in bf16"),
        ({"device": "cuda:1"}, TWO, Place("cuda", "bf16", (1,)), "GPU 1 in bf16"),
        ({}, OLD, Place("cuda", "fp16", (0,)), "GPU 0 in fp16"),
        (
            {"device": "cuda", "precision": "fp32", "trials_per_gpu": 3},
            OLD,
            Place("cuda", "fp32", (0,), 3),
            "GPU 0 in fp32, 3 at a time on each",
        ),
        ({"device": "mps"}, APPLE, Place("mps", "fp32"), "mps in fp32"),
        ({}, APPLE, Place(), "cpu"),
        ({}, Accelerators(), Place(), "cpu"),
    ],
)
def test_a_launch_trains_on_what_is_asked_for_and_there(
    wanted, found, place_of_it, words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "accelerators", lambda: found)
    monkeypatch.setattr(place, "_may_be_any", lambda: True)
    made = place.place_of(Search(**wanted), deterministic=False)
    assert made == place_of_it
    assert place.told(made) == words


@pytest.mark.parametrize(
    ("device", "found", "said"),
    [
        ("cuda", Accelerators(), "search.device: cuda: is not here; torch finds cpu"),
        ("cuda:2", TWO, "torch finds cpu, cuda:0 (Fast), cuda:1 (Faster)"),
        ("mps", TWO, "search.device: mps: is not here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(
    device: str, found: Accelerators, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "accelerators", lambda: found)
    with pytest.raises(UsageFault) as refused:
        place.place_of(Search(device=device), deterministic=False)
    assert said in str(refused.value)


def test_nothing_deterministic_is_trained_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "accelerators", lambda: TWO)
    assert place.place_of(Search(), deterministic=True) == Place()
    with pytest.raises(UsageFault, match="sums on a GPU differ from run to run"):
        place.place_of(Search(device="cuda"), deterministic=True)


def test_a_job_has_the_key_it_had_where_it_is_done_on_the_cpu_and_another_on_a_gpu() -> None:
    job = Train(student=DIMS, training=Training(), corpus="c", seed=0, threads=1)
    assert key_of(Place().of(job)) == key_of(job)
    on_one, on_two = (Place("cuda", "bf16", gpus).of(job) for gpus in ((0,), (0, 1)))
    assert key_of(on_one) == key_of(on_two) != key_of(job)


# where there is one


@on_gpu
@pytest.mark.parametrize("dims", [DIMS, DsconvLstm(channels=16, blocks=1, hidden=16)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, None])
@pytest.mark.parametrize("keeps_features", [True, False])
def test_a_gpu_trains_as_the_cpu_does(corpus, tmp_path, dims, dtype, keeps_features) -> None:
    on_cpu = trained(corpus, tmp_path / "cpu", dims=dims, epochs=6, learning_rate=0.01)
    placement = Placement(torch.device("cuda"), dtype, keeps_features)
    there = trained(corpus, tmp_path / "gpu", placement, dims, epochs=6, learning_rate=0.01)
    assert there.network.head.weight.device == CPU  # what is exported lies here
    losses = [t.history[-1].train_ctc for t in (on_cpu, there)]
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
