"""Seconds of audio trained per CPU second: the training loop beside the plain way to write it.

The plain way has the same network as Conv1d layers, computes features anew for every batch,
augments utterance by utterance, pads random batches and steps an unfused AdamW in float32.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from spaces.families import SeparableConv
from spaces.recipe import Training
from workers.data.audio import read_audio
from workers.data.batches import epoch_plan, load_batch
from workers.data.features import fbank
from workers.students.base import untrained_student
from workers.train.loop import Trainer

DIMS = SeparableConv(channels=192, blocks=8, kernel=11)
BATCH_S = 32.0
N_PLAIN_BATCHES = 20


class PlainBlock(nn.Module):
    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(
            channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False
        )
        self.pointwise = nn.Conv1d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm1d(channels)

    def forward(self, x):
        return x + F.dropout(F.relu(self.bn(self.pointwise(self.depthwise(x)))), 0.1, self.training)


class PlainNetwork(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        c = DIMS.channels
        self.front = nn.Sequential(
            nn.Conv1d(80, c, 5, 2, 2, bias=False),
            nn.BatchNorm1d(c),
            nn.ReLU(),
            nn.Conv1d(c, c, 5, 2, 2, groups=c, bias=False),
            nn.Conv1d(c, c, 1, bias=False),
            nn.BatchNorm1d(c),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(PlainBlock(c, DIMS.kernel) for _ in range(DIMS.blocks)))
        self.head = nn.Linear(c, vocabulary)

    def forward(self, x):
        return self.head(self.blocks(self.front(x.transpose(1, 2))).transpose(1, 2))


def plain_rate(corpus) -> float:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = PlainNetwork(len(corpus.symbols)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, foreach=False)
    order = rng.permutation(len(corpus.train))
    size = int(BATCH_S / (sum(e.seconds for e in corpus.train) / len(corpus.train)))
    seconds, start = 0.0, time.process_time()
    for i in range(N_PLAIN_BATCHES):
        entries = [corpus.train[j] for j in order[i * size : (i + 1) * size]]
        features = []
        for entry in entries:
            x = torch.from_numpy((fbank(read_audio(entry.audio)) - corpus.mean) * corpus.inv_std)
            for _ in range(2):
                width = int(rng.integers(0, 21))
                at = int(rng.integers(0, 81 - width))
                x[:, at : at + width] = 0
            for _ in range(3):
                width = int(rng.random() * 0.05 * len(x))
                at = int(rng.integers(0, len(x) - width + 1))
                x[at : at + width] = 0
            features.append(x)
            seconds += entry.seconds
        logits = network(nn.utils.rnn.pad_sequence(features, batch_first=True))
        lengths = torch.tensor([((len(x) + 1) // 2 + 1) // 2 for x in features])
        targets = torch.tensor([t for e in entries for t in e.ids])
        loss = F.ctc_loss(
            F.log_softmax(logits, -1).transpose(0, 1),
            targets,
            lengths,
            torch.tensor([len(e.ids) for e in entries]),
            zero_infinity=True,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
    return seconds / (time.process_time() - start)


def our_rate(corpus, folder) -> float:
    trainer = Trainer(untrained_student(DIMS, corpus), corpus, Training(batch_s=BATCH_S), 0, folder)
    trainer.network.train()
    rng = np.random.default_rng(0)
    seconds, start = 0.0, time.process_time()
    for items in epoch_plan(corpus, BATCH_S, rng):
        batch = load_batch(corpus, items)
        trainer.step(batch, 0.5, rng)
        seconds += float(batch.lengths.sum()) / 100
    return seconds / (time.process_time() - start)


def test_training_speed(an4, tmp_path):
    torch.set_num_threads(1)
    rows = []
    for _ in range(3):  # in turn, so that a machine that drifts drifts for both
        rows.append((plain_rate(an4), our_rate(an4, tmp_path)))
    plain, ours = np.median(rows, axis=0)
    print(
        f"\nseconds of audio trained per CPU second, {DIMS.channels} channels, "
        f"{DIMS.blocks} blocks, one thread, median of 3: plain {plain:.0f}, ours {ours:.0f} "
        f"({ours / plain:.1f}x); "
        f"ratios {', '.join(f'{b / a:.2f}' for a, b in rows)}"
    )
