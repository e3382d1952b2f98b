"""Several teachers teach together: by the mean of their output, or by what they write."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from search.study.settings import Place
from spaces.families import SeparableConv
from spaces.load import SHIPPED_FOLDER
from storage.artifacts import ArtifactStore
from workers.checkpoint import save_network
from workers.data.corpus import Corpus
from workers.jobs import TeacherTargets, key_of
from workers.results import TeacherTargetsResult
from workers.stages.run import run_stage
from workers.students.base import untrained_student
from workers.train.losses.soft_targets import SoftTargets
from workers.workspace import Workspace

# Knows the corpus by its samples, and gets every word wrong that is in its second argument.
ORACLE = """
import json, pathlib, sys
import soundfile
samples, _ = soundfile.read(sys.argv[1])
for name in ("train.jsonl", "dev.jsonl"):
    manifest = pathlib.Path({corpus!r}) / name
    for row in map(json.loads, manifest.read_text().splitlines()):
        heard, _ = soundfile.read(manifest.parent / row["audio_filepath"])
        n = min(len(heard), len(samples))
        if abs(len(heard) - len(samples)) < 99 and abs(heard[:n] - samples[:n]).max() < 1e-3:
            print(" ".join("wrong" if w in sys.argv[2] else w for w in row["text"].split()))
            sys.exit()
"""


_ASKED = {"stage": "teacher_targets", "corpus": "c", "subsampling_factor": 4}


@pytest.fixture(scope="module")
def networks(corpus: Corpus, workspace: Workspace, tmp_path_factory) -> list[str]:
    """Digests of two untrained networks and of the teacher that comes with the package."""
    folder, artifacts = tmp_path_factory.mktemp("networks"), ArtifactStore(workspace.artifacts)
    digests = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = untrained_student(SeparableConv(channels=16, blocks=1), corpus).eval()
        save_network(network, corpus.symbols, folder / f"{seed}.safetensors", job="test")
        digests.append(artifacts.put(folder / f"{seed}.safetensors"))
    return [*digests, artifacts.put(SHIPPED_FOLDER / "teachers" / "spoken.safetensors")]


def targets(corpus: Corpus, **source: object) -> TeacherTargets:
    job = {"corpus": corpus.folder.name, "subsampling_factor": 4, **source}
    return TeacherTargets.model_validate(job)


def asked(job: TeacherTargets, workspace: Workspace) -> TeacherTargetsResult:
    result = run_stage(job, workspace)
    assert isinstance(result, TeacherTargetsResult)
    return result


def test_probabilities_of_networks_are_averaged_frame_by_frame(
    corpus: Corpus, workspace: Workspace, networks: list[str]
) -> None:
    jobs = [targets(corpus, checkpoint=digest) for digest in networks[:2]]
    alone = [SoftTargets(workspace.soft_targets(asked(j, workspace).soft_targets)) for j in jobs]
    result = asked(jobs[0].model_copy(update={"also": (jobs[1],)}), workspace)
    assert result.combined == "soft targets of 2 teachers are averaged"
    together = SoftTargets(workspace.soft_targets(result.soft_targets))
    for items in (((0, 0), (1, 0)), ((len(corpus.train) - 1, 0),)):
        found = together.log_probs(items).exp().numpy()
        wanted = np.mean([each.log_probs(items).exp().numpy() for each in alone], axis=0)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_further_teachers_are_a_job_of_its_own(corpus: Corpus, networks: list[str]) -> None:
    one, other = (targets(corpus, checkpoint=digest) for digest in networks[:2])
    both = one.model_copy(update={"also": (other,)})
    assert len({key_of(one), key_of(other), key_of(both)}) == 3


def test_how_a_further_teacher_is_called_is_no_part_of_the_key(corpus: Corpus) -> None:
    words = ("my-asr", "{audio}")
    jobs = [
        targets(corpus, checkpoint="0", also=({**_ASKED, "command": words, "at_once": n},))
        for n in (1, 4)
    ]
    assert key_of(jobs[0]) == key_of(jobs[1])
    other = targets(corpus, checkpoint="0", also=({**_ASKED, "command": ("x", "{audio}")},))
    assert key_of(other) != key_of(jobs[0])


def test_only_teachers_that_torch_runs_are_placed_on_a_gpu(corpus: Corpus) -> None:
    program = {**_ASKED, "command": ("my-asr", "{audio}")}
    job = targets(corpus, checkpoint="0", also=(program,))
    placed = Place("cuda", "bf16", (0,)).of(job)
    assert (placed.device, placed.precision) == ("cuda", "")
    assert placed.also[0] == job.also[0]
    assert Place("cuda", "bf16", (0,)).of(job.also[0]) == job.also[0]


def _oracle(corpus: Corpus, folder: Path, wrong: str) -> TeacherTargets:
    audio = Path(corpus.train[0].audio).parent
    (folder / "asr.py").write_text(ORACLE.format(corpus=str(audio)))
    words = (sys.executable, str(folder / "asr.py"), "{audio}", wrong)
    return targets(corpus, command=words, at_once=2)


def _texts(corpus: Corpus, workspace: Workspace, result: TeacherTargetsResult) -> list[str]:
    index = json.loads((workspace.soft_targets(result.soft_targets) / "index.json").read_text())
    return [
        "".join(corpus.symbols[i] for i in ids).replace("▁", " ").strip()
        for ids in index["targets"]
    ]


def test_transcripts_of_three_are_voted_on(
    corpus: Corpus, workspace: Workspace, networks: list[str], tmp_path: Path
) -> None:
    spoken = targets(corpus, checkpoint=networks[2])  # a network among programs
    programs = [_oracle(corpus, tmp_path, wrong) for wrong in ("one two", "three four")]
    result = asked(programs[0].model_copy(update={"also": (programs[1], spoken)}), workspace)
    assert result.combined == "transcripts of 3 teachers are voted on"
    assert result.target_kind == "transcripts"
    assert result.n_pseudo_labels is not None
    assert result.n_pseudo_labels >= 0.9 * len(corpus.train)
    right = [
        a == u.text for a, u in zip(_texts(corpus, workspace, result), corpus.train, strict=True)
    ]
    assert np.mean(right) >= 0.9


def test_of_two_the_one_that_makes_fewer_errors_on_dev_is_taken(
    corpus: Corpus, workspace: Workspace, tmp_path: Path
) -> None:
    bad = _oracle(corpus, tmp_path, "one two three four five six seven eight nine zero on off the")
    good = _oracle(corpus, tmp_path, "nothing")
    result = asked(bad.model_copy(update={"also": (good,)}), workspace)
    assert result.combined == "transcripts are of teacher 2, who makes fewer errors on dev"
    assert _texts(corpus, workspace, result) == [u.text for u in corpus.train]
