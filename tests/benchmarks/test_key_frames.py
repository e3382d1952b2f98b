"""Attention that looks at frames of its choice: what is looked at, how long it takes and how many
errors it costs, at 1, 5, 15 and 30 s of audio, beside the same network that looks at all.

make bench ONLY=key_frames; students are those of `make bench-techniques`, found there where they
were trained (BENCH_HOME).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from techniques import SEEDS, Technique, Workshop
from test_techniques import FAMILIES, workshop  # noqa: F401

from workers.checkpoint import load_network
from workers.data.corpus import Corpus
from workers.data.text import decode
from workers.data.word_errors import utterance_errors
from workers.export.onnx import export_onnx
from workers.export.unit_time import side_by_side_ms
from workers.jobs import Train
from workers.measure.bootstrap import difference_interval
from workers.students.base import Student
from workers.students.blocks.attention import Attention

LENGTHS_S = (1, 5, 15, 30)


def _trained(workshop: Workshop, technique: Technique, seed: int) -> Student:  # noqa: F811
    job = Train(
        student=technique.student,
        training=technique.training,
        distil=technique.distil,
        soft_targets=workshop.taught.soft_targets,
        corpus=workshop.corpus,
        seed=seed,
        threads=1,
    )
    checkpoint = workshop.done(job).checkpoint
    return load_network(workshop.artifacts.fetch(checkpoint, workshop.home / checkpoint[:16]))[0]


def _slices(corpus: Corpus, seconds: int) -> list[tuple[np.ndarray, str]]:
    """Features and transcripts of whole utterances one after the other, of about so many seconds;
    for one second the utterances that are about as long."""
    made: list[tuple[np.ndarray, str]] = []
    frames: list[np.ndarray] = []
    texts: list[str] = []
    for utterance in corpus.dev:
        features = np.array(corpus.frames(utterance))
        if seconds == 1:
            if len(features) < 150:
                made.append((features, utterance.text))
            continue
        frames.append(features)
        texts.append(utterance.text)
        if sum(map(len, frames)) >= 100 * seconds:
            made.append((np.concatenate(frames), " ".join(texts)))
            frames, texts = [], []
    return made


class _Share:
    """Counts the frames that attention looks at, of those that there are."""

    def __init__(self, network: Student) -> None:
        self.seen, self.frames = 0.0, 0.0
        for module in network.modules():
            if isinstance(module, Attention):
                module.register_forward_pre_hook(self._count)

    def _count(self, module: Attention, given: tuple[torch.Tensor, ...]) -> None:
        x, mask = given[0], given[1]
        self.frames += float(mask.sum())
        if module.predictor is None:
            self.seen += float(mask.sum())
        else:
            _, is_key = module._marked(module.norm(x), mask)
            self.seen += float((is_key * mask).sum())


@torch.inference_mode()
def _heard(
    network: Student, corpus: Corpus, slices: list[tuple[np.ndarray, str]]
) -> tuple[np.ndarray, float]:
    """Errors of every slice, and the share of the frames that were looked at."""
    share, texts = _Share(network), []
    for features, _ in slices:
        x = network.normalise(torch.from_numpy(features)[None])
        logits = network(x, torch.tensor([len(features)])).logits[0]
        texts.append(decode(logits.argmax(-1).tolist(), corpus.symbols))
    return utterance_errors([text for _, text in slices], texts), share.seen / share.frames


@pytest.mark.parametrize("pair", [("conformer", "conformer, attended: 0.3")], ids=["conformer"])
def test_key_frames(workshop: Workshop, pair: tuple[str, str]) -> None:  # noqa: F811
    torch.set_num_threads(1)
    corpus = Corpus(workshop.workspace.corpus(workshop.corpus))
    networks = {name: [_trained(workshop, FAMILIES[name], seed) for seed in SEEDS] for name in pair}
    files = [workshop.home / f"key-frames-{i}.onnx" for i in range(len(pair))]
    for name, path in zip(pair, files, strict=True):
        export_onnx(networks[name][0].eval(), corpus.symbols, path)
    print()
    for seconds in LENGTHS_S:
        slices = _slices(corpus, seconds)
        words = np.array([len(text.split()) for _, text in slices])
        errors, shares = {}, {}
        for name in pair:
            heard = [_heard(network, corpus, slices) for network in networks[name]]
            errors[name] = np.mean([e for e, _ in heard], axis=0)
            shares[name] = float(np.mean([share for _, share in heard]))
        spoken = max(slices, key=lambda heard: len(heard[0]))[0][: 100 * seconds]
        times = side_by_side_ms(files, spoken)
        low, high = difference_interval(errors[pair[0]], errors[pair[1]], words, 2000)
        wers = [errors[name].sum() / words.sum() for name in pair]
        print(
            f"| {seconds} s | {shares[pair[1]]:.0%} | {times[0]:.2f} | {times[1]:.2f} | "
            f"{wers[0]:.2%} | {wers[1]:.2%} | {100 * (wers[1] - wers[0]):+.2f} "
            f"({100 * low:+.2f} to {100 * high:+.2f}) | {words.sum()} |",
            flush=True,
        )
