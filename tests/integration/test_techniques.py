"""What a recipe may ask for beside training: begun as part of the teacher, pruned in rounds, by
gradients, gates and time, trained with rounded numbers, following a teacher in other ways."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spaces.families import Conformer, Paraformer, Recurrent, SeparableConv
from spaces.recipe import Distil, Quantize, Training
from storage.artifacts import ArtifactStore
from workers.checkpoint import load_network
from workers.compress.pruning.widths import n_parameters
from workers.compress.quantization.rounding import rounded_to_int4
from workers.data.corpus import Corpus
from workers.jobs import Compress, Export, Qat, TeacherTargets, Train
from workers.results import CompressResult, ExportResult, TrainResult
from workers.stages.compress import epochs_of_rounds
from workers.stages.run import run_stage
from workers.students.base import Student, build
from workers.workspace import Workspace

TRAINING = Training(epochs=2, learning_rate=5e-3, batch_s=16)
TEACHER = SeparableConv(channels=48, blocks=2, kernel=5, dropout=0.0)
SMALL = SeparableConv(channels=32, blocks=2, kernel=5, dropout=0.0)


@pytest.fixture(scope="module")
def teacher(corpus: Corpus, workspace: Workspace) -> str:
    job = Train(student=TEACHER, training=TRAINING, corpus=corpus.folder.name, seed=0, threads=1)
    made = run_stage(job, workspace)
    assert isinstance(made, TrainResult)
    return made.checkpoint


@pytest.fixture(scope="module")
def soft_targets(corpus: Corpus, workspace: Workspace, teacher: str) -> str:
    job = TeacherTargets(
        corpus=corpus.folder.name,
        checkpoint=teacher,
        subsampling_factor=4,
        hidden=True,
        halfway=True,
    )
    made = run_stage(job, workspace)
    name: str = made.soft_targets
    return name


def network_of(checkpoint: str, workspace: Workspace, folder: Path) -> Student:
    path = ArtifactStore(workspace.artifacts).fetch(checkpoint, folder / f"{checkpoint[:9]}.st")
    return load_network(path)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": "symmetric"},
        {"frames": "speech"},
        {"halfway": 0.3},
        {"hidden_weight": 1.0},
        {"hidden_weight": 1.0, "hidden_layers": 2},
    ],
    ids=str,
)
def test_a_teacher_may_be_followed_in_other_ways(
    changes: dict[str, object], corpus: Corpus, workspace: Workspace, soft_targets: str, tmp_path
) -> None:
    usual = Distil(weight=0.9, temperature=2.0)
    trained = []
    for distil in (usual, usual.model_copy(update=changes)):
        job = Train(
            student=SMALL,
            training=TRAINING,
            distil=distil,
            soft_targets=soft_targets,
            corpus=corpus.folder.name,
            seed=0,
            threads=1,
        )
        made = run_stage(job, workspace)
        trained.append(network_of(made.checkpoint, workspace, tmp_path).state_dict())
    assert not torch.equal(trained[0]["head.weight"], trained[1]["head.weight"])


def test_a_student_that_begins_as_part_of_its_teacher_is_ahead(
    corpus: Corpus, workspace: Workspace, teacher: str
) -> None:
    alone = Train(
        student=SMALL,
        training=TRAINING.model_copy(update={"epochs": 1, "learning_rate": 1e-5}),
        corpus=corpus.folder.name,
        seed=0,
        threads=1,
    )
    begun = run_stage(alone.model_copy(update={"parent": teacher}), workspace)
    from_nothing = run_stage(alone, workspace)
    assert begun.teacher_share == 1
    assert from_nothing.teacher_share is None
    assert begun.history[0].train_ctc < from_nothing.history[0].train_ctc
    other = {"student": Recurrent(channels=16, hidden=16, layers=1)}
    begun, from_nothing = (
        run_stage(job.model_copy(update=other), workspace)
        for job in (alone.model_copy(update={"parent": teacher}), alone)
    )
    assert begun.teacher_share is None  # its family has no part of such a teacher
    assert begun.checkpoint == from_nothing.checkpoint


def compressed(checkpoint: str, corpus: Corpus, workspace: Workspace, **changes) -> CompressResult:
    job = Compress(
        checkpoint=checkpoint,
        ratio=0.5,
        training=TRAINING,
        distil=Distil(weight=0.0),
        soft_targets=None,
        corpus=corpus.folder.name,
        seed=0,
        threads=1,
    )
    made = run_stage(job.model_copy(update=changes), workspace)
    assert isinstance(made, CompressResult)
    return made


@pytest.mark.parametrize("rule", ["l1", "taylor", "gates"])
@pytest.mark.parametrize("scope", [None, "global", "time"])
def test_pruning_leaves_as_much_by_every_rule_and_from_everywhere(
    rule: str, scope: str | None, corpus: Corpus, workspace: Workspace, teacher: str, tmp_path: Path
) -> None:
    made = compressed(teacher, corpus, workspace, rule=rule, scope=scope)
    network = network_of(made.checkpoint, workspace, tmp_path)
    limit = sum(p.numel() for p in build(TEACHER.pruned(0.5), len(corpus.symbols)).parameters())
    left = sum(p.numel() for p in network.parameters())
    assert left <= limit
    assert bool(network.dims.widths) == (scope is not None)
    assert left == n_parameters(network, [group.size for group in network.sized_groups()])


def test_pruning_in_rounds_ends_as_narrow_and_is_told_epoch_by_epoch(
    corpus: Corpus, workspace: Workspace, teacher: str, tmp_path: Path
) -> None:
    longer = TRAINING.model_copy(update={"epochs": 4})
    made = compressed(teacher, corpus, workspace, rounds=3, training=longer)
    assert network_of(made.checkpoint, workspace, tmp_path).dims == TEACHER.pruned(0.5)
    assert [epoch.epoch for epoch in made.history] == [1, 2, 3, 4]
    assert epochs_of_rounds(12, 1) == [12]
    assert epochs_of_rounds(12, 6) == [1, 1, 1, 1, 1, 7]
    assert epochs_of_rounds(20, 3) == [5, 5, 10]
    assert epochs_of_rounds(2, 6) == [1, 1]


@pytest.mark.parametrize("dims", [SMALL, Conformer(channels=16, blocks=1, feed_forward=32)])
def test_a_network_trained_with_four_bits_ships_what_it_was_trained_with(
    dims, corpus: Corpus, workspace: Workspace, tmp_path: Path
) -> None:
    quantize = Quantize(frontend="fp32", encoder="int4", head="fp32", qat_epochs=2)
    usual = {"corpus": corpus.folder.name, "seed": 0, "threads": 1}
    trained = run_stage(Train(student=dims, training=TRAINING, **usual), workspace)
    job = Qat(
        checkpoint=trained.checkpoint,
        quantize=quantize,
        training=TRAINING,
        distil=Distil(weight=0.0),
        soft_targets=None,
        **usual,
    )
    rounded = run_stage(job, workspace)
    network = network_of(rounded.checkpoint, workspace, tmp_path)
    before = network_of(trained.checkpoint, workspace, tmp_path)
    for name, parameter in network.named_parameters():
        if name.startswith("encoder") and parameter.ndim == 2:
            assert torch.allclose(rounded_to_int4(parameter), parameter, atol=1e-6)
    assert not torch.equal(network.head.weight, before.head.weight)  # what is not rounded learns
    export = Export(checkpoint=rounded.checkpoint, quantize=quantize, corpus=corpus.folder.name)
    made = run_stage(export, workspace)
    assert isinstance(made, ExportResult)
    assert {size.format for size in made.sizes if size.part == "encoder"} >= {"uint8"}


def test_layers_that_are_kept_are_told_with_what_each_suffers(
    corpus: Corpus, workspace: Workspace, teacher: str
) -> None:
    plain = Quantize(frontend="int4", encoder="int4", head="int4")
    sizes = []
    for quantize in (plain, plain.model_copy(update={"keep": 2})):
        job = Export(checkpoint=teacher, quantize=quantize, corpus=corpus.folder.name)
        made = run_stage(job, workspace)
        assert bool(made.sensitivity) == (quantize != plain)
        sizes.append(made.value("size_mb"))
    assert sizes[0] < sizes[1]


def test_a_paraformer_learns_how_many_tokens_there_are(
    corpus: Corpus, workspace: Workspace, tmp_path: Path
) -> None:
    dims = Paraformer(channels=32, blocks=1, heads=2, head_size=8, feed_forward=32, dropout=0.0)
    missed = []
    for epochs in (1, 12):
        job = Train(
            student=dims,
            training=TRAINING.model_copy(update={"epochs": epochs}),
            corpus=corpus.folder.name,
            seed=0,
            threads=1,
        )
        network = network_of(run_stage(job, workspace).checkpoint, workspace, tmp_path)
        counts = []
        for utterance in corpus.train:
            features = torch.from_numpy(np.array(corpus.frames(utterance)))[None]
            lengths = torch.tensor([features.shape[1]])
            with torch.inference_mode():
                said = network(network.normalise(features), lengths).logits[0].argmax(-1)
            counts.append(abs(int((said != 0).sum()) - len(utterance.ids)))
        missed.append(np.mean(counts))
    assert missed[1] < missed[0]


def test_results_say_what_was_kept(corpus: Corpus, workspace: Workspace, teacher: str) -> None:
    scheme = Quantize(frontend="int8_static", encoder="int8_static", head="int8_static")
    for changes in ({"calibration": "percentile"}, {"equalise": True}):
        quantize = scheme.model_copy(update=changes)
        job = Export(checkpoint=teacher, quantize=quantize, corpus=corpus.folder.name)
        assert run_stage(job, workspace).value("size_mb") > 0
        content = json.loads(workspace.stage_result(job).read_text())
        assert content["kind"] == "export"
